"""What the parser shows: JSON lines, explanations, and the difference of two parses."""

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from trrg_core.errors import DataError
from trrg_core.labels import Assertion, Label
from trrg_core.report.assertion import assert_concept, assess_concept
from trrg_core.report.changes import compare_parses
from trrg_core.report.explain import explain_html, explain_terminal
from trrg_core.report.jsonl import parse_jsonl
from trrg_core.report.parser import ReportParser

PARSER = ReportParser()


def test_a_line_has_the_agreed_shape() -> None:
    (record,) = parse_jsonl([json.dumps({"id": "s1", "text": "No left effusion."}), "  \n"], PARSER)
    json.dumps(record)
    assert record["id"] == "s1"
    assert record["labels"]["Pleural Effusion"] == 0
    assert record["labels"]["Edema"] is None
    (sentence,) = record["sentences"]
    (mention,) = sentence["mentions"]
    agreed = {"finding", "start", "end", "assertion", "cue", "rule", "laterality", "severity", "anatomy", "historical"}
    assert agreed <= set(mention)
    assert (mention["assertion"], mention["cue"], mention["laterality"]) == ("ABSENT", "no", "left")


@pytest.mark.parametrize("line", ["{", "[]", '{"id": 1}', '{"text": 3}', '{"id": [], "text": ""}'])
def test_a_line_that_is_no_report_names_its_number_and_no_text(line: str) -> None:
    with pytest.raises(DataError, match="line 2") as caught:
        list(parse_jsonl([json.dumps({"id": 1, "text": "x"}), line], PARSER))
    assert caught.value.reason == "not_a_report_line"


def test_a_page_escapes_the_report() -> None:
    page = explain_html('<script>alert("x")</script> No effusion.', PARSER)
    assert "<script>" not in page
    assert "absent.no" in page
    assert "pleural_effusion" in page


def test_a_terminal_shows_rule_and_cue() -> None:
    console = Console(file=io.StringIO(), width=160, record=True)
    console.print(explain_terminal("No effusion [bold]. Small nodule.", PARSER))
    shown = console.export_text()
    assert "absent.no" in shown
    assert "[bold]" in shown
    assert "Lung Lesion: positive" in shown


def test_changed_labels_are_counted_by_finding_and_by_rule() -> None:
    report = PARSER.parse("No effusion. Small nodule.")
    (effusion,) = report.sentences[0].mentions
    other = replace(effusion, assertion=Assertion.PRESENT, rule="named")
    sentences = (replace(report.sentences[0], mentions=(other,)), *report.sentences[1:])
    labels = {**report.labels, "Pleural Effusion": Label.POSITIVE}
    changed = replace(report, sentences=sentences, labels=labels)
    changes = compare_parses([("s1", report), ("s2", report), ("s3", report)], [("s2", report), ("s1", changed)])
    assert changes.labels == {("Pleural Effusion", Label.NEGATIVE, Label.POSITIVE): 1}
    assert changes.rules == {("pleural_effusion", "ABSENT absent.no", "PRESENT named"): 1}
    assert (changes.num_studies, changes.study_ids, changes.only_before) == (2, ("s1",), ("s3",))


def test_both_statements_of_one_span_are_compared() -> None:
    report = PARSER.parse("Small nodule.")
    (nodule,) = report.sentences[0].mentions
    denied = replace(nodule, assertion=Assertion.ABSENT, rule="absent.no")
    # the same words may be read of each side by itself
    before, after = (
        replace(report, sentences=(replace(report.sentences[0], mentions=mentions),))
        for mentions in ((nodule, nodule), (denied, nodule))
    )
    rule = f"{nodule.assertion} {nodule.rule}"
    assert compare_parses([("s1", before)], [("s1", after)]).rules == {(nodule.finding, rule, "ABSENT absent.no"): 1}
    assert compare_parses([("s1", report)], [("s1", after)]).rules == {(nodule.finding, "", "ABSENT absent.no"): 1}


@pytest.mark.parametrize(
    ("sentence", "concept", "expected"),
    [
        ("The patient denies chest pain.", "chest pain", Assertion.ABSENT),
        ("She denies fever, chills, or NAUSEA.", "nausea", Assertion.ABSENT),
        ("He was ruled out for myocardial infarction.", "myocardial infarction", Assertion.ABSENT),
        ("Chest pain but no dyspnea.", "chest pain", Assertion.PRESENT),
        ("Headache cannot be excluded.", "headache", Assertion.UNCERTAIN),
        ("No headache.", "no headache", Assertion.PRESENT),
    ],
)
def test_any_concept_can_be_asked_for(sentence: str, concept: str, expected: Assertion) -> None:
    assert assert_concept(sentence, concept) == expected


def test_a_concept_knows_its_time_and_person() -> None:
    assert assess_concept("History of diabetes.", "diabetes").historical
    assert assess_concept("Her mother had a stroke.", "stroke").experiencer == "other"


def test_a_concept_that_is_not_there_is_refused_without_its_text() -> None:
    with pytest.raises(ValueError, match="does not occur") as caught:
        assert_concept("No effusion.", "nodule")
    assert "nodule" not in str(caught.value)
