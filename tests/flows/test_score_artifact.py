"""The artifacts of a job in the Prefect UI: the table of scores and the link to its page."""

from pathlib import Path

import pytest

from flows import artifacts, tasks
from flows.artifacts import page_link
from flows.render.decision_text import artifact_rows, decision_text
from flows.tasks import _score_table
from pipelines.records.job_result import JobResult
from trrg_core.labels import load_label_set
from trrg_core.metrics.systems import FLOORS, System, metric_key
from trrg_core.registry.check import Bound, Check, Verdict
from trrg_core.registry.decision import Decision, decision_to_bytes
from trrg_core.storage.store import open_store

LABELS = load_label_set("chexpert14")


def test_systems_are_columns_in_one_order_however_the_metrics_are_sorted() -> None:
    metrics = {metric_key(system, "bleu4.full"): 0.25 for system in (System.MODEL, *FLOORS)}
    metrics |= {"modal_report/truth.distinct_share": 0.5}
    # a run that is read back has its metrics in alphabetical order
    for ordered in (metrics, dict(sorted(metrics.items()))):
        first, second = _score_table(ordered, LABELS)
        assert list(first) == ["score", "model", "modal report", "nearest neighbour"]
        assert first["model"] == "0.250"
        assert second == {"score": "truth.distinct_share", "modal report": "0.500"}


def test_the_scores_of_a_first_look_come_first() -> None:
    names = ["bleu4.full", "trrg14.example.f1.u0", "trrg13.micro.f1.u0", "truth.omitted"]
    rows = _score_table({metric_key(System.MODEL, name): 0.5 for name in names}, LABELS)
    assert [row["score"] for row in rows] == ["trrg13.micro.f1.u0", "bleu4.full", *names[1::2]]


def test_the_first_scores_are_logged_beside_the_floors(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tasks, "store_artifact", lambda *_, **__: None)
    caplog.set_level("INFO")
    names = ["bleu1.full", "bleu4.full", "trrg13.macro.f1.u0", "trrg13.micro.f1.u0"]
    counts = {metric_key(System.MODEL, name): 0.5 for name in names} | {"modal_report/trrg13.micro.f1.u0": 0.25}
    result = JobResult(job="evaluate", ref="evaluate-1", counts=counts)
    tasks._create_artifacts(result, open_store(str(tmp_path)), LABELS)
    assert caplog.messages == [
        "evaluate: trrg13.micro.f1.u0 of model 0.500, modal report 0.250",
        "evaluate: trrg13.macro.f1.u0 of model 0.500",
        "evaluate: bleu1.full of model 0.500",
    ]


def test_curves_are_shown_with_a_link_to_the_served_picture(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stored: dict[str, object] = {}
    monkeypatch.setattr(tasks, "store_artifact", lambda _, content, key, description: stored.update({key: content}))
    monkeypatch.setenv("TRRG_PAGES_URL", "http://127.0.0.1:9")
    store = open_store(str(tmp_path))
    store.write_bytes("runs/pretrain-1/losses.svg", b"<svg/>")
    tasks._create_artifacts(JobResult(job="pretrain", ref="pretrain-1", notes={"losses": "x"}), store, LABELS)
    assert stored["pretrain-curves"] == (
        "![Losses by step](data:image/svg+xml;base64,PHN2Zy8+)\n\n"
        "[Losses by step](http://127.0.0.1:9/runs/pretrain-1/losses.svg)"
    )


@pytest.mark.parametrize(
    ("job", "note", "key"), [("pretrain", "page", "pretrain-page"), ("evaluate", "report", "evaluate-report")]
)
def test_the_page_of_a_run_is_linked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, job: str, note: str, key: str
) -> None:
    links: list[tuple[str, str]] = []
    monkeypatch.setattr(tasks, "create_table_artifact", lambda *_, **__: None)
    monkeypatch.setattr(tasks, "create_link_artifact", lambda link, **words: links.append((link, words["key"])))
    store = open_store(str(tmp_path))
    tasks._create_artifacts(JobResult(job=job, ref="run-1", notes={note: "/a/page.html"}), store, LABELS)
    tasks._create_artifacts(JobResult(job=job, ref="run-2"), store, LABELS)
    assert links == [("file:///a/page.html", key)]


def test_the_decision_is_a_table_a_text_and_an_event(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    checks = (
        Check(name="text.modal_share", verdict=Verdict.FAIL, reason="most are equal | always", number=0.9),
        Check(
            name="champion.micro_f1",
            verdict=Verdict.PASS,
            reason="a gain",
            number=0.02,
            low=-0.01,
            high=0.05,
            bound=Bound(relation=">=", value=0, setting="register.min_f1_gain"),
        ),
    )
    facts = {"compared_with": [{"role": "champion", "model": "models:/trrg/1"}], "studies": 150, "patients": 90}
    store = open_store(str(tmp_path))
    store.write_bytes("runs/register-1/decision.json", decision_to_bytes(Decision(checks=checks, facts=facts)))
    stored: dict[str, object] = {}
    events: list[tuple[str, str, object]] = []
    monkeypatch.setattr(tasks, "store_artifact", lambda _, content, key, description: stored.update({key: content}))
    monkeypatch.setattr(tasks, "send_event", lambda *event: events.append(event))
    result = JobResult(job="register", ref="register-1", notes={"decision": "x", "model": "models:/trrg/2"})
    tasks._create_artifacts(result, store, LABELS)
    row = {"check": "text.modal\\_share", "verdict": "fail", "number": "0.9", "interval": "\\-", "needed": "\\-"}
    against = {"check": "champion.micro\\_f1", "verdict": "pass", "number": "0.02", "interval": "-0.010 to +0.050"}
    against["needed"] = "\\>= 0"
    assert stored["gate"] == [row, against]
    assert stored["scores-against-champion"] == [against]
    text = str(stored["decision"])
    assert text.startswith("# Refused by gate\n\nmodels:/trrg/2: refused.")
    assert "| before | models:/trrg/1 |\n| after | models:/trrg/1 |" in text
    assert "most are equal \\| always" in text, "a reason may not add a column to the table"
    assert "| champion.micro\\_f1 | pass | 0.02 | -0.010 to +0.050 | >= 0 |" in text
    assert "150 studies of 90 patients" in text
    payload = {"model": "models:/trrg/2", "ruling": "refused", "override": ""}
    assert events == [
        ("gate.refused", "model.models:/trrg/2", payload | {"reasons": ["fail: most are equal | always"]})
    ]


def test_an_earlier_decision_is_shown_as_such_and_no_event_is_sent_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    facts = {"compared_with": [{"role": "champion", "model": "models:/trrg/1"}]}
    check = Check(name="text.modal_share", verdict=Verdict.PASS, reason="few are equal", number=0.1)
    store = open_store(str(tmp_path))
    store.write_bytes("runs/register-1/decision.json", decision_to_bytes(Decision(checks=(check,), facts=facts)))
    stored: dict[str, tuple[object, str]] = {}
    events: list[tuple[str, str, object]] = []
    monkeypatch.setattr(
        tasks, "store_artifact", lambda _, content, key, description: stored.update({key: (content, description)})
    )
    monkeypatch.setattr(tasks, "send_event", lambda *event: events.append(event))
    notes = {"decision": "x", "model": "models:/trrg/2"}
    for is_reused in (False, True):
        tasks._create_artifacts(
            JobResult(job="register", ref="register-1", notes=notes, reused=is_reused), store, LABELS
        )
        assert [name for name, *_ in events] == ["gate.promoted"], is_reused
    text, description = stored["decision"]
    assert str(text).startswith(
        "# Nothing new\n\nmodels:/trrg/2: promoted by an earlier run with the same inputs; `champion-before`"
    )
    assert "| then | champion |\n| --- | --- |\n| before | models:/trrg/1 |" in str(text)
    assert description == "models:/trrg/2: promoted by an earlier run"


def test_a_champion_that_is_judged_again_and_passes_stays_champion() -> None:
    check = Check(name="text.modal_share", verdict=Verdict.PASS, reason="few are equal", number=0.1)
    facts = {"compared_with": [{"role": "champion", "model": "models:/trrg/1"}]}
    text = decision_text(Decision(checks=(check,), facts=facts), "models:/trrg/1")
    assert text.startswith("# Promoted\n\nmodels:/trrg/1: promoted, and stays the champion that it was.\n")
    assert "stays" not in decision_text(Decision(checks=(check,), facts=facts), "models:/trrg/2")


def test_what_was_set_aside_is_a_table_by_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stored: dict[str, object] = {}
    monkeypatch.setattr(tasks, "store_artifact", lambda _, content, key, description: stored.update({key: content}))
    rejects = {"empty_file": 1, "jpeg_truncated": 3}
    tasks._create_artifacts(
        JobResult(job="ingest", ref="studies@0", counts={"studies_in": 80}, rejects=rejects),
        open_store(str(tmp_path)),
        LABELS,
    )
    text = str(stored["ingest-rejects"])
    assert text.startswith("4 set aside, 5.0% of 80")
    assert text.index("jpeg\\_truncated | 3") < text.index("empty\\_file | 1")


def test_pages_are_linked_where_they_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRRG_PAGES_URL", "http://127.0.0.1:9")
    assert page_link("/s/runs/a b/report.html") == "http://127.0.0.1:9/runs/a%20b/report.html"
    monkeypatch.delenv("TRRG_PAGES_URL")
    assert page_link("/s/runs/a/report.html") == "file:///s/runs/a/report.html"
    assert page_link("s3://b/runs/a/report.html") == "s3://b/runs/a/report.html"


def test_a_lost_server_fails_no_finished_work_and_is_not_asked_each_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    attempts = []

    def refuse(*arguments: object, **words: object) -> None:
        attempts.append(words["key"])
        raise ConnectionError("no server")

    monkeypatch.setattr(artifacts._server, "silent_until", 0.0)
    assert [artifacts.store_artifact(refuse, [], key=key) for key in ("A b", "c", "d")] == [None] * 3
    assert attempts == ["a-b"]
    assert "artifact A b is not in Prefect (ConnectionError); the store has what it shows" in caplog.text
    monkeypatch.setattr(artifacts._server, "silent_until", 0.0)


@pytest.mark.parametrize(
    ("cell", "shown_by_prefect"),
    [
        (">= 100 (register.min_studies)", r"\>= 100 (register.min\_studies)"),
        ("-", r"\-"),
        ("+ 3", r"\+ 3"),
        ("-0.1667", "-0.1667"),
        ("+0.280 to +0.435", "+0.280 to +0.435"),
        ("studies@0", "studies@0"),
        ("<b>", "&lt;b>"),
        ("[l](http://h)", r"\[l\](http://h)"),
    ],
)
def test_a_cell_of_a_table_is_no_markdown(cell: str, shown_by_prefect: str) -> None:
    assert artifact_rows([{"what": cell}]) == [{"what": shown_by_prefect}]
