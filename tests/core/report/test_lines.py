"""Line ends: which end a statement, and which wrap prose."""

import pytest

from trrg_core.report.sentences import find_sentences

PROSE = (
    "The lungs are well expanded and there is no focal consolidation or\n"
    "pleural effusion. Comparison is made with the study of last year, when\n"
    "CT showed a nodule that is not seen here. The heart is normal."
)


def statements(text: str) -> list[str]:
    return [" ".join(text[start:end].split()) for start, end in find_sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("No pneumothorax\nLeft effusion\nPICC in SVC", ["No pneumothorax", "Left effusion", "PICC in SVC"]),
        ("NO PNEUMOTHORAX\nLEFT EFFUSION", ["NO PNEUMOTHORAX", "LEFT EFFUSION"]),
        ("ETT ok\nno ptx\nmild edema", ["ETT ok", "no ptx", "mild edema"]),
        ("No pleural\neffusion or\npneumothorax", ["No pleural effusion or pneumothorax"]),
        ("No acute cardiopulmonary\nabnormality", ["No acute cardiopulmonary abnormality"]),
        ("a) No effusion b) Edema c) Mass", ["No effusion", "Edema", "Mass"]),
        ("1.No effusion 2.Edema", ["No effusion", "Edema"]),
        ("(a) no edema; (b) mass", ["no edema;", "mass"]),
        ("i. no edema\nii. a mass", ["no edema", "a mass"]),
        ("- no edema\r\n- a mass\r\n", ["no edema", "a mass"]),
        ("Edema: none\nHeart: large", ["Edema: none", "Heart: large"]),
        ("[ ] Edema\n[x] Mass", ["[ ] Edema", "[x] Mass"]),
        ("Edema ..... none\nMass ..... left", ["Edema ..... none", "Mass ..... left"]),
        ("Pneumothorax? No. Effusion? Yes.", ["Pneumothorax? No.", "Effusion? Yes."]),
        ("no edema,\nno mass,\nno effusion", ["no edema,", "no mass,", "no effusion"]),
        ("Grade 2) and 3) lesions", ["Grade 2) and 3) lesions"]),
    ],
)
def test_statements_of_lists_and_wrapped_lines(text: str, expected: list[str]) -> None:
    assert statements(text) == expected


def test_wrapped_prose_is_read_as_if_it_were_one_line() -> None:
    assert statements(PROSE) == statements(PROSE.replace("\n", " "))


def test_a_statement_of_its_own_in_each_line_needs_no_period() -> None:
    whole = ["The heart is normal", "There is no effusion in either hemithorax today", "XXXX lungs are clear"]
    assert statements("\n".join(whole)) == whole
