"""The stress set: its cases are what they say, and the measure of facts keeps its floors on it."""

import pytest

from infra.bench.stress import FACTS, WEIGHTED, count_errors, judge, measure, parse, weighted_errors, wrong_ranks
from infra.bench.stress_cases import flipped_reports, rankings, styled_reports
from trrg_core.labels import load_label_set
from trrg_core.report.flipping.kinds import FlipKind
from trrg_core.report.parser import ReportParser

OWN = {FACTS: count_errors, WEIGHTED: weighted_errors}


@pytest.fixture(scope="module")
def measured():
    return measure(120, 11, OWN)


def test_the_measure_of_facts_keeps_its_floors(measured) -> None:
    counts, found = measured
    assert counts["polarity flips"] > 100
    assert min(counts["side flips"], counts["severity flips"]) > 20
    assert judge(found) == []


def test_a_metric_that_sees_nothing_is_refused(measured) -> None:
    _, found = measure(20, 11, {FACTS: lambda pairs: [0.0] * len(pairs), WEIGHTED: weighted_errors})
    assert len(judge(found)) == 3  # polarity, side, probe
    _, alarmed = measure(20, 11, {FACTS: lambda pairs: [-float(a != b) for a, b in pairs], WEIGHTED: weighted_errors})
    assert any("false alarms" in reason for reason in judge(alarmed))


def test_there_are_thirty_ranking_cases_of_every_kind() -> None:
    cases = rankings()
    assert len(cases) >= 30
    assert len({(case.kind, case.name) for case in cases}) == len(cases)
    assert {case.kind for case in cases} >= {
        "false finding",
        "omission",
        "negation",
        "side",
        "degree",
        "change",
        "expected",
    }
    assert wrong_ranks(weighted_errors) == []
    assert len(wrong_ranks(lambda pairs: [0.0] * len(pairs))) == len(cases)


def test_a_flip_changes_one_sentence_and_a_restyled_report_other_words() -> None:
    parser = ReportParser(load_label_set("chexpert14"))
    reports = list(styled_reports(20, 3))
    assert reports == list(styled_reports(20, 3))
    assert all(item.text != item.restyled for item in reports)
    for flip in flipped_reports(reports, parser, 3):
        before, after = (parse(text).sentences for text in (flip.text, flip.flipped))
        assert len(before) == len(after)
        assert sum(a.text != b.text for a, b in zip(before, after, strict=True)) == 1
        assert flip.kind in FlipKind
