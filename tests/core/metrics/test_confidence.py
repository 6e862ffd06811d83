"""Risk against coverage, precision of support and calibration of clues, by hand arithmetic."""

import pytest

from trrg_core.clue import Clue
from trrg_core.evidence import gather_evidence
from trrg_core.labels import Label, load_label_set
from trrg_core.metrics.confidence import (
    Statement,
    clue_calibration,
    find_statements,
    risk_coverage,
    supported_precision,
)
from trrg_core.metrics.fact_errors import compare_facts
from trrg_core.report.parser import ReportParser

LABELS = load_label_set("chexpert14")
PARSER = ReportParser(LABELS)


def statement(confidence: float, *, is_wrong: bool, is_affirmed: bool = True, is_supported: bool = True) -> Statement:
    return Statement(
        observation="Edema",
        is_affirmed=is_affirmed,
        is_supported=is_supported,
        confidence=confidence,
        is_wrong=is_wrong,
    )


def gather(hypothesis: str, **probabilities: float):
    clues = [
        Clue(observation=name.replace("_", " "), probability=value, threshold=0.5)
        for name, value in probabilities.items()
    ]
    return gather_evidence(PARSER.parse(hypothesis), clues=clues, label_set=LABELS, has_prior=None)


def test_risk_falls_where_the_wrong_statements_are_the_unsure_ones() -> None:
    # kept 1, 2, 3, 4 of 4: risks 0, 0, 1/3, 1/2
    curve = risk_coverage([statement(p, is_wrong=wrong) for p, wrong in ((0.9, 0), (0.8, 0), (0.6, 1), (0.5, 1))])
    assert curve.aurc == pytest.approx((0 + 0 + 1 / 3 + 1 / 2) / 4)
    assert curve.best_aurc == pytest.approx(curve.aurc)
    assert curve.risk == 0.5
    assert [coverage for coverage, _ in curve.curve] == [0.25, 0.5, 0.75, 1.0]
    assert [risk for _, risk in curve.curve] == pytest.approx([0, 0, 1 / 3, 1 / 2])


def test_a_confidently_wrong_system_has_a_high_aurc() -> None:
    # risks 1, 1/2, 1/3
    curve = risk_coverage([statement(p, is_wrong=wrong) for p, wrong in ((0.9, 1), (0.8, 0), (0.6, 0))])
    assert curve.aurc == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert curve.best_aurc == pytest.approx((0 + 0 + 1 / 3) / 3)


def test_equal_confidences_give_the_same_risk_in_any_order() -> None:
    wrong_first = [statement(0.9, is_wrong=True), statement(0.9, is_wrong=False)]
    assert risk_coverage(wrong_first) == risk_coverage(wrong_first[::-1])
    assert risk_coverage(wrong_first).aurc == pytest.approx(0.5)


def test_without_a_statement_there_is_no_curve_and_no_precision() -> None:
    assert risk_coverage([]) is None
    assert [rate.value for rate in supported_precision([]).values()] == [None]


def test_precision_is_of_fully_supported_affirmations() -> None:
    cases = [
        statement(0.9, is_wrong=False),
        statement(0.9, is_wrong=False),
        statement(0.9, is_wrong=True),
        statement(0.6, is_wrong=True, is_supported=False),
        statement(0.9, is_wrong=True, is_affirmed=False),
    ]
    assert [(rate.hits, rate.of) for rate in supported_precision(cases).values()] == [(2, 3)]


def test_statements_are_joined_with_their_errors() -> None:
    hypothesis = "There is edema. Right pleural effusion. No pneumothorax. Cardiomegaly may be present. Scoliosis."
    evidence = gather(hypothesis, Edema=0.9, Pleural_Effusion=0.7, Pneumothorax=0.1, Cardiomegaly=0.9)
    reference = PARSER.parse("No edema. Left effusion. No pneumothorax.")
    found = find_statements(evidence, compare_facts(reference, PARSER.parse(hypothesis), LABELS))
    assert [(item.observation, item.is_affirmed, item.is_wrong) for item in found] == [
        ("Edema", True, True),
        ("Pleural Effusion", True, True),
        ("Pneumothorax", False, False),
    ]
    assert [item.confidence for item in found] == pytest.approx([0.9, 0.7, 0.9])
    assert [item.is_supported for item in found] == [True, False, True]


def test_a_denial_of_what_the_reference_affirms_is_wrong() -> None:
    evidence = gather("No edema.", Edema=0.2)
    (found,) = find_statements(evidence, compare_facts(PARSER.parse("Edema."), PARSER.parse("No edema."), LABELS))
    assert (found.is_affirmed, found.is_wrong) == (False, True)


def test_clues_are_compared_with_what_the_references_affirm() -> None:
    evidence = [gather("", Edema=0.75, Pneumothorax=0.25), gather("", Edema=0.75, Fracture=0.25)]
    labels = [
        {"Edema": Label.POSITIVE, "Pneumothorax": None},
        {"Edema": Label.NEGATIVE, "Fracture": Label.UNCERTAIN},
    ]
    found = clue_calibration(evidence, labels, LABELS)
    # .75 twice, once true: off by .25 on two cases; .25 once, not true: off by .25; the uncertain one does not count
    assert found.num == 3
    assert found.ece == pytest.approx((0.5 + 0.25) / 3)
    assert found.brier == pytest.approx((0.0625 + 0.5625 + 0.0625) / 3)
    assert [(item.num, item.num_present) for item in found.bins if item.num] == [(1, 0), (2, 1)]
    assert clue_calibration([], [], LABELS) is None
