"""The end of a run shows the clinical scores of whichever label set was used."""

import pytest

from flows.render.run_summary import print_run
from trrg_core.labels import load_label_set
from trrg_core.metrics.systems import FLOORS, System, clinical_score, metric_key


@pytest.mark.parametrize(("label_set", "family"), [("chexpert14", "trrg14"), ("nih14", "trrg-nih14")])
def test_the_headline_shows_the_clinical_scores_of_the_label_set(
    capsys: pytest.CaptureFixture[str], label_set: str, family: str
) -> None:
    metrics = {
        metric_key(system, name): value + number / 10
        for number, system in enumerate((System.MODEL, *FLOORS))
        for name, value in ((clinical_score(family), 0.25), ("truth.distinct_share", 0.125), ("bleu2.full", 0.75))
    }
    del metrics["nearest_neighbour/truth.distinct_share"]
    result = {"ref": "evaluate-1", "reused": True, "rejects": {}, "notes": {"report": "report.html"}, "counts": metrics}
    print_run({"evaluate": result}, load_label_set(label_set))
    rows = [line.replace("\u2502", " ").split() for line in capsys.readouterr().out.splitlines()]
    assert [f"{family}.micro.f1.u0", "0.250", "0.350", "0.450"] in rows
    assert ["truth.distinct_share", "0.125", "0.225", "-"] in rows
    assert not [row for row in rows if "bleu2.full" in row]


def test_the_page_of_stage_1_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    result = {"ref": "pretrain-1", "reused": True, "rejects": {}, "counts": {}, "notes": {"page": "/a/page.html"}}
    print_run({"pretrain": result}, load_label_set("chexpert14"))
    assert "Perception    /a/page.html" in capsys.readouterr().out
    print_run({"pretrain": result | {"notes": {}}}, load_label_set("chexpert14"))
    assert "Perception" not in capsys.readouterr().out


def test_the_ruling_of_the_gate_is_printed_with_what_stands_against_the_model(
    capsys: pytest.CaptureFixture[str],
) -> None:
    notes = {
        "model": "models:/trrg/2",
        "alias": "challenger",
        "card": "/a/README.md",
        "ruling": "refused",
        "decision": "/a/decision.json",
        "reasons": "fail: one; two\ninsufficient evidence: three",
        "report": "/a/report.html",
    }
    result = {"ref": "register-1", "reused": True, "rejects": {}, "counts": {}, "notes": notes}
    print_run({"register": result}, load_label_set("chexpert14"))
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert "Gate          refused: /a/decision.json" in lines
    assert lines[lines.index("fail: one; two") + 1] == "insufficient evidence: three"
    assert "HTML report   /a/report.html" in lines
