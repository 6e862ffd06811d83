import numpy as np
import pytest

from trrg_core.clue import Clue
from trrg_core.labels import SIDE_LEFT, SIDE_RIGHT, load_label_set
from trrg_core.metrics.attribute_agreement import (
    clue_facts,
    compare_degrees,
    compare_sides,
    empty_facts,
    fact_table,
    findings_of,
    report_facts,
)
from trrg_core.report.parser import ReportParser

CHEXPERT = load_label_set("chexpert14")
FINDINGS = findings_of(CHEXPERT)
EFFUSION = FINDINGS.index("Pleural Effusion")


@pytest.fixture(scope="module")
def parser() -> ReportParser:
    return ReportParser("chexpert14")


def table(parser: ReportParser, *texts: str):
    return fact_table([report_facts(parser.parse(text), CHEXPERT) for text in texts])


def test_no_finding_is_no_finding_that_a_text_states(parser):
    assert "No Finding" not in FINDINGS
    assert report_facts(parser.parse("No. No. No. No."), CHEXPERT) == empty_facts(CHEXPERT)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "both", "agree", "expected"),
    [
        ("There is a left pleural effusion.", "There is a left pleural effusion.", 1, 1, 1),
        ("There is a left pleural effusion.", "There is a right pleural effusion.", 1, 0, 1),
        ("There is a left pleural effusion.", "There are bilateral pleural effusions.", 1, 0, 1),
        ("There is a left pleural effusion.", "There is a pleural effusion.", 0, 0, 1),
        ("There is a left pleural effusion.", "No pleural effusion.", 0, 0, 1),
        ("There is a pleural effusion.", "There is a left pleural effusion.", 0, 0, 0),
        ("No left pleural effusion.", "There is a left pleural effusion.", 0, 0, 0),
    ],
)
def test_sides_are_compared_where_both_texts_affirm_and_state_them(
    parser, reference, hypothesis, both, agree, expected
):
    sides = compare_sides(table(parser, reference), table(parser, hypothesis))
    assert [int(cells[0, EFFUSION]) for cells in (sides.both, sides.agree, sides.expected)] == [both, agree, expected]
    assert sides.expected.sum() == expected


def test_degrees_are_compared_in_three_steps(parser):
    references = table(parser, *["There is a small pleural effusion."] * 3)
    hypotheses = table(
        parser, "There is a trace pleural effusion.", "There is a large pleural effusion.", "There is pleural effusion."
    )
    degrees = compare_degrees(references, hypotheses)
    assert degrees.both[:, EFFUSION].tolist() == [True, True, False]
    assert degrees.agree[:, EFFUSION].tolist() == [True, False, False]


def test_clues_state_what_they_show_and_on_which_side():
    clues = (
        Clue(observation="Pleural Effusion", probability=0.9, threshold=0.5, left=0.8, right=0.1),
        Clue(observation="Edema", probability=0.2, threshold=0.5),
        Clue(observation="Lung Opacity", probability=0.7, threshold=0.5, left=0.6, right=0.6),
    )
    facts = fact_table([clue_facts(clues, CHEXPERT)])
    assert {FINDINGS[index] for index in np.flatnonzero(facts.is_present[0])} == {"Pleural Effusion", "Lung Opacity"}
    assert facts.sides[0, EFFUSION] == SIDE_LEFT
    assert facts.sides[0, FINDINGS.index("Lung Opacity")] == SIDE_LEFT | SIDE_RIGHT
    assert not facts.degrees.any()
