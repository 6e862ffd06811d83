"""A patient who withdraws is nowhere in the store afterwards, all other rows are equal, and the models are named."""

import html
import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from flows.render.withdrawal import describe_plan
from tests.core.faulty_s3 import faulty_s3, make_bucket
from tests.core.store_contents import contents, find_words, rows_of_all
from tests.core.toy_versions import LABEL_SET, NO, YES, report_row, shard_row, study_row, write_version
from trrg_core.errors import ConfigError, DataError
from trrg_core.label_stats.label_table_cache import load_label_table
from trrg_core.runs.results import RunResult, write_result
from trrg_core.storage.store import Store, open_store
from trrg_core.study import Listing, Reject, Study
from trrg_core.tables.commit_history import CommitMetadata, history
from trrg_core.tables.delta import commit_parts, list_parts, read_table
from trrg_core.tables.parquet import write_part
from trrg_core.tables.rejects import read_rejects
from trrg_core.tables.schema import PREDICTIONS, REJECTS, SLICES, STUDIES, reports_schema, shards_schema
from trrg_core.tables.table_ref import TableRef
from trrg_core.withdrawal import erase
from trrg_core.withdrawal.record import KEY_VARIABLE, read_key, read_refusal, read_withdrawals, without_withdrawn
from trrg_core.withdrawal.search import Request
from trrg_core.withdrawal.withdraw import WithdrawalReport, carry_out, plan_withdrawal, read_requests

GONE, GONE_STUDIES = "10000032", ("50414267", "53189527")
IDS = (GONE, *GONE_STUDIES)
TRAIN_OTHER, VALIDATE, TEST = ("10000764", "57375967"), ("10000898", "50771383"), ("10000935", "50578979")
JOBS = ("pretrain", "finetune")
EARLIER = "Clear lungs at that time."
MODELS = {"models:/m/1": ["register-1", "finetune-1"], "models:/m/2": ["finetune-2"]}

pytestmark = pytest.mark.usefixtures("withdrawal_key")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two versions of each table with a patient of two studies, runs, a page, a copy of labels, and rejects."""
    store = open_store(str(tmp_path / "store"))
    people = [(GONE, GONE_STUDIES[0], "train"), (GONE, GONE_STUDIES[1], "train"), (*TRAIN_OTHER, "train")]
    people += [(*VALIDATE, "validate"), (*TEST, "test")]
    for version in range(2):
        chosen = people[version:]  # the patient's first study is in version 0 only
        for name, make, schema in (
            ("studies", study_row, STUDIES),
            ("reports", report_row, reports_schema(LABEL_SET)),
            ("shards", shard_row, shards_schema(LABEL_SET)),
        ):
            rows = [make(study, {"Edema": YES}, split) | {"subject_id": who} for who, study, split in chosen]
            if name == "studies":
                for row in rows:
                    row["images"][0]["dicom_id"] = f"d{row['study_id']}-aaaa"
                    row["prior_study_id"] = GONE_STUDIES[0] if row["study_id"] == GONE_STUDIES[1] else ""
            if name == "shards":
                for row in rows:
                    is_second = row["study_id"] == GONE_STUDIES[1]
                    row |= {"prior_study_id": GONE_STUDIES[0] if is_second else "", "prior_report": EARLIER}
            notes = {"near_duplicate_reports": [f"{GONE_STUDIES[0]} {TEST[1]}", f"{TEST[1]} {VALIDATE[1]}"]}
            write_version(store, name, rows, schema, fingerprint=f"{name}{version}", notes=notes)
    for at, (who, study) in enumerate(((GONE, GONE_STUDIES[0]), TRAIN_OTHER)):
        row = {"subject_id": who, "study_id": study, "split": "train", "repeat": 1, "sentence_weights": [1.0]}
        write_version(store, "slices", [row], SLICES, fingerprint=f"slice{at}", parents=["shards@0"])
        recipe = {"spec": {"where": f"subject_id <> '{GONE}'"}}
        store.write_bytes(f"tables/slices/parts/slice{at}/recipe.json", json.dumps(recipe).encode())
    prediction = {"subject_id": TEST[0], "study_id": TEST[1], "split": "test", "hypothesis": "Clear."}
    prediction |= {"clues": [], "neighbour_study_id": GONE_STUDIES[1]}
    write_version(store, "predictions", [prediction], PREDICTIONS, fingerprint="predictions0")
    rejected = {"job": "ingest", "fingerprint": "studies0", "split": "train"}
    path = f"files/p10/p{GONE}/s{GONE_STUDIES[0]}/x.jpg"
    rejects = [rejected | {"reason": "jpeg_corrupt", "subject_id": "", "study_id": "", "dicom_id": "", "path": path}]
    rejects += [rejected | {"reason": "jpeg_corrupt", "subject_id": TEST[0], "study_id": TEST[1], "path": "files/x"}]
    part = pa.Table.from_pylist(rejects, schema=REJECTS)
    write_rejects(store, part)
    write_runs(store)
    load_label_table(store, TableRef(name="shards", version=0), LABEL_SET.observations)
    return store


def write_rejects(store: Store, rows: pa.Table) -> None:
    part = write_part(store, "rejects", "parts/studies0/rejects.parquet", rows)
    commit_parts(store, "rejects", [part], REJECTS, CommitMetadata(fingerprint="studies0"), append=True)


def write_runs(store: Store) -> None:
    """Runs on the patient by shards, by another slice, and by way of another run; and what evaluate leaves."""
    both = {"shards": "shards@0"}
    for number, (run_id, inputs) in enumerate(
        (
            ("pretrain-1", {**both, "slice": "slices@0"}),
            ("pretrain-2", {**both, "slice": "slices@1"}),
            ("finetune-1", {**both, "slice": "slices@1", "contrastive": "pretrain-1"}),
            ("finetune-2", {**both, "slice": "slices@1", "contrastive": "pretrain-2"}),
            ("evaluate-1", {**both, "generator": "finetune-1", "predictions": "predictions@0"}),
        )
    ):
        job = run_id.partition("-")[0]
        write_result(store, RunResult(run_id=run_id, job=job, inputs=inputs, finished_ms=number))
    cards = "".join(
        f'<article class="card"><h3>Study {study}</h3><p>of {who}</p></article>' for who, study in (TRAIN_OTHER, TEST)
    )
    page = f"<main>{cards}<article><h3>Study {GONE_STUDIES[0]}</h3></article></main>"
    store.write_bytes("runs/evaluate-1/report.html", page.encode())
    store.write_bytes("runs/evaluate-1/notes.json", json.dumps({"kept": ["a"], "ids": [GONE, TEST[0]]}).encode())
    outcomes = pa.table({"study_id": [GONE_STUDIES[0], TEST[1]], "subject_id": [GONE, TEST[0]], "tp": [1, 2]})
    sink = io.BytesIO()
    pq.write_table(outcomes.replace_schema_metadata({b"trrg": b"kept"}), sink)
    store.write_bytes("runs/evaluate-1/outcomes.parquet", sink.getvalue())
    store.write_bytes("runs/pretrain-half/checkpoints/1/weights", b"weights")
    store.write_bytes("jobs/j1/task.json", json.dumps({"note": f"study {GONE_STUDIES[1]} was slow"}).encode())
    store.write_bytes("tables/reports/parts/dead/train-x.parquet", store.read_bytes(_first(store, "tables/reports")))


def _first(store: Store, folder: str) -> str:
    return next(path for path in store.list(folder) if path.endswith("train-a.parquet"))


def withdraw(store: Store, *requests: Request, marks: list[str] | None = None) -> WithdrawalReport:
    plan = plan_withdrawal(store, requests or [Request(subject_id=GONE)], training_jobs=JOBS, models=MODELS)
    marked = [] if marks is None else marks
    return carry_out(store, plan, read_key(), min_age_hours=0, mark_models=lambda models, day: marked.extend(models))


def test_no_id_is_left_anywhere_and_all_other_rows_are_equal(store: Store) -> None:
    before = rows_of_all(store)
    withdraw(store)
    assert find_words(store, IDS) == []
    after = rows_of_all(store)
    assert list(after) == list(before)
    for ref, rows in before.items():
        kept = [row for row in rows if row["subject_id"] != GONE]
        if ref.startswith("rejects"):
            assert [row["path"] for row in after[ref]] == ["", "files/x"]
        elif ref.startswith("predictions"):
            assert after[ref] == [{**kept[0], "neighbour_study_id": ""}]
        else:
            assert after[ref] == kept, ref
    assert len(before["studies@0"]) - len(after["studies@0"]) == 2
    assert after["slices@0"] == []


def test_other_readers_of_the_log_see_the_same_rows(store: Store) -> None:
    withdraw(store)
    for name in ("studies", "shards", "rejects"):
        for version in range(DeltaTable(store.join("tables", name)).version() + 1):
            table = DeltaTable(store.join("tables", name), version=version)
            ref = TableRef(name=name, version=version)
            assert table.to_pyarrow_dataset().to_table().num_rows == read_table(store, ref).num_rows
            assert sum(part.num_rows for part in list_parts(store, ref)) == read_table(store, ref).num_rows


def test_runs_and_models_that_learned_are_told(store: Store) -> None:
    marks: list[str] = []
    withdraw(store, marks=marks)
    (record,) = read_withdrawals(store)
    # the slice of pretrain-1 has the patient, that of the others has not; finetune-1 goes on from pretrain-1
    assert record.learned == {"pretrain-1": "trained", "finetune-1": "trained"}
    assert record.models == ("models:/m/1",)
    assert marks == ["models:/m/1"]
    assert record.is_finished


def test_a_patient_of_validate_calibrated_the_models(store: Store) -> None:
    withdraw(store, Request(subject_id=VALIDATE[0]))
    (record,) = read_withdrawals(store)
    assert set(record.learned.values()) == {"calibrated"}
    assert record.models == ("models:/m/1", "models:/m/2")


def test_a_patient_of_test_taught_nobody(store: Store) -> None:
    withdraw(store, Request(subject_id=TEST[0]))
    (record,) = read_withdrawals(store)
    assert (record.learned, record.models) == ({}, ())


def test_each_of_several_patients_has_a_record_of_its_own(store: Store) -> None:
    withdraw(store, Request(subject_id=GONE), Request(subject_id=TEST[0]), Request(subject_id=VALIDATE[0]))
    gone, test, validate = read_withdrawals(store)
    assert gone.learned == {"pretrain-1": "trained", "finetune-1": "trained"}
    assert gone.models == ("models:/m/1",)
    assert (test.learned, test.models) == ({}, ())
    assert set(validate.learned.values()) == {"calibrated"}
    assert [record.rows["studies"] for record in (gone, test, validate)] == [3, 2, 2]
    assert test.rows["predictions"] == 1
    assert "predictions" not in gone.rows


def test_a_dry_plan_changes_nothing(store: Store) -> None:
    before = store.stamps()
    plan = plan_withdrawal(store, [Request(subject_id=GONE)], training_jobs=JOBS, models=MODELS)
    assert plan.traces.rows_by_table() == {
        "studies": 3,
        "reports": 5,
        "shards": 3,
        "slices": 1,
        "rejects": 1,
        "runs": 1,
    }
    assert plan.unfinished_runs == ("pretrain-half",)
    assert store.stamps() == before


def test_one_study_alone_leaves_the_patient_and_clears_the_prior(store: Store) -> None:
    withdraw(store, Request(subject_id=GONE, study_ids=(GONE_STUDIES[0],)))
    rows = {row["study_id"]: row for row in read_table(store, TableRef(name="studies", version=0)).to_pylist()}
    assert GONE_STUDIES[0] not in rows
    assert rows[GONE_STUDIES[1]]["prior_study_id"] == ""
    for version in range(2):  # the text of the earlier report leaves with its study, other earlier reports stay
        shards = read_table(store, TableRef(name="shards", version=version)).to_pylist()
        assert {row["study_id"]: row["prior_report"] for row in shards} == {
            GONE_STUDIES[1]: "",
            **dict.fromkeys((TRAIN_OTHER[1], VALIDATE[1], TEST[1]), EARLIER),
        }
    assert find_words(store, GONE_STUDIES[:1]) == []
    refusal = read_refusal(store)
    assert refusal is not None
    assert refusal.refuses(GONE, GONE_STUDIES[0])
    assert not refusal.refuses(GONE, GONE_STUDIES[1])


def test_a_study_of_another_patient_is_refused(store: Store) -> None:
    with pytest.raises(ConfigError, match="is of another patient than given"):
        plan_withdrawal(store, [Request(subject_id=GONE, study_ids=(TEST[1],))], training_jobs=JOBS, models={})


@pytest.mark.parametrize("step", [11, pytest.param(1, marks=[pytest.mark.slow, pytest.mark.timeout(300)])])
def test_after_an_interruption_at_any_write_the_same_command_ends_the_same(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """A stop before each single file that is written or deleted: no id is forgotten, no file differs at the end."""
    original = shutil.copytree(store.uri, tmp_path / "original")
    with monkeypatch.context() as patch:
        changes = interrupt_at(patch, None)
        withdraw(store)
        assert len(changes) > 20
    ended = contents(store)
    for number in range(0, len(changes), step):
        copy = open_store(str(shutil.copytree(original, tmp_path / f"copy{number}")))
        with monkeypatch.context() as patch:
            interrupt_at(patch, number)
            with pytest.raises(KeyboardInterrupt):
                withdraw(copy)
        assert not any(record.is_finished for record in read_withdrawals(copy))
        withdraw(copy)
        assert contents(copy) == ended, f"stopped before change {number}: {changes[number]}"


def interrupt_at(patch: pytest.MonkeyPatch, number: int | None) -> list[str]:
    """Let the change with this number of a store's files stop the work; the list that comes back names all before."""
    changes: list[str] = []
    for name in ("write_bytes", "delete"):
        change: Callable[..., None] = getattr(Store, name)

        def counted(store: Store, path: str, *data: bytes, change: Callable[..., None] = change) -> None:
            if len(changes) == number:
                raise KeyboardInterrupt
            changes.append(path)
            change(store, path, *data)

        patch.setattr(Store, name, counted)
    return changes


def test_an_id_that_is_left_is_an_error_that_names_the_file_until_it_is_gone(store: Store) -> None:
    store.write_bytes("notes/by-hand.bin", GONE_STUDIES[0].encode())
    for _ in range(2):  # the second attempt still knows the studies of the patient
        with pytest.raises(DataError, match=r"1 files still name a patient or study: notes/by-hand\.bin"):
            withdraw(store)
    store.delete("notes/by-hand.bin")
    withdraw(store)
    assert find_words(store, IDS) == []


def test_the_record_holds_keyed_hashes_and_needs_the_same_key(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    withdraw(store)
    text = store.read_bytes("withdrawals.json").decode()
    assert re.search(r'"patient": "[0-9a-f]{64}"', text)
    monkeypatch.setenv(KEY_VARIABLE, "another secret than the first one")
    with pytest.raises(ConfigError, match="is not the key that the withdrawals of"):
        read_refusal(store)
    monkeypatch.setenv(KEY_VARIABLE, "short")
    with pytest.raises(ConfigError, match="a secret of at least 16 characters"):
        read_refusal(store)


def test_a_listing_loses_the_patient_and_counts_the_studies_without_a_name(store: Store) -> None:
    withdraw(store)
    refusal = read_refusal(store)
    assert refusal is not None
    studies = tuple(
        Study(subject_id=who, study_id=study, split="train", report_path="r")
        for who, study in ((GONE, GONE_STUDIES[0]), (GONE, "59999999"), TRAIN_OTHER)
    )
    rejects = (Reject(reason="missing", path=f"files/p{GONE}/x"), Reject(reason="missing", path="files/p2/x"))
    listing = without_withdrawn(Listing(studies=studies, rejects=rejects), refusal)
    assert [study.subject_id for study in listing.studies] == [TRAIN_OTHER[0]]
    assert listing.rejects == (*[Reject(reason="withdrawn")] * 3, rejects[1])


@pytest.mark.parametrize("odd", ["1.2.840.113619.2.1", "P_1000_A", "O'Neil & Co", "M\u00fcller 17", GONE])
def test_a_later_reject_that_names_the_patient_by_its_path_names_nobody(store: Store, odd: str) -> None:
    withdraw(store, Request(subject_id=odd))
    refusal = read_refusal(store)
    assert refusal is not None
    paths = (f"films/{odd}/x.jpg", f"films/{odd}.jpg", f"p10/p{GONE}_x.jpg" if odd == GONE else f"{odd}.1/{odd}")
    rejects = tuple(Reject(reason="missing_image", path=path) for path in (*paths, "films/other.jpg"))
    assert without_withdrawn(Listing(studies=(), rejects=rejects), refusal).rejects == (
        *[Reject(reason="withdrawn")] * 3,
        rejects[-1],
    )


def test_a_study_whose_prior_was_withdrawn_is_listed_without_it(store: Store) -> None:
    withdraw(store, Request(subject_id=GONE, study_ids=(GONE_STUDIES[0],)))
    refusal = read_refusal(store)
    assert refusal is not None
    studies = tuple(
        Study(subject_id=GONE, study_id=study, split="train", report_path="r", prior_study_id=prior)
        for study, prior in ((GONE_STUDIES[0], ""), ("59999998", GONE_STUDIES[0]), ("59999999", "59999998"))
    )
    listing = without_withdrawn(Listing(studies=studies), refusal)
    assert [(study.study_id, study.prior_study_id) for study in listing.studies] == [
        ("59999998", ""),
        ("59999999", "59999998"),
    ]


def test_ids_that_are_short_are_erased_from_rows_but_not_looked_for_in_text(store: Store) -> None:
    rows = [study_row("42", {"Edema": NO}) | {"subject_id": "7"}]
    write_version(store, "studies", rows, STUDIES, fingerprint="short")
    store.write_bytes("runs/evaluate-1/report.html", b"<article>>Study 42<</article><p>42 of 7</p>")
    withdraw(store, Request(subject_id="7"))
    assert history(store, "studies")[0].ref.version == 2
    assert read_table(store, history(store, "studies")[0].ref).num_rows == 0
    assert store.read_bytes("runs/evaluate-1/report.html") == b"<p>42 of 7</p>"


def test_a_file_of_ids_is_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "ids.txt"
    path.write_text("10000001 # by letter\n\n10000002, 50000001\n10000002,50000002\n10000003,50000003\n10000003\n")
    assert read_requests(path) == [
        Request(subject_id="10000001"),
        Request(subject_id="10000002", study_ids=("50000001", "50000002")),
        Request(subject_id="10000003"),
    ]
    path.write_text('#nobody\nA#1\n"Doe, 17","5,1"\nMu\u0308ller,  a b # a comment\n')
    assert read_requests(path) == [
        Request(subject_id="A#1"),
        Request(subject_id="Doe, 17", study_ids=("5,1",)),
        Request(subject_id="M\u00fcller", study_ids=("a b",)),
    ]
    path.write_text('"Doe, 17\n')
    with pytest.raises(ConfigError, match="line 1: expected PATIENT or PATIENT,STUDY"):
        read_requests(path)
    path.write_text("1,2,3\n")
    with pytest.raises(ConfigError, match="line 1: expected PATIENT or PATIENT,STUDY"):
        read_requests(path)
    path.write_text("# nobody\n")
    with pytest.raises(ConfigError, match="names no patient"):
        read_requests(path)


def test_an_id_is_taken_as_sources_spell_it() -> None:
    assert Request(subject_id=" Mu\u0308ller ") == Request(subject_id="M\u00fcller")


def test_patients_without_a_row_are_counted(store: Store) -> None:
    requests = [Request(subject_id=TEST[0]), Request(subject_id=f"p{GONE}"), Request(subject_id="nobody")]
    plan = plan_withdrawal(store, requests, training_jobs=JOBS, models=MODELS)
    assert describe_plan(plan)["unknown_patients"] == 2


def test_rejects_are_counted_as_before(store: Store) -> None:
    withdraw(store)
    rows = read_rejects(store).to_pylist()
    assert sorted(row["detail"] or "" for row in rows) == ["", "withdrawn"]
    assert {row["reason"] for row in rows} == {"jpeg_corrupt"}


@pytest.mark.parametrize("odd", ["M\u00fcller-0032", "O'Neil&77", 'quote"d00', "back\\\\slash", "line\\n0032"])
def test_an_id_is_found_however_json_and_html_write_it(store: Store, odd: str) -> None:
    rows = [study_row(f"{odd}/1", {"Edema": NO}) | {"subject_id": odd}]
    notes = {"near_duplicate_reports": [f"{odd}/1 {TEST[1]}"]}
    write_version(store, "studies", rows, STUDIES, fingerprint="odd", notes=notes)
    card = f"<article><h3>Study {html.escape(odd)}/1</h3></article>"
    texts = {
        "runs/evaluate-1/odd.json": json.dumps({"lines": [f"first\n{odd}\nlast", TEST[0]]}),
        "runs/evaluate-1/odd.jsonl": f'{json.dumps({"who": odd})}\n{{"who": "{TEST[0]}"}}\n',
        "runs/evaluate-1/report.html": f"<main>{card}<article><h3>Study {TEST[1]}</h3></article></main>",
        "tables/studies/parts/odd/recipe.json": json.dumps({"where": f"subject_id = '{odd}'"}),
    }
    for path, text in texts.items():
        store.write_bytes(path, text.encode())
    store.write_bytes("jobs/j1/torn.json", f'{{"who": {json.dumps(odd)}, "ot'.encode())
    withdraw(store, Request(subject_id=odd))
    spellings = {
        odd,
        odd.encode().decode("latin-1"),
        html.escape(odd),
        json.dumps(odd)[1:-1],
        json.dumps(json.dumps(odd)[1:-1])[1:-1],
    }
    assert find_words(store, spellings) == []
    for path in texts:  # and nothing else is gone
        assert (TEST[0] in texts[path]) == (TEST[0] in store.read_bytes(path).decode())
        assert (TEST[1] in texts[path]) == (TEST[1] in store.read_bytes(path).decode())
    assert TEST[1] in history(store, "studies")[0].notes["near_duplicate_reports"][0]


def test_a_decimal_that_has_the_digits_is_no_mention(store: Store) -> None:
    store.write_bytes("runs/evaluate-1/losses.json", f"[0.{GONE}, 0.{GONE}77]".encode())
    withdraw(store)
    assert store.read_bytes("runs/evaluate-1/losses.json") == f"[0.{GONE}, 0.{GONE}77]".encode()
    assert erase.find_mentions(store, plan_withdrawal(store, [], training_jobs=JOBS, models={}).traces.names, []) == []


def test_an_id_within_another_patients_id_is_not_the_patients(store: Store) -> None:
    own, other = "P-1000", "P-1000-2"
    rows = [study_row(f"ST-{who}", {"Edema": NO}) | {"subject_id": who} for who in (own, other, f"p{own}")]
    notes = {"near_duplicate_reports": [f"ST-{own} ST-{other}", f"ST-{other} {TEST[1]}"]}
    write_version(store, "studies", rows, STUDIES, fingerprint="odd", notes=notes)
    lines = [f'{{"subject_id": "{who}"}}\n' for who in (own, other, f"p{own}")]
    store.write_bytes("runs/evaluate-1/outcomes.jsonl", "".join(lines).encode())
    page = [f"<article><h3>Study ST-{who}</h3></article>" for who in (own, other)]
    store.write_bytes("runs/evaluate-1/report.html", "".join(page).encode())
    withdraw(store, Request(subject_id=own))
    newest = history(store, "studies")[0]
    assert [row["subject_id"] for row in read_table(store, newest.ref).to_pylist()] == [other, f"p{own}"]
    assert newest.notes["near_duplicate_reports"] == [f"[withdrawn] ST-{other}", f"ST-{other} {TEST[1]}"]
    assert store.read_bytes("runs/evaluate-1/outcomes.jsonl").decode() == "".join(lines[1:])
    assert store.read_bytes("runs/evaluate-1/report.html").decode() == page[1]


def test_another_patients_row_with_an_image_in_the_patients_folder_keeps_its_study(store: Store) -> None:
    """A film that was filed wrongly: its reject names the patient by the path only."""
    wrong = {"job": "ingest", "fingerprint": "studies0", "split": "test", "reason": "missing_image"}
    wrong |= {"subject_id": TEST[0], "study_id": TEST[1], "path": f"files/p{GONE}/x.jpg", "detail": "no such file"}
    write_rejects(store, pa.Table.from_pylist([wrong], schema=REJECTS))
    before = rows_of_all(store)
    withdraw(store)
    for ref, rows in rows_of_all(store).items():
        if ref.startswith("rejects"):
            assert {(row["subject_id"], row["study_id"], row["path"]) for row in rows} >= {(*TEST, "")}
        else:
            assert [row["study_id"] for row in rows].count(TEST[1]) == str(before[ref]).count(
                f"'study_id': '{TEST[1]}'"
            )


@pytest.mark.parametrize("study", ["S1", "STUDY-0001"])
def test_a_study_of_the_same_id_from_another_source_stays(store: Store, study: str) -> None:
    rows = [study_row(study, {"Edema": NO}) | {"subject_id": who, "prior_study_id": ""} for who in (GONE, "P1")]
    second = study_row("S2", {"Edema": NO}) | {"subject_id": "P1", "prior_study_id": study}
    write_version(store, "studies", rows[:1], STUDIES, fingerprint="first")
    write_version(store, "studies", [rows[1], second], STUDIES, fingerprint="second")
    plan = plan_withdrawal(store, [Request(subject_id=GONE)], training_jobs=JOBS, models=MODELS)
    assert describe_plan(plan)["shared_ids"] == 2  # and the image
    withdraw(store)
    newest, older = history(store, "studies")[:2]
    assert read_table(store, older.ref).num_rows == 0
    left = read_table(store, newest.ref).select(["subject_id", "study_id", "prior_study_id"]).to_pylist()
    assert [tuple(row.values()) for row in left] == [("P1", study, ""), ("P1", "S2", study)]


def test_numbers_and_times_that_have_the_digits_are_no_mention(store: Store) -> None:
    """Sizes of files, counts and times: a checkpoint lost its manifest to a withdrawn patient of the same digits."""
    digits = "123456"
    rows = [study_row(f"ST-{who}", {"Edema": NO}) | {"subject_id": who} for who in (digits, TEST[0])]
    rows[1]["study_date"], rows[1]["study_time"] = "20240131", digits
    write_version(store, "studies", rows, STUDIES, fingerprint="odd", counts={"bytes": int(digits)})
    kept = {
        "runs/finetune-1/checkpoints/1/manifest.json": json.dumps({"files": [{"size": int(digits)}]}),
        "runs/finetune-1/metrics.jsonl": f'{{"tokens": {digits}}}\n{{"loss": 1.5}}\n',
    }
    gone = {"runs/finetune-1/studies.json": json.dumps({"study_ids": [int(digits)]})}
    for path, text in (kept | gone).items():
        store.write_bytes(path, text.encode())
    withdraw(store, Request(subject_id=digits))
    for path, text in kept.items():
        assert store.read_bytes(path).decode() == text
    assert not store.exists(next(iter(gone)))
    assert read_table(store, history(store, "studies")[0].ref).column("subject_id").to_pylist() == [TEST[0]]


@pytest.mark.slow
@pytest.mark.long
def test_a_store_in_s3_ends_as_a_local_one_also_through_faults(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with faulty_s3() as service:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "invented")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "invented")
        monkeypatch.setenv("AWS_ENDPOINT_URL", service.endpoint)
        make_bucket(service, "bucket")
        remote = open_store("s3://bucket/store")
        remote.upload_dir(Path(store.uri), "")
        service.faults += ["503", "reset"]
        withdraw(remote)
        assert service.faults == []
        remote.download_dir("", tmp_path / "fetched")
    withdraw(store)
    fetched = open_store(str(tmp_path / "fetched"))
    assert find_words(fetched, IDS) == []
    assert rows_of_all(fetched) == rows_of_all(store)
    assert fetched.list() == store.list()
    assert read_withdrawals(fetched) == read_withdrawals(store)
