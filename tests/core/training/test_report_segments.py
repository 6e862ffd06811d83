import pytest

from tests.core.toy_corpus import toy_row
from trrg_core.training.report_segments import findings_first, join_segments, segment_ends, split_report

REPORTS = [
    "No edema. The lungs are clear. There is 1 tube. No edema.",
    "  Lungs are clear.\n\nNo edema.  Normal hila.",
    "No edema.",
    "The lungs are clear. Normal hila.",
]


def row_of(report: str) -> dict:
    sentence = {"text": "No edema.", "facts": [{"observation": "Edema", "assertion": "ABSENT"}]}
    return {"report": report, "sentences": [sentence] * report.count("No edema.")}


@pytest.mark.parametrize("report", REPORTS)
def test_segments_join_to_their_report(report):
    segments = split_report(row_of(report))
    assert join_segments(segments) == report.strip()
    assert segment_ends(segments)[-1] == len(report.strip())
    assert sum(bool(segment.facts) for segment in segments) == report.count("No edema.")


def test_text_between_sentences_is_cut_into_its_own():
    segments = split_report(row_of(REPORTS[0]))
    assert [segment.text for segment in segments] == [
        "No edema.",
        "The lungs are clear.",
        "There is 1 tube.",
        "No edema.",
    ]


def test_sentences_of_other_sections_are_left_out_and_weights_stay_with_theirs():
    row = row_of("No edema.")
    other = {"text": "Pulmonary edema.", "facts": [{"observation": "Edema", "assertion": "PRESENT"}]}
    row |= {"sentences": [other, *row["sentences"]], "sentence_weights": [1.0, 0.25]}
    assert [(segment.text, segment.weight) for segment in split_report(row)] == [("No edema.", 0.25)]


def test_sentences_that_are_put_side_by_side_get_a_space():
    segments = split_report(toy_row(1, "ep"))
    assert join_segments(segments[1:] + segments[:1]) == (
        "A right apical pneumothorax is seen. Heart size is normal. There is a small left pleural effusion."
    )


def test_findings_come_first_in_the_order_of_the_observations():
    segments = split_report(toy_row(1, "pc"))
    assert join_segments(findings_first(segments, ("Cardiomegaly", "Pneumothorax"))) == (
        "The heart is enlarged. A right apical pneumothorax is seen. No pleural effusion."
    )
    assert join_segments(findings_first(segments, ())) == (
        "A right apical pneumothorax is seen. The heart is enlarged. No pleural effusion."
    )


def test_without_findings_the_order_stays():
    segments = split_report(toy_row(1))
    assert join_segments(findings_first(segments, ("Cardiomegaly",))) == toy_row(1)["report"]
