import pytest

from trrg_core.clue import Clue
from trrg_core.evidence import MentionEvidence, ReportEvidence, SentenceEvidence, Support
from trrg_core.labels import Assertion
from trrg_core.metrics.truth import truth_rates
from trrg_core.report.contradictions import Contradiction
from trrg_core.report.parsed import Mention

SHOWN = Clue(observation="Edema", probability=0.9, threshold=0.5)
HIDDEN = Clue(observation="Edema", probability=0.1, threshold=0.5)


def judged(assertion: Assertion, status: Support, clue: Clue | None = SHOWN) -> MentionEvidence:
    mention = Mention(finding="edema", start=0, end=5, assertion=assertion, rule="test")
    return MentionEvidence(mention=mention, clue=clue, status=status)


def report(
    *mentions: MentionEvidence, clues=(), omitted=(), contradictions=(), has_prior=None, compares=False, invented=()
):
    sentence = SentenceEvidence(
        start=0,
        end=9,
        status=Support.NOT_CHECKABLE,
        mentions=mentions,
        false_prior=compares and has_prior is False,
        unknown_prior=compares and has_prior is None,
        invented=invented,
    )
    return ReportEvidence(
        sentences=(sentence,), clues=clues, contradictions=contradictions, omitted=omitted, has_prior=has_prior
    )


def rates(*reports: ReportEvidence, texts: list[str] | None = None) -> dict[str, tuple[int, int]]:
    found = truth_rates(texts or [f"text {n}" for n in range(len(reports))], reports)
    return {name.removeprefix("truth."): (rate.hits, rate.of) for name, rate in found.items()}


def test_only_affirmed_findings_with_a_clue_count_as_unsupported():
    found = rates(
        report(
            judged(Assertion.PRESENT, Support.UNSUPPORTED, HIDDEN),
            judged(Assertion.PRESENT, Support.SUPPORTED),
            judged(Assertion.PRESENT, Support.NOT_CHECKABLE, None),
            judged(Assertion.UNCERTAIN, Support.UNSUPPORTED, HIDDEN),
        )
    )
    assert found["unsupported_positive_rate"] == (1, 2)
    assert found["contradicted_negation_rate"] == (0, 0)


def test_denied_findings_that_the_clues_show_are_contradicted():
    found = rates(
        report(judged(Assertion.ABSENT, Support.CONTRADICTED)),
        report(judged(Assertion.ABSENT, Support.SUPPORTED, HIDDEN), judged(Assertion.ABSENT, Support.SUPPORTED)),
    )
    assert found["contradicted_negation_rate"] == (1, 3)


def test_omitted_clues_are_counted_out_of_the_shown_ones():
    found = rates(report(clues=(SHOWN, HIDDEN), omitted=(SHOWN,)), report(clues=(SHOWN,)))
    assert found["omitted_clue_rate"] == (1, 2)


def test_a_report_with_two_contradictions_counts_once():
    pair = Contradiction(finding="edema", affirmed_in=0, denied_in=0)
    assert rates(report(contradictions=(pair, pair)), report())["internal_contradiction_rate"] == (1, 2)


def test_false_priors_are_counted_out_of_studies_known_to_have_none():
    found = rates(
        report(has_prior=False, compares=True),
        report(has_prior=False),
        report(has_prior=True),
        report(has_prior=None, compares=True),
    )
    assert found["false_prior_rate"] == (1, 2)
    assert found["unchecked_comparison_rate"] == (1, 1)


def test_weak_support_and_measurements_are_counted():
    found = rates(
        report(judged(Assertion.PRESENT, Support.WEAK), judged(Assertion.ABSENT, Support.WEAK)),
        report(judged(Assertion.PRESENT, Support.SUPPORTED), invented=("measurement", "date")),
        report(invented=("date",)),
    )
    assert found["weak_positive_rate"] == (1, 2)
    assert found["measurement_rate"] == (1, 3)


def test_template_shares_see_through_case_and_spacing():
    found = rates(report(), report(), report(), report(), texts=["Clear.", "clear. ", "Edema.", "CLEAR."])
    assert found["distinct_share"] == (2, 4)
    assert found["modal_share"] == (3, 4)


def test_reports_with_identifiers_are_counted():
    assert rates(report(), report(), texts=["Seen on 1/2/2023.", "Clear."])["identifier_rate"] == (1, 2)


def test_a_rate_of_nothing_has_no_value():
    found = truth_rates(["clear"], [report()])
    assert found["truth.false_prior_rate"].value is None
    assert found["truth.distinct_share"].value == 1.0


def test_evidence_must_match_the_reports():
    with pytest.raises(ValueError, match="2, 1"):
        truth_rates(["a", "b"], [report()])
