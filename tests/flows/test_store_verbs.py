import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from flows.cli import main
from flows.cli.withdrawal_verb import withdraw
from tests.core.store_contents import rows_of_all
from tests.core.toy_versions import MAYBE, NO, YES, study_row, write_chain, write_version
from tests.flows.command_line import trrg_here
from trrg_core.runs.results import RunResult, write_result
from trrg_core.storage.store import Store, open_store
from trrg_core.tables.commit_history import CommitMetadata
from trrg_core.tables.commit_history import history as history_of
from trrg_core.tables.delta import commit_parts, read_table
from trrg_core.tables.parquet import write_part
from trrg_core.tables.schema import REJECTS, SLICES, STUDIES
from trrg_core.withdrawal import erase
from trrg_core.withdrawal.record import read_withdrawals

BEFORE = {"1": ("train", {"Edema": MAYBE}), "2": ("train", {"Edema": NO}), "3": ("test", {"Pneumonia": YES})}
AFTER = {"1": ("train", {"Edema": YES}), "2": ("train", {"Edema": NO}), "4": ("test", {"Pneumonia": YES})}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = open_store(str(tmp_path / "store"))
    write_chain(store, BEFORE, run="a")
    write_chain(store, AFTER, run="b")
    reject = {
        "job": "parse",
        "fingerprint": "reports-b",
        "reason": "no_report_section",
        "study_id": "9",
        "path": "p/9.txt",
    }
    part = write_part(store, "rejects", "parts/b.parquet", pa.Table.from_pylist([reject], schema=REJECTS))
    commit_parts(store, "rejects", [part], REJECTS, CommitMetadata(fingerprint="reports-b"), append=True)
    return store


Trrg = Callable[..., "Outcome"]


@dataclass(frozen=True)
class Outcome:
    """What a verb printed and how it ended."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def trrg(store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Trrg:
    """The command line in this process: one that starts anew for each verb would cost seconds a time."""
    monkeypatch.setattr("flows.cli._set_up", lambda: None)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")

    def call(*words: str | Path) -> Outcome:
        monkeypatch.setattr("sys.argv", ["trrg", *map(str, words), "--store", store.uri])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        output = capsys.readouterr()
        return Outcome(int(stop.value.code or 0), output.out, output.err)

    return call


def _json(trrg: Trrg, *words: str | Path) -> Any:
    output = trrg(*words, "--json")
    assert output.returncode == 0, output.stderr
    return json.loads(output.stdout)


def test_history_lists_versions_newest_first(trrg: Trrg) -> None:
    newest, oldest = _json(trrg, "history", "reports")
    assert (newest["version"], oldest["version"]) == ("reports@1", "reports@0")
    assert (newest["rows"], newest["parents"], newest["removed"]) == (3, ["studies@1"], False)
    output = trrg("history", "reports").stdout
    assert output.index("reports@1") < output.index("reports@0")
    assert "studies@1" in output
    assert trrg("history", "predictions").stdout == "predictions: no version yet\n"
    assert trrg("history", "nurses").stderr.startswith("error: no table 'nurses': expected one of studies")


def test_rejects_are_counted_and_listed_with_their_path(trrg: Trrg) -> None:
    output = _json(trrg, "rejects", "reports@1")
    assert output["counts"] == {"parse": {"no_report_section": 1}}
    assert [(row["study_id"], row["path"]) for row in output["rows"]] == [("9", "p/9.txt")]
    assert _json(trrg, "rejects", "reports@0") == {"total": 0, "counts": {}, "rows": []}
    assert _json(trrg, "rejects", "--limit", "0")["rows"] == []
    words = trrg("rejects", "parse").stdout
    assert not [word for word in ("no_report_section", "p/9.txt") if word not in words]
    assert trrg("rejects", "shards@0").stdout == "nothing was set aside\n"


def test_diff_of_two_parses_tells_labels_and_rules(trrg: Trrg) -> None:
    output = _json(trrg, "diff", "reports@0", "reports@1")
    assert output["studies"] == {"added": 1, "removed": 1, "changed": 1}
    assert output["study_ids"] == {"added": ["4"], "removed": ["3"], "changed": ["1"]}
    assert output["labels"] == [{"finding": "edema", "before": "uncertain", "after": "positive", "studies": 1}]
    assert output["rules"] == [{"finding": "edema", "before": "UNCERTAIN toy", "after": "PRESENT toy", "mentions": 1}]
    moved = {(one["finding"], one["assertion"]): one["change"] for one in output["label_counts"] if one["change"]}
    assert moved == {("Edema", "PRESENT"): 1, ("Edema", "UNCERTAIN"): -1}
    assert {line["what"] for line in output["drift"]} >= {"Edema PRESENT", "report length"}
    words = trrg("diff", "reports@0", "reports@1").stdout
    assert "rows 3 -> 3: 1 added, 1 removed, 1 changed" in words
    assert "UNCERTAIN toy" in words


def test_diff_of_studies_and_of_two_tables(trrg: Trrg) -> None:
    output = _json(trrg, "diff", "studies@0", "studies@1")
    assert output["columns_changed"] == {"report": 1}
    assert "labels" not in output
    refused = trrg("diff", "studies@0", "shards@0")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)


def test_labels_are_counted_by_finding_assertion_and_split(trrg: Trrg, tmp_path: Path) -> None:
    png = tmp_path / "labels.png"
    rows = _json(trrg, "labels", "shards@0", "--png", png)
    counts = {(row["finding"], row["assertion"], row["split"]): (row["studies"], row["of"]) for row in rows}
    assert counts[("Edema", "UNCERTAIN", "train")] == (1, 2)
    assert counts[("Edema", None, "test")] == (1, 1)
    assert png.read_bytes().startswith(b"\x89PNG")
    assert _json(trrg, "labels", "shards") == _json(trrg, "labels", "shards@1")
    assert "has no version of slices yet" in trrg("labels", "slices").stderr
    words = trrg("labels", "reports@0").stdout
    assert "Pneumonia" in words
    assert "\u2591" in words
    assert "there is no folder no/such" in trrg("labels", "shards@0", "--png", "no/such/x.png").stderr


def test_drift_alarms_and_fails_only_when_asked(trrg: Trrg) -> None:
    quiet = trrg("drift", "shards@0", "shards@1", "--fail", "--new-words", "0.9")
    assert quiet.returncode == 0, quiet.stderr
    assert "0 of " in quiet.stdout
    loud = ("drift", "shards@0", "shards@1", "--p-value", "1", "--psi", "0.001", "--alarms")
    assert trrg(*loud).returncode == 0
    failed = trrg(*loud, "--fail")
    assert failed.returncode == 1
    assert "Edema PRESENT" in failed.stdout
    assert any(line["alarm"] for line in _json(trrg, *loud))


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("shards@0", "shards@1", "--ratio", "0"), "--ratio: Input should be greater than 1"),
        (("shards@0", "shards@1", "--split", "trian"), "no split 'trian': expected one of train, validate, test"),
        (("shards@0", "reports@1"), "cannot be compared"),
        (("shards@0", "shards@9"), "no version shards@9"),
        (("shards@0", "studies@1"), "studies@1 has no labels"),
    ],
)
def test_drift_refuses_what_cannot_be_compared(trrg: Trrg, words: tuple[str, ...], reason: str) -> None:
    output = trrg("drift", *words)
    assert output.returncode == 2
    assert reason in output.stderr
    assert output.stderr.count("\n") == 1


def test_gc_says_what_would_go_and_removes_it_only_when_told(store: Store, trrg: Trrg) -> None:
    write_result(store, RunResult(run_id="pretrain-1", job="pretrain", inputs={"shards": "shards@0"}))
    write_chain(store, AFTER, run="c")
    before = store.stamps()
    output = _json(trrg, "gc", "--keep", "1")
    assert output["versions"] == ["studies@1", "reports@1", "shards@1"]
    assert output["kept"]["shards@0"] == "named by pretrain-1"
    assert output["bytes"] > 0
    assert "would be freed" in trrg("gc", "--keep", "1", "--dry-run").stdout
    young = trrg("gc", "--keep", "1", "--yes")
    assert young.returncode == 2
    assert "a job may be running" in young.stderr
    assert "not both" in trrg("gc", "--dry-run", "--yes").stderr
    assert store.stamps() == before
    for path in store.list():
        os.utime(store.join(path), (time.time() - 25 * 3600,) * 2)
    removed = trrg("gc", "--keep", "1", "--yes")
    assert removed.returncode == 0, removed.stderr
    assert "freed" in removed.stdout
    assert [commit.ref.version for commit in history_of(store, "shards")] == [2, 0]
    for commit in history_of(store, "studies"):
        assert read_table(store, commit.ref).num_rows == 3
    assert [row["removed"] for row in _json(trrg, "history", "reports")] == [False, True, False]


def test_gc_keeps_what_a_registered_model_names(store: Store, trrg: Trrg) -> None:
    from mlflow import MlflowClient

    from pipelines.registry.mlflow_store import registry
    from trrg_core.config.settings import RegisterConfig

    write_chain(store, AFTER, run="c")
    write_result(store, RunResult(run_id="finetune-1", job="finetune", inputs={"shards": "shards@1"}, finished_ms=1))
    write_result(store, RunResult(run_id="finetune-2", job="finetune", inputs={"shards": "shards@2"}, finished_ms=2))
    with registry(store, RegisterConfig()) as client:
        assert isinstance(client, MlflowClient)
        client.create_registered_model("m")
        client.create_model_version("m", source=store.join("runs/finetune-1/model"))
    output = _json(trrg, "gc", "--keep", "1", "--keep-runs", "1")
    assert output["runs"] == []
    assert output["kept"]["finetune-1"] == "named by models:/m/1"
    assert output["kept"]["shards@1"] == "named by finetune-1"
    assert output["versions"] == ["studies@0", "reports@0", "shards@0"]


def test_view_writes_a_page_of_the_studies_asked_for(trrg: Trrg, tmp_path: Path) -> None:
    output = trrg("view", "shards@0", "--finding", "edema", "--says", "uncertain", "--out", tmp_path / "a" / "look")
    assert output.returncode == 0, output.stderr
    page = (tmp_path / "a" / "look" / "index.html").read_text("utf-8")
    assert output.stdout.startswith(f"{tmp_path}/a/look/index.html: 1 of 1 studies")
    assert "Possible <mark" in page
    assert "Study 1" in page
    assert "Study 2" not in page
    assert "expected one of PRESENT" in trrg("view", "shards@0", "--says", "maybe").stderr
    blocked = tmp_path / "file"
    blocked.write_text("")
    refused = trrg("view", "shards@0", "--out", blocked)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)


def test_compact_merges_files_and_diff_shows_no_difference(store: Store, trrg: Trrg) -> None:
    rows = pa.Table.from_pylist([study_row("7", {"Edema": YES})], schema=STUDIES)
    part = write_part(store, "studies", "parts/c/train.parquet", rows, split="train")
    commit_parts(store, "studies", [part], STUDIES, CommitMetadata(fingerprint="c"), append=True)
    assert "studies@2: dry run, 3 files -> 2, 4 rows" in trrg("compact", "studies", "--dry-run").stdout
    assert "studies@2 -> studies@3: 3 files -> 2, 4 rows" in trrg("compact", "studies").stdout
    assert _json(trrg, "diff", "studies@2", "studies@3")["studies"] == {"added": 0, "removed": 0, "changed": 0}
    assert "nothing to merge" in trrg("compact", "studies").stdout


def test_lineage_draws_both_directions_as_text_json_and_page(store: Store, trrg: Trrg, tmp_path: Path) -> None:
    write_result(store, RunResult(run_id="pretrain-1", job="pretrain", inputs={"shards": "shards@1"}))
    text = trrg("lineage", "shards").stdout
    assert text.splitlines()[0].startswith("shards@1  3 rows, ")
    assert "reports@1  3 rows" in text.partition("used by")[0]
    assert "pretrain-1  pretrain" in text.partition("used by")[2]
    values = _json(trrg, "lineage", "pretrain-1", "--html", str(tmp_path / "page"))
    assert values["made_from"]["branches"][0]["ref"] == "shards@1"
    assert values["used_by"]["branches"] == []
    assert "Lineage of pretrain-1" in (tmp_path / "page" / "index.html").read_text("utf-8")
    assert "has no version, run or model" in trrg("lineage", "nothing").stderr


def test_withdraw_shows_erases_and_marks_the_model(
    store: Store, trrg: Trrg, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from pipelines.registry.mlflow_store import registry
    from trrg_core.config.settings import RegisterConfig

    write_result(store, RunResult(run_id="finetune-1", job="finetune", inputs={"shards": "shards@1"}))
    notes = {"model": "models:/m/1"}
    write_result(store, RunResult(run_id="register-1", job="register", inputs={"generator": "finetune-1"}, notes=notes))
    store.write_bytes("runs/register-1/README.md", b"# Card\n")
    with registry(store, RegisterConfig()) as client:
        client.create_registered_model("m")
        client.create_model_version("m", source=store.join("runs/finetune-1/model"))
    words = ("withdraw", "--patient", "p1", "--min-age", "0")
    values = _json(trrg, *words, "--dry-run")
    assert values["rows"] == {"studies": 2, "reports": 2, "shards": 2}
    assert (values["learned"], values["models"]) == ({"finetune-1": "trained"}, ["models:/m/1"])
    assert "TRRG_WITHDRAWAL_KEY" in trrg(*words).stderr
    monkeypatch.setenv("TRRG_WITHDRAWAL_KEY", "an invented secret of a test")
    done = trrg(*words)
    assert done.returncode == 0, done.stderr
    assert "models:/m/1 learned from them, which cannot be erased" in done.stdout
    assert "p1" not in done.stdout
    assert _json(trrg, "history", "studies")[0]["rows"] == 2
    card = store.read_bytes("runs/register-1/README.md").decode()
    assert "# Card\n\n## Withdrawn patients" in card
    with registry(store, RegisterConfig()) as client:
        version = client.get_model_version("m", "1")
    assert version.tags["withdrawal.last"] == time.strftime("%Y-%m-%d", time.gmtime())
    assert "Withdrawn patients" in version.description
    ids = tmp_path / "ids.txt"
    ids.write_text("p2\n")
    assert trrg("withdraw", "--file", ids, "--min-age", "0").returncode == 0
    assert _json(trrg, "history", "studies")[0]["rows"] == 1
    assert "give --patient" in trrg("withdraw").stderr


def test_two_withdrawals_at_once_bring_nobody_back(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the first has read a file that it will write again, the second is started and given time to end."""
    monkeypatch.setenv("TRRG_WITHDRAWAL_KEY", "an invented secret of a test")
    second = threading.Thread(target=withdraw, kwargs={"patient": "p2", "min_age": 0, "store": store.uri})
    without_rows: Callable[..., bytes] = erase._without_rows

    def slowly(*arguments: Any) -> bytes:
        rows = without_rows(*arguments)
        if second.ident is None:
            second.start()
            second.join(1.5)
        return rows

    monkeypatch.setattr(erase, "_without_rows", slowly)
    withdraw(patient="p1", min_age=0, store=store.uri)
    second.join()
    for ref, rows in rows_of_all(store).items():
        assert {row["subject_id"] for row in rows} <= {None, "p3", "p4"}, ref
    assert [record.is_finished for record in read_withdrawals(store)] == [True, True]


def test_drop_removes_a_slice_that_nobody_needs(store: Store, trrg: Trrg) -> None:
    row = {"subject_id": "p1", "study_id": "1", "split": "train", "repeat": 1, "sentence_weights": [1.0]}
    write_version(store, "slices", [row], SLICES, fingerprint="s0", parents=["shards@0"], notes={"name": ["rare"]})
    assert "slices@0: 2 files" in trrg("drop", "slices:rare", "--dry-run").stdout
    assert "a job may be running" in trrg("drop", "slices@0").stderr
    assert trrg("drop", "slices@0", "--min-age", "0").returncode == 0
    assert [row["removed"] for row in _json(trrg, "history", "slices")] == [True]


@pytest.mark.parametrize(
    "words", [["show"], ["history", "studies"], ["gc"], ["rejects"], ["catalog"], ["models"], ["dashboard"]]
)
def test_a_mistyped_store_is_told_and_not_made(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = trrg_here(*words, "--store", "typo")
    assert done.returncode == 0
    assert f"note: there is no folder {tmp_path}/typo" in done.stderr
    assert not (tmp_path / "typo").exists()


@pytest.mark.parametrize("more", [["--dry-run"], ["--min-age", "0"]])
def test_a_withdrawal_from_a_mistyped_store_is_an_error(more: list[str], tmp_path: Path) -> None:
    done = trrg_here("withdraw", "--patient", "10000032", *more, "--store", str(tmp_path / "typo"))
    assert done.returncode == 2
    assert f"there is no store {tmp_path}/typo, so that nobody was withdrawn" in done.stderr
    assert not (tmp_path / "typo").exists()


def test_a_store_that_exists_gets_no_note(store: Store) -> None:
    assert trrg_here("show", "--store", store.uri).stderr == ""
