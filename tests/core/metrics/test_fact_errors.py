"""Errors against the reference, counted by hand on invented reports."""

import pytest

from trrg_core.labels import load_label_set
from trrg_core.metrics.fact_errors import FactError, compare_facts, fact_rates, weigh_errors
from trrg_core.metrics.significance import load_significance
from trrg_core.metrics.systems import TruthRate
from trrg_core.report.parser import ReportParser

LABELS = load_label_set("chexpert14")
PARSER = ReportParser(LABELS)


def compare(reference: str, hypothesis: str):
    return compare_facts(PARSER.parse(reference), PARSER.parse(hypothesis), LABELS)


# reference, hypothesis, errors as (kind, observation, sentences)
CASES = [
    ("No pneumothorax.", "No pneumothorax.", []),
    ("", "", []),
    ("The heart is normal.", "There is edema.", [("hallucinated", "Edema", (0,))]),
    ("No edema.", "There is edema.", [("affirmed", "Edema", (0,))]),
    ("There is edema.", "Clear. No edema.", [("denied", "Edema", (1,))]),
    ("There is edema.", "No pneumothorax.", [("omitted", "Edema", ())]),
    ("Left effusion.", "Right effusion.", [("side", "Pleural Effusion", (0,))]),
    ("Left effusion.", "Effusion.", []),
    ("Left effusion.", "Left effusion. Right effusion.", [("side", "Pleural Effusion", (1,))]),
    ("Bilateral effusions.", "Left effusion.", [("side", "Pleural Effusion", (0,))]),
    ("Mild edema.", "Severe edema.", [("degree", "Edema", (0,))]),
    ("Small effusion.", "Trace effusion.", []),  # the same degree in other words
    ("Edema.", "Severe edema.", []),
    (
        "Small left effusion.",
        "Large right effusion.",
        [("side", "Pleural Effusion", (0,)), ("degree", "Pleural Effusion", (0,))],
    ),
    ("Edema.", "Worsening edema.", [("change", "Edema", (0,))]),
    ("Worsening edema.", "New edema.", []),  # both say that it is worse
    ("Worsening edema.", "Improved edema.", [("change", "Edema", (0,))]),
    ("Stable edema.", "Edema.", []),  # silence is no false change
    # an opacity follows from atelectasis, atelectasis does not follow from an opacity
    ("Left atelectasis.", "Opacities consistent with left atelectasis.", []),
    ("Opacities consistent with left atelectasis.", "Left atelectasis.", []),
    ("Left opacity.", "Left atelectasis.", [("hallucinated", "Atelectasis", (0,))]),
    ("Left atelectasis.", "Left opacity.", [("omitted", "Atelectasis", ())]),
    # an uncertain statement is neither a fact nor an error
    ("No edema.", "There may be edema.", []),
    ("Possible edema.", "There is edema.", []),
    ("Possible edema.", "", []),
]


@pytest.mark.parametrize(("reference", "hypothesis", "expected"), CASES)
def test_each_kind_of_error_is_found_on_its_sentence(reference, hypothesis, expected) -> None:
    found = compare(reference, hypothesis).errors
    assert [(str(item.error), item.observation, item.sentences) for item in found] == expected


def test_rates_are_of_what_could_have_been_wrong() -> None:
    rates = fact_rates(
        [
            # affirms 2 (edema made up, effusion on the wrong side), denies pneumothorax, leaves cardiomegaly out
            compare("Left effusion. Cardiomegaly. No pneumothorax.", "Right effusion. Edema. No pneumothorax."),
            # affirms pneumothorax that is denied, denies edema that is affirmed; severe for mild, improved for nothing
            compare(
                "No pneumothorax. Edema. Mild atelectasis.", "Pneumothorax. No edema. Severe improved atelectasis."
            ),
        ]
    )
    counts = {name: (rate.hits, rate.of) for name, rate in rates.items()}
    assert counts == {
        TruthRate.HALLUCINATED: (1, 4),
        TruthRate.OMITTED: (1, 4),
        TruthRate.NEGATION_FLIP: (2, 6),
        TruthRate.SIDE_ERROR: (1, 1),
        TruthRate.DEGREE_ERROR: (1, 1),
        TruthRate.FALSE_CHANGE: (1, 1),
        TruthRate.HEDGED: (0, 6),
    }


def test_doubt_without_ground_in_the_reference_is_counted_apart() -> None:
    reference = "Edema. Possible pneumonia. No pneumothorax."
    comparison = compare(reference, "Possible edema. Possible pneumonia. Possible pneumothorax. Possible fracture.")
    assert comparison.errors == (), "doubt is no error"
    rate = fact_rates([comparison, compare(reference, reference)])[TruthRate.HEDGED]
    assert (rate.hits, rate.of) == (2, 7), "pneumothorax, which is denied, and fracture, of which nothing is said"


@pytest.mark.parametrize(
    ("reference", "hypothesis", "weight"),
    [
        ("Edema.", "Edema.", 0.0),
        ("No edema.", "Edema.", 1.0),  # urgent
        ("Cardiomegaly.", "", 0.25),  # not actionable
        ("Left effusion.", "Right effusion.", 0.25),  # actionable, and a side counts half
        ("Small left effusion. Edema.", "Large right effusion.", 0.25 + 0.25 + 1.0),
        ("", "PICC in the SVC.", 0.0),  # expected
    ],
)
def test_errors_weigh_what_the_finding_means(reference, hypothesis, weight) -> None:
    assert weigh_errors(compare(reference, hypothesis), load_significance()) == pytest.approx(weight)


def test_a_rate_of_nothing_has_no_value() -> None:
    assert all(rate.value is None for rate in fact_rates([compare("", "")]).values())
    assert fact_rates([])[TruthRate.OMITTED].value is None


def test_identical_reports_have_no_error_and_disjoint_ones_only_errors() -> None:
    text = "Small left effusion. Worsening edema. No pneumothorax. Cardiomegaly."
    assert compare(text, text).errors == ()
    disjoint = compare("Left effusion. Cardiomegaly.", "Edema. Left rib fracture.")
    assert {item.error for item in disjoint.errors} == {FactError.HALLUCINATED, FactError.OMITTED}
    assert len(disjoint.errors) == disjoint.affirmed + disjoint.expected == 4
