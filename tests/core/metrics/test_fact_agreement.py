"""Facts and attributes by hand: each report is one sentence or two that the parser reads as its own tests show."""

import numpy as np
import pytest

from trrg_core.metrics.fact_agreement import FactStatistics, fact_statistics
from trrg_core.report.parser import ReportParser

PARSER = ReportParser()


def statistics(references: list[str], hypotheses: list[str]) -> FactStatistics:
    return fact_statistics(list(PARSER.parse_many(references)), list(PARSER.parse_many(hypotheses)))


def scores(references: list[str], hypotheses: list[str]) -> dict[str, float]:
    values = statistics(references, hypotheses).scores(np.ones((1, len(references))))
    return {name.removeprefix("trrg."): float(value[0]) for name, value in values.items()}


def test_facts_are_findings_with_what_is_asserted_of_them() -> None:
    # stated: effusion affirmed, pneumothorax denied, edema denied; expected: effusion and pneumothorax denied
    values = scores(
        ["No pleural effusion or pneumothorax."], ["There is a pleural effusion. No pneumothorax. No pulmonary edema."]
    )
    assert values["facts.precision"] == pytest.approx(1 / 3)
    assert values["facts.recall"] == pytest.approx(1 / 2)
    assert values["facts.f1"] == pytest.approx(2 / 5)
    assert values["affirmed.precision"] == 0
    assert np.isnan(values["affirmed.recall"])


def test_an_uncertain_finding_is_another_fact_than_an_affirmed_one() -> None:
    values = scores(["Possible pneumonia."], ["There is pneumonia."])
    assert values["facts.f1"] == 0
    assert values["affirmed.precision"] == 0


def test_the_strongest_assertion_of_a_report_counts() -> None:
    assert scores(["There is pneumonia."], ["Possible pneumonia. There is pneumonia."])["facts.f1"] == 1


@pytest.mark.parametrize(
    ("reference", "hypothesis", "kind", "expected"),
    [
        ("Left pleural effusion.", "Right pleural effusion.", "side", (0, 0, 0)),
        ("Left pleural effusion.", "Left pleural effusion.", "side", (1, 1, 1)),
        # bilateral states both sides: one of the two is right
        ("Left pleural effusion.", "Bilateral pleural effusions.", "side", (1 / 2, 1, 0)),
        ("Bilateral pleural effusions.", "Left pleural effusion.", "side", (1, 1 / 2, 0)),
        ("Small pleural effusion.", "Large pleural effusion.", "severity", (0, 0, 0)),
        # small, mild and trace are one degree
        ("Small pleural effusion.", "Trace pleural effusion.", "severity", (1, 1, 1)),
        ("Opacity in the left lower lobe.", "Opacity in the left upper lobe.", "place", (0, 0, 0)),
        ("Opacity in the left lower lobe.", "Opacity in the left lower lobe.", "place", (1, 1, 1)),
        ("Pleural effusion is unchanged.", "Pleural effusion has increased.", "change", (0, 0, 0)),
        ("New pleural effusion.", "New pleural effusion.", "change", (1, 1, 1)),
        ("Endotracheal tube above the carina.", "Endotracheal tube in the stomach.", "device_position", (0, 0, 0)),
        ("Enteric tube in the stomach.", "Enteric tube in the stomach.", "device_position", (1, 1, 1)),
    ],
)
def test_values_of_an_attribute_are_compared(
    reference: str, hypothesis: str, kind: str, expected: tuple[float, float, float]
) -> None:
    values = scores([reference], [hypothesis])
    found = tuple(values[f"{kind}.{measure}"] for measure in ("precision", "recall", "agreement"))
    assert found == pytest.approx(expected)


def test_a_device_has_a_position_and_no_place() -> None:
    values = scores(["Enteric tube in the stomach."], ["Enteric tube in the stomach."])
    assert np.isnan(values["place.f1"])


def test_an_attribute_that_one_report_leaves_out_is_missed_but_not_wrong() -> None:
    values = scores(["Left pleural effusion."], ["Pleural effusion."])
    assert values["side.recall"] == 0
    assert np.isnan(values["side.precision"])
    assert np.isnan(values["side.agreement"])


def test_attributes_of_a_finding_that_is_denied_do_not_count() -> None:
    assert np.isnan(scores(["No left pleural effusion."], ["Left pleural effusion."])["side.recall"])


def test_described_findings_match_as_a_whole() -> None:
    assert scores(["Small left pleural effusion."], ["Small left pleural effusion."])["described.f1"] == 1
    assert scores(["Small left pleural effusion."], ["Large left pleural effusion."])["described.f1"] == 0


def test_studies_are_added_up_not_averaged() -> None:
    references = ["No pneumothorax.", "No pneumothorax. No pleural effusion. No pneumonia."]
    hypotheses = ["There is a pneumothorax.", references[1]]
    assert scores(references, hypotheses)["facts.recall"] == pytest.approx(3 / 4)


def test_numbers_are_what_each_score_is_of() -> None:
    numbers = statistics(["Left pleural effusion. No pneumothorax."], ["Right pleural effusion."]).numbers
    assert numbers["trrg.facts.precision"] == 1
    assert numbers["trrg.facts.recall"] == 2
    assert numbers["trrg.side.agreement"] == 1


def test_reports_that_say_nothing_have_no_facts() -> None:
    values = scores(["", ""], ["", ""])
    assert all(np.isnan(value) for value in values.values())


def test_identical_reports_score_one_and_disjoint_ones_zero() -> None:
    texts = ["Small left pleural effusion. No pneumothorax.", "Possible pneumonia."]
    same = scores(texts, texts)
    assert {same[f"{kind}.f1"] for kind in ("facts", "affirmed", "described", "side", "severity")} == {1.0}
    assert scores(["There is pneumonia."], ["There is edema."])["facts.f1"] == 0


def test_reports_must_match_in_number() -> None:
    with pytest.raises(ValueError, match="1, 0"):
        statistics(["a"], [])
