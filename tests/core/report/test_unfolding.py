"""Forms: what tables, check boxes, pick lists and blocks of labels state, and where in the report it stands."""

import pytest

from trrg_core.report.parser import ReportParser
from trrg_core.report.unfolding.unfold import unfold

PARSER = ReportParser()
PRESENT, ABSENT = "PRESENT", "ABSENT"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Finding | Right | Left\nEffusion | none | moderate", ["-pleural_effusion right", "+pleural_effusion left"]),
        ("Side | Effusion\nRight | small\nLeft | none", ["+pleural_effusion right", "-pleural_effusion left"]),
        ("| Device | Present |\n|---|---|\n| ETT | Yes |\n| NGT | No |", ["+endotracheal_tube", "-enteric_tube"]),
        ("Finding\tYes\tNo\nEdema\tx\t\nFracture\t\tx", ["+edema", "-fracture"]),
        ("Effusion: [x] none [ ] small", ["-pleural_effusion"]),
        ("[x] No pneumothorax\n[ ] Fracture\n[ ] No effusion", ["-pneumothorax", "-fracture"]),
        ("Pneumothorax: R [ ]  L [x]", ["+pneumothorax left"]),
        ("ETT \u2713  chest drain \u2717", ["+endotracheal_tube", "-chest_tube"]),
        ("Effusion:\n[ ] none\n[x] small\n[ ] large", ["+pleural_effusion"]),
        ("EDEMA {none | mild | severe}: none", ["-edema"]),
        ("Edema (0 none, 1 mild, 2 severe): 2", ["+edema"]),
        (
            "Pneumothorax:\n  Present: N\nEffusion:\n  Present: Y\n  Side: R",
            ["-pneumothorax", "+pleural_effusion right"],
        ),
        ("Finding: Edema. Present: No.\nFinding: Nodule. Present: Yes. Side: Left.", ["-edema", "+nodule left"]),
        ("Costophrenic angles: R sharp, L blunted", ["-blunted_angle right", "+blunted_angle left"]),
    ],
)
def test_a_form_states_what_it_says(text: str, expected: list[str]) -> None:
    report = PARSER.parse(text)
    mentions = [one for sentence in report.sentences for one in sentence.mentions]
    signs = {"PRESENT": "+", "ABSENT": "-", "UNCERTAIN": "?"}
    assert [f"{signs[one.assertion]}{one.finding} {one.laterality}".strip() for one in mentions] == expected
    end = 0
    for sentence in report.sentences:
        assert end <= sentence.start <= sentence.end
        assert sentence.text == text[sentence.start : sentence.end]
        assert all(sentence.start <= one.start < one.end <= sentence.end for one in sentence.mentions)
        end = sentence.end


@pytest.mark.parametrize(
    "text",
    ["There is a small left effusion. No pneumothorax.", "A nodule < 5 mm. Right: clear. Size: 4 mm.", "[x", "|", "\t"],
)
def test_other_text_is_left_as_it_is(text: str) -> None:
    assert unfold(text) is None


def test_a_mention_in_a_table_has_the_words_of_its_row() -> None:
    text = "Finding | Right | Left\nEffusion | none | moderate"
    right, left = (one for sentence in PARSER.parse(text).sentences for one in sentence.mentions)
    assert (text[right.start : right.end], text[left.start : left.end]) == ("Effusion", "moderate")
