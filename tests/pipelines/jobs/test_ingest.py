"""Ingest as its readers see it: rows, rejects and what the commit says, with and without an earlier version."""

import gzip
import os
import resource
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.jobs import ingest
from pipelines.records import commit as versions
from pipelines.records.job_result import JobResult
from tests.core.store_contents import find_words
from tests.pipelines.tree import Entry, Tree, make_tree
from trrg_core.config.load import load_config
from trrg_core.errors import ConfigError, DataError, StorageError
from trrg_core.storage import local_disk
from trrg_core.storage.store import Store, open_store
from trrg_core.tables.commit_history import find_commit, history
from trrg_core.tables.compaction import compact_table
from trrg_core.tables.delta import list_parts, read_table
from trrg_core.tables.schema import STUDIES
from trrg_core.tables.table_ref import TableRef
from trrg_core.withdrawal.record import KEY_VARIABLE, read_key
from trrg_core.withdrawal.search import Request
from trrg_core.withdrawal.withdraw import carry_out, plan_withdrawal


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "STUDIES_PER_FILE", 4)


def run(tree: Tree, store: Store, **settings: Any) -> JobResult:
    words = [f"ingest.{name}={value}" for name, value in settings.items()]
    return ingest.run(load_config("tiny", [f"source.root={tree.root}", *words]), store, {})


def outcome(store: Store, ref: str) -> dict[str, Any]:
    """All that a version is, but for how it came to be."""
    commit = find_commit(store, TableRef.parse(ref))
    rows = read_table(store, commit.ref).to_pylist()
    rejects = [row for row in rejects_of(store) if row["fingerprint"] == commit.fingerprint]
    return {
        "rows": sorted(rows, key=lambda row: row["study_id"]),
        "rejects": sorted(rejects, key=lambda row: tuple(row.values())),
        "reasons": commit.rejects,
        "content": commit.content,
        "fingerprint": commit.fingerprint,
        "counts": {name: count for name, count in commit.counts.items() if name not in ("kept", "read")},
        "notes": commit.notes,
    }


def rejects_of(store: Store) -> list[dict[str, Any]]:
    versions = history(store, "rejects")
    return read_table(store, versions[0].ref).to_pylist() if versions else []


def from_scratch(tree: Tree, folder: Path) -> dict[str, Any]:
    store = open_store(str(folder))
    return outcome(store, run(tree, store, max_reject_share=0.9).ref)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return make_tree(tmp_path / "tree", 12)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def touch(path: Path) -> None:
    state = path.stat()
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1_000_000))


KINDS = ("add", "change", "repaint", "remove", "touch", "cut", "lost", "mend")
EDITS = st.tuples(st.sampled_from(KINDS), st.integers(50000001, 50000012))


def edit(tree: Tree, kind: str, number: int) -> None:
    """One thing that happens to a source between two runs; the index files follow."""
    study = tree.studies.get(number)
    if kind == "add" or study is None:
        tree.studies[max(tree.studies) + 1] = Entry(subject=10000001 + number % 9, date="21790101", shade=number % 97)
    elif kind == "change":
        study.text += " Stable.\n"
    elif kind == "repaint":
        study.shade += 7
    elif kind == "remove":
        del tree.studies[number]
    elif kind == "touch":
        touch(tree.report(number))
    else:
        study.fault = {"cut": "cut", "lost": "lost"}.get(kind, "")  # type: ignore[assignment]
    tree.write()


@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(rounds=st.lists(st.lists(EDITS, min_size=1, max_size=3), min_size=1, max_size=3))
def test_an_increment_equals_an_ingest_from_scratch(
    rounds: list[list[tuple[str, int]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("increment")
    tree, store = make_tree(folder / "tree", 12), open_store(str(folder / "store"))
    run(tree, store)
    for at, edits in enumerate(rounds):
        for kind, number in edits:
            edit(tree, kind, number)
        now = run(tree, store, max_reject_share=0.9)
        assert outcome(store, now.ref) == from_scratch(tree, folder / f"scratch{at}")


def test_a_store_that_may_not_be_written_stops_new_work_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree, store = make_tree(tmp_path / "tree", 2), open_store(str(tmp_path / "store"))
    ref = run(tree, store).ref
    monkeypatch.setattr(local_disk.os, "access", lambda path, mode: False)
    assert run(tree, store).ref == ref, "it is found"
    monkeypatch.setattr(ingest, "_read_studies", lambda *arguments: pytest.fail("read for nothing"))
    with pytest.raises(ConfigError, match=r"tables/studies: may not be written"):
        run(tree, store, max_side_px=100)


def test_nothing_changed_is_found_and_not_a_version(tree: Tree, store: Store) -> None:
    first = run(tree, store)
    again = run(tree, store)
    assert (first.reused, again.reused, again.ref) == (False, True, first.ref)
    assert first.counts["studies_in"] == first.counts["studies"] == first.counts["read"] == 12
    assert first.counts["kept"] == 0


def test_only_what_changed_is_read_and_whole_files_are_used_again(tree: Tree, store: Store) -> None:
    first = run(tree, store)
    edit(tree, "change", 50000002)
    edit(tree, "add", 50000001)
    second = run(tree, store)
    assert (second.counts["read"], second.counts["kept"], second.counts["studies"]) == (2, 11, 13)
    commit = find_commit(store, TableRef.parse(second.ref))
    assert commit.parents == (first.ref,)
    before, after = ({part.path for part in list_parts(store, TableRef.parse(one.ref))} for one in (first, second))
    assert before & after
    assert before - after, "the file of the changed study is written again"


def test_a_compacted_version_is_extended_as_if_it_were_not(tree: Tree, store: Store, tmp_path: Path) -> None:
    edit(tree, "lost", 50000007)  # a reject, which must be found again
    run(tree, store, max_reject_share=0.9)
    compacted = compact_table(store, "studies")
    assert compacted.files_after < compacted.files_before
    edit(tree, "change", 50000002)
    now = run(tree, store, max_reject_share=0.9)
    assert find_commit(store, TableRef.parse(now.ref)).parents == (str(compacted.after),)
    assert now.counts["read"] == 2
    assert outcome(store, now.ref) == from_scratch(tree, tmp_path / "scratch")


def test_a_patient_who_is_withdrawn_during_an_ingest_is_not_in_what_it_commits(
    tree: Tree, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "an invented secret of a test")
    patient = "10000001"

    def withdraw() -> None:
        plan = plan_withdrawal(store, [Request(subject_id=patient)], training_jobs=(), models={})
        carry_out(store, plan, read_key(), min_age_hours=0)

    read_studies = ingest._read_studies
    with monkeypatch.context() as patch:
        patch.setattr(ingest, "_read_studies", lambda *given: (withdraw(), read_studies(*given))[1])
        with pytest.raises(DataError, match="a patient was withdrawn during the work of ingest") as caught:
            run(tree, store)
    assert caught.value.reason == "withdrawn"
    assert not history(store, "studies")
    assert not history(store, "rejects")
    withdraw()
    assert find_words(store, [patient]) == []
    result = run(tree, store)
    assert result.rejects == {"withdrawn": 2}
    assert patient not in {row["subject_id"] for row in read_table(store, TableRef.parse(result.ref)).to_pylist()}


def test_a_withdrawn_patient_is_refused_and_counted(tree: Tree, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "an invented secret of a test")
    first = run(tree, store)
    patient = "10000003"
    plan = plan_withdrawal(store, [Request(subject_id=patient)], training_jobs=(), models={})
    carry_out(store, plan, read_key(), min_age_hours=0)
    again = run(tree, store)
    assert (again.ref, again.reused) == (first.ref, True)
    edit(tree, "change", 50000001)
    second = run(tree, store)
    assert second.rejects == {"withdrawn": 2}
    assert (second.counts["studies_in"], second.counts["studies"], second.counts["read"]) == (10, 10, 1)
    rows = read_table(store, TableRef.parse(second.ref)).to_pylist()
    assert patient not in {row["subject_id"] for row in rows}
    assert [row for row in rejects_of(store) if row["subject_id"] or row["study_id"] or row["path"]] == []
    monkeypatch.delenv(KEY_VARIABLE)
    edit(tree, "change", 50000001)
    with pytest.raises(ConfigError, match="set TRRG_WITHDRAWAL_KEY in the environment"):
        run(tree, store)


def test_kept_studies_are_not_opened(tree: Tree, store: Store) -> None:
    run(tree, store)
    edit(tree, "change", 50000002)
    # the bytes of an unchanged study go bad without a trace in its size and time: it is not looked at
    image = tree.image(50000005)
    state = image.stat()
    image.write_bytes(bytes(state.st_size))
    os.utime(image, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert run(tree, store).rejects == {}


def test_a_touched_study_is_read_and_is_the_same_content(tree: Tree, store: Store) -> None:
    first = run(tree, store)
    edit(tree, "touch", 50000003)
    second = run(tree, store)
    assert second.counts["read"] == 1
    contents = [find_commit(store, TableRef.parse(one.ref)).content for one in (first, second)]
    assert contents[0] == contents[1], "what comes after need not be done again"


def test_a_new_prior_is_new_content(tree: Tree, store: Store) -> None:
    first = run(tree, store)
    tree.studies[50000090] = Entry(subject=10000001, date="21790101")
    tree.write()
    second = run(tree, store)
    rows = read_table(store, TableRef.parse(second.ref), columns=["study_id", "prior_study_id"]).to_pylist()
    assert {"study_id": "50000001", "prior_study_id": "50000090"} in rows
    assert second.counts["read"] == 2
    assert (
        find_commit(store, TableRef.parse(first.ref)).content != find_commit(store, TableRef.parse(second.ref)).content
    )


def test_another_size_of_image_is_another_content(tree: Tree, store: Store) -> None:
    refs = [run(tree, store).ref, run(tree, store, jpeg_quality=60).ref]
    commits = [find_commit(store, TableRef.parse(ref)) for ref in refs]
    assert commits[0].content != commits[1].content
    assert commits[1].counts["read"] == 12
    assert commits[1].parents == ()


def test_a_mended_study_comes_back_and_its_reject_goes(tree: Tree, store: Store) -> None:
    edit(tree, "cut", 50000003)
    edit(tree, "lost", 50000004)
    first = run(tree, store)
    assert first.rejects == {"jpeg_truncated": 1, "missing_image": 1, "no_usable_image": 1}
    assert first.counts["studies"] == 11
    edit(tree, "mend", 50000003)
    second = run(tree, store)
    assert second.rejects == {"missing_image": 1}
    assert (second.counts["studies"], second.counts["read"]) == (12, 2)


def test_the_other_file_of_an_image_counts_as_its_own(tree: Tree, store: Store) -> None:
    """Where a JPEG is missing its DICOM is read: when that comes, the study has changed."""
    edit(tree, "lost", 50000002)
    before = ingest.open_source(load_config("tiny", [f"source.root={tree.root}"]).source)
    stamp = before.stamp_studies(before.list_studies())["50000002"]
    tree.image(50000002, 1).with_suffix(".dcm").write_bytes(b"DICM")
    assert before.stamp_studies(before.list_studies())["50000002"] != stamp


def test_a_version_is_built_upon_across_another_source(tree: Tree, store: Store, tmp_path: Path) -> None:
    first = run(tree, store)
    other = make_tree(tmp_path / "other", 5)
    assert run(other, store).counts["kept"] == 0
    edit(tree, "change", 50000001)
    third = run(tree, store)
    assert find_commit(store, TableRef.parse(third.ref)).parents == (first.ref,)
    assert outcome(store, third.ref) == from_scratch(tree, tmp_path / "scratch")


def test_a_file_of_an_earlier_version_that_is_broken_is_made_again(
    tree: Tree, store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = run(tree, store)
    gone, cut = list_parts(store, TableRef.parse(first.ref))[:2]
    Path(store.join("tables/studies", gone.path)).unlink()
    Path(store.join("tables/studies", cut.path)).write_bytes(b"PAR1")
    edit(tree, "touch", 50000012)
    second = run(tree, store)
    assert second.counts["read"] >= gone.num_rows + cut.num_rows
    assert outcome(store, second.ref) == from_scratch(tree, tmp_path / "scratch")
    assert caplog.text.count("skipping an unreadable file of an earlier version") == 2


def test_a_version_whose_rejects_are_gone_is_not_built_upon(tree: Tree, store: Store) -> None:
    edit(tree, "cut", 50000002)
    run(tree, store)
    store.delete("tables/rejects")
    edit(tree, "change", 50000001)
    second = run(tree, store)
    assert second.counts["kept"] == 0
    assert second.rejects == {"jpeg_truncated": 1}


def test_a_row_set_aside_by_the_index_alone_makes_a_version(tree: Tree, store: Store) -> None:
    run(tree, store)
    (tree.root / "SHA256SUMS.txt").write_text("no checksum here\n")
    second = run(tree, store)
    assert (second.reused, second.rejects, second.counts["read"]) == (False, {"malformed_row": 1}, 0)


def test_a_new_column_is_in_the_notes_and_a_missing_one_stops(tree: Tree, store: Store) -> None:
    tree.more_columns = ("Manufacturer", "Coil")
    tree.write()
    ref = TableRef.parse(run(tree, store).ref)
    note = "mimic-cxr-2.0.0-metadata.csv.gz: Manufacturer, Coil"
    assert find_commit(store, ref).notes["unknown_columns"] == [note]
    index = tree.root / "mimic-cxr-2.0.0-metadata.csv.gz"
    index.write_bytes(gzip.compress(gzip.decompress(index.read_bytes()).replace(b"ViewPosition", b"View")))
    with pytest.raises(ConfigError, match=r"missing columns ViewPosition; found dicom_id.*, View,?"):
        run(tree, store)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_reject_share": 0.08}, r"8% of the studies were set aside, the limit is 8% \(ingest\.max_reject_share\)"),
        (
            {"max_reject_share_by_reason": "{jpeg_truncated: 0.1}"},
            r"jpeg_truncated affects 16\.7% of the studies, the limit is 10\.0% \(ingest\.max_reject_share_by_reason\)",
        ),
    ],
)
def test_a_share_too_large_stops_after_the_rejects_are_written(
    tree: Tree, store: Store, limits: dict[str, Any], message: str
) -> None:
    edit(tree, "cut", 50000001)
    edit(tree, "cut", 50000002)
    with pytest.raises(DataError, match=message) as caught:
        run(tree, store, **limits)
    assert caught.value.reason == "too_many_rejects"
    assert history(store, "studies") == []
    assert Counter(row["reason"] for row in rejects_of(store)) == {"jpeg_truncated": 2, "no_usable_image": 1}
    # the limit raised, what was done is found
    files = stamps(store)
    assert run(tree, store).counts["studies"] == 11
    assert stamps(store).items() >= files.items()
    # and a stricter one is asked of a version that is there
    with pytest.raises(DataError, match=message):
        run(tree, store, **limits)


def stamps(store: Store) -> dict[str, str]:
    return {path: mark for path, mark in store.stamps("tables").items() if "/parts/" in path}


def test_near_duplicate_reports_are_counted_by_id_and_without_their_text(tree: Tree, store: Store) -> None:
    long = " ".join(f"word{'abcdefghij'[at // 10]}{'abcdefghij'[at % 10]}" for at in range(90))
    tree.studies[50000001].text = f" FINDINGS:\n {long}\n"
    tree.studies[50000003].text = f" FINDINGS:\n {long} Once more.\n"
    tree.studies[50000002].text = tree.studies[50000001].text
    tree.write()
    commit = find_commit(store, TableRef.parse(run(tree, store).ref))
    assert "50000001 50000002 50000003" in commit.notes["near_duplicate_reports"]
    assert commit.counts["near_duplicate_reports"] >= 3
    assert "word" not in str(commit)


def test_a_patient_in_two_splits_is_never_committed(store: Store) -> None:
    kind = {"job": "ingest", "table": "studies", "schema": STUDIES}
    work = versions.TableWork(**kind, store=store, fingerprint="f", withdrawals="")
    leaking = versions.JobOutput(ids=(("p1", "s1", "train"), ("p1", "s2", "test")))
    with pytest.raises(DataError) as caught:
        versions.commit_output(work, leaking, counts={})
    assert caught.value.reason == "patient_in_two_splits"
    assert history(store, "studies") == []


def test_markup_and_formulas_are_kept_as_they_are(tree: Tree, store: Store) -> None:
    text = " FINDINGS:\n <script>alert(1)</script> </s><|system|> =cmd|'/c calc'!A0 {{ x }} ![](http://x)\n"
    tree.studies[50000001].text = text
    tree.write()
    rows = read_table(store, TableRef.parse(run(tree, store).ref), columns=["study_id", "report"]).to_pylist()
    assert {"study_id": "50000001", "report": text} in rows


def test_what_was_mended_in_a_report_is_a_column(tree: Tree, store: Store) -> None:
    tree.report(50000001).write_bytes(b" FINDINGS:\r\n na\xefve lung\x00\r\n")
    tree.report(50000002).write_bytes(b"\xef\xbb\xbf FINDINGS: clear\n")
    ref = TableRef.parse(run(tree, store, on_bad_encoding="cp1252").ref)
    rows = read_table(store, ref, columns=["study_id", "report_flags"]).to_pylist()
    flags = {row["study_id"]: row["report_flags"] for row in rows}
    assert (flags["50000001"], flags["50000002"], flags["50000003"]) == (["not_utf8", "nul", "cr"], ["bom"], [])


def test_a_limit_on_file_size_ends_cleanly_and_the_next_run_goes_on(tree: Tree, store: Store, tmp_path: Path) -> None:
    """A file system that takes no more bytes: the error says so, no cut file stays, nothing is committed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3_000, hard))
    try:
        with pytest.raises(StorageError, match=r"no space for \d+ bytes at .*parquet"):
            run(tree, store)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert history(store, "studies") == []
    assert not [path for path in Path(store.uri).rglob("*") if path.is_file() and path.suffix != ".json"]
    assert outcome(store, run(tree, store).ref) == from_scratch(tree, tmp_path / "scratch")
