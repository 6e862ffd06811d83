"""The artifacts of a job in the Prefect UI: the table of scores and the link to its page."""

from pathlib import Path

import pytest

from flows import tasks
from flows.tasks import _score_table
from pipelines.records.job_result import JobResult
from trrg_core.metrics.systems import FLOORS, System, metric_key
from trrg_core.registry.check import Check, Verdict
from trrg_core.registry.decision import Decision, decision_to_bytes
from trrg_core.storage.store import open_store


def test_systems_are_columns_in_one_order_however_the_metrics_are_sorted() -> None:
    metrics = {metric_key(system, "bleu4.full"): 0.25 for system in (System.MODEL, *FLOORS)}
    metrics |= {"modal_report/truth.distinct_share": 0.5}
    # a run that is read back has its metrics in alphabetical order
    for ordered in (metrics, dict(sorted(metrics.items()))):
        first, second = _score_table(ordered)
        assert list(first) == ["score", "model", "modal report", "nearest neighbour"]
        assert first["model"] == "0.250"
        assert second == {"score": "truth.distinct_share", "modal report": "0.500"}


@pytest.mark.parametrize(
    ("job", "note", "key"), [("pretrain", "page", "pretrain-page"), ("evaluate", "report", "html-report")]
)
def test_the_page_of_a_run_is_linked(monkeypatch: pytest.MonkeyPatch, job: str, note: str, key: str) -> None:
    links: list[tuple[str, str]] = []
    monkeypatch.setattr(tasks, "create_table_artifact", lambda *_, **__: None)
    monkeypatch.setattr(tasks, "create_link_artifact", lambda link, **words: links.append((link, words["key"])))
    tasks._create_artifacts(JobResult(job=job, ref="run-1", notes={note: "/a/page.html"}))
    tasks._create_artifacts(JobResult(job=job, ref="run-2"))
    assert links == [("file:///a/page.html", key)]


def test_the_checks_of_the_gate_are_a_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    check = Check(name="text.modal_share", verdict=Verdict.FAIL, reason="most are equal", number=0.9)
    open_store(str(tmp_path)).write_bytes("runs/register-1/decision.json", decision_to_bytes(Decision(checks=(check,))))
    tables: list[tuple[object, str, str]] = []
    monkeypatch.setattr(
        tasks, "create_table_artifact", lambda rows, key, description: tables.append((rows, key, description))
    )
    tasks._create_gate_artifact(JobResult(job="register", ref="register-1"), str(tmp_path))
    row = {"check": "text.modal_share", "number": "0.9", "interval": "-", "needed": "-", "verdict": "fail"}
    assert tables == [([row], "gate", "Gate: refused.")]
