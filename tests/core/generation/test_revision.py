import pytest

from trrg_core.generation.given_clues import GivenClue
from trrg_core.generation.revision import ReportReviser
from trrg_core.labels import load_label_set
from trrg_core.report.parser import ReportParser

EFFUSION = "Pleural Effusion"


@pytest.fixture(scope="module")
def reviser() -> ReportReviser:
    return ReportReviser(ReportParser(load_label_set("chexpert14")))


def given(name: str, *, present: bool = True) -> list[GivenClue]:
    return [GivenClue(observation=name, is_present=present)]


def test_only_the_sentence_of_the_given_finding_changes(reviser):
    draft = "There is a small left pleural effusion. The heart is enlarged. No pneumothorax."
    rewritten = "Moderate right pleural effusion. No pneumothorax or consolidation. Heart size is normal."
    revised = reviser.revise(draft, rewritten, given(EFFUSION))
    assert revised == "Moderate right pleural effusion. The heart is enlarged. No pneumothorax."


def test_a_finding_that_is_denied_now_is_denied_in_its_place(reviser):
    draft = "The heart is enlarged. There is a small left pleural effusion. Lungs are clear."
    revised = reviser.revise(draft, "No pleural effusion. The lungs are well expanded.", given(EFFUSION, present=False))
    assert revised == "The heart is enlarged. No pleural effusion. Lungs are clear."


def test_the_other_denials_of_a_joint_sentence_are_kept(reviser):
    draft = "The heart is enlarged. No pleural effusion or pneumothorax."
    revised = reviser.revise(draft, "Large left pleural effusion. Heart is big.", given(EFFUSION))
    assert revised == "The heart is enlarged. Large left pleural effusion. No pneumothorax."


def test_of_a_joint_denial_only_the_given_finding_is_taken(reviser):
    draft = "Small left pleural effusion. There is edema."
    revised = reviser.revise(draft, "No edema, pleural effusion or pneumothorax.", given(EFFUSION, present=False))
    assert revised == "No pleural effusion. There is edema."


def test_a_finding_beside_another_leaves_it_with_its_side(reviser):
    draft = "Left pleural effusion with left basilar atelectasis. No pneumothorax."
    revised = reviser.revise(draft, "No pleural effusion.", given(EFFUSION, present=False))
    assert revised == "No pleural effusion. Left basilar atelectasis. No pneumothorax."


def test_what_calls_the_region_normal_goes_when_a_finding_comes(reviser):
    draft = "The lungs are clear. The heart is enlarged."
    revised = reviser.revise(draft, "Right lung consolidation is seen. No pneumothorax.", given("Consolidation"))
    assert revised == "Right lung consolidation is seen. The heart is enlarged."


def test_a_draft_that_already_says_it_stays(reviser):
    draft = "Small right pleural effusion is seen.  The heart is enlarged."
    rewritten = "There is a small right pleural effusion. Heart size is normal."
    assert reviser.revise(draft, rewritten, given(EFFUSION)) == draft


def test_a_finding_that_is_not_mentioned_any_more_is_left_out(reviser):
    draft = "Small right pleural effusion. The heart is enlarged."
    assert reviser.revise(draft, "Heart size is normal.", given(EFFUSION, present=False)) == "The heart is enlarged."


def test_empty_texts_are_revised_too(reviser):
    assert reviser.revise("", "Small right pleural effusion.", given(EFFUSION)) == "Small right pleural effusion."
    assert reviser.revise("Small right pleural effusion.", "", given(EFFUSION)) == ""


@pytest.mark.parametrize(
    ("draft", "name", "expected"),
    [
        ("Small bilateral pleural effusions with mild edema.", "Edema", "Small bilateral pleural effusions."),
        (
            "Moderate left effusion, mild edema, and no pneumothorax.",
            "Edema",
            "Moderate left effusion, and no pneumothorax.",
        ),
        # no cut leaves the effusion its side, so it is said again
        (
            "Left lower lobe consolidation with a small effusion on that side.",
            "Consolidation",
            "There is a small left pleural effusion.",
        ),
        # what the label set does not count stays as well
        ("Hiatal hernia and mild edema.", "Edema", "Hiatal hernia."),
    ],
)
def test_what_else_a_sentence_states_keeps_its_side_and_degree(reviser, draft, name, expected):
    revised = reviser.revise(f"{draft} Heart size is normal.", "", given(name, present=False))
    assert revised == f"{expected} Heart size is normal."


def test_what_is_left_of_a_shortened_sentence_does_not_deny_the_finding_that_comes(reviser):
    for others, left in (("", ""), (" or pneumothorax", "No pneumothorax. ")):
        draft = f"The costophrenic angles are sharp without effusion{others}. The heart is enlarged."
        revised = reviser.revise(draft, "Left pleural effusion.", given(EFFUSION))
        assert revised == f"Left pleural effusion. {left}The heart is enlarged."


def test_a_sentence_that_calls_normal_what_is_not_keeps_its_other_statements(reviser):
    draft = "The lungs are clear without effusion or pneumothorax. The heart is enlarged."
    revised = reviser.revise(draft, "Right consolidation.", given("Consolidation"))
    assert revised == "Right consolidation. No pleural effusion. No pneumothorax. The heart is enlarged."


@pytest.mark.parametrize(
    ("draft", "expected"),
    [
        (
            "FINDINGS: The heart is normal in size. IMPRESSION: Normal heart.",
            "FINDINGS: Left effusion. The heart is normal in size. IMPRESSION: Normal heart.",
        ),
        (
            "HISTORY: Cough. FINDINGS: No pneumothorax.\nIMPRESSION: No effusion.",
            "HISTORY: Cough. FINDINGS: No pneumothorax.\nIMPRESSION: Left effusion.",
        ),
        (
            "FINDINGS: The costophrenic angles are sharp. IMPRESSION: Heart is normal.",
            "FINDINGS: Left effusion. IMPRESSION: Heart is normal.",
        ),
    ],
)
def test_a_finding_is_said_below_a_heading_that_is_read(reviser, draft, expected):
    assert reviser.revise(draft, "Left effusion.", given(EFFUSION)) == expected


def test_a_denial_of_the_side_that_is_not_affirmed_stays(reviser):
    report = "Left pneumothorax. No pneumothorax on the right. No left pneumothorax."
    assert reviser.settle(report, "Pneumothorax", is_present=True) == "Left pneumothorax. No pneumothorax on the right."


def test_no_heading_stays_without_what_it_was_of(reviser):
    report = "FINDINGS: Mild edema. IMPRESSION: Edema. RECOMMENDATION: Follow up."
    assert reviser.without(report, ["Edema"]) == "RECOMMENDATION: Follow up."
