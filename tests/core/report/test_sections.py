"""Sections: MIT-LCP's choices on MIMIC's layout, and headings of other layouts."""

import csv

import pytest

from tests.real_data import REAL_DATA
from trrg_core.report.sections import find_sections, label_section, report_section, sections_read

MIMIC = "\n".join(
    [
        "                                 FINAL REPORT",
        " EXAMINATION:  CHEST (PA AND LAT)",
        " ",
        " INDICATION:  Cough, rule out pneumonia.",
        " ",
        " FINDINGS: ",
        " ",
        " The heart is normal. There is no",
        " effusion.",
        " ",
        " IMPRESSION: ",
        " ",
        " Normal chest.",
        "",
    ]
)


def named(text: str) -> list[str]:
    return [section.name for section in find_sections(text)]


def test_mimic_sections_are_found_in_order() -> None:
    assert named(MIMIC) == ["preamble", "examination", "indication", "findings", "impression"]


def test_section_text_has_single_spaces() -> None:
    sections = find_sections(MIMIC)
    assert report_section(sections, MIMIC, "findings") == "The heart is normal. There is no effusion."
    both = report_section(sections, MIMIC, "findings+impression")
    assert both == "The heart is normal. There is no effusion. Normal chest."


def test_an_absent_section_is_empty() -> None:
    text = "\n INDICATION: cough\n \n Lungs clear."
    assert report_section(find_sections(text), text, "findings") == ""


def test_a_misspelt_indication_is_not_an_impression() -> None:
    text = "x\n NDICATION: Rule out pneumonia.\n \n FINDINGS: Clear.\n"
    sections = find_sections(text)
    assert [(section.name, section.rule) for section in sections][1] == ("indication", "heading:ndication")


def test_without_findings_the_last_paragraph_is_read() -> None:
    text = " FINAL REPORT\n CHEST RADIOGRAPH:\n \n HISTORY: Cough.\n \n Clear lungs."
    assert named(text)[-1] == "last_paragraph"
    chosen = label_section(find_sections(text))
    assert chosen is not None
    assert text[chosen.start : chosen.end].strip() == "Clear lungs."


@pytest.mark.parametrize("text", ["", "   ", "\n\n"])
def test_blank_text_has_no_sections(text: str) -> None:
    assert find_sections(text) == ()


def test_headings_of_other_layouts_are_found() -> None:
    text = "FINDINGS: Clear lungs. IMPRESSION: Normal chest."
    sections = find_sections(text)
    assert [section.name for section in sections] == ["findings", "impression"]
    assert report_section(sections, text, "impression") == "Normal chest."


def test_text_without_headings_is_one_section() -> None:
    assert named("Clear lungs. No effusion.") == ["full report"]


def texts_read(text: str) -> list[str]:
    return [text[section.start : section.end].strip() for section in sections_read(find_sections(text))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FINDINGS:\nPNEUMOTHORAX: Large right.", ["PNEUMOTHORAX: Large right."]),
        ("LUNGS: Clear.\nHEART: Enlarged.", ["Clear.", "HEART: Enlarged."]),
        ("LEFT LUNG: Clear.\nPLEURA: Thick.", ["LEFT LUNG: Clear.", "PLEURA: Thick."]),
        ("Indication: cough. Findings: Small effusion.", ["Small effusion."]),
        ("Findings\nClear.\n\nImpression\nNormal.", ["Clear.", "Normal."]),
        ("**Findings:** Clear. **Impression:** Normal.", ["** Clear. **", "** Normal."]),
        ("Clinical details: SOB. Report: Clear.", ["Clear."]),
        ("x\n INDICATION: cough. Findings: Clear.\n", ["Clear."]),
    ],
)
def test_what_a_heading_states_is_read_and_headings_within_a_line_are_found(text: str, expected: list[str]) -> None:
    assert texts_read(text) == expected


def test_a_title_in_a_line_of_its_own_is_no_heading() -> None:
    assert named("Final report\nChest radiograph\nClear lungs.") == ["full report"]


@pytest.mark.real_data
def test_sections_equal_mit_lcp_on_every_study() -> None:
    root = REAL_DATA / "mimic_like"
    if not root.is_dir():
        pytest.skip("TRRG_REAL_DATA has no mimic_like folder")
    with (root / "expected_sections_mitlcp.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    reports = {path.stem: path for path in (root / "files").rglob("s*.txt")}
    wrong = []
    for row in rows:
        text = reports[row["study"]].read_bytes().decode()
        sections = find_sections(text)
        last = {section.name: text[section.start : section.end] for section in sections}
        chosen = label_section(sections)
        same_names = [section.name for section in sections] == row["section_names"].split("|")
        names = ("impression", "findings", "last_paragraph", "comparison")
        same_texts = all(last.get(name, "").strip() == row[name].strip() for name in names)
        if not (same_names and same_texts and chosen is not None and chosen.name == row["used"]):
            wrong.append(row["study"])
    assert len(rows) == 150
    assert wrong == []
