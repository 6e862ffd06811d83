"""Abbreviations that a report defines speak for their long form, in that report only."""

import itertools
import string

import pytest

from trrg_core.labels import Label
from trrg_core.report.abbreviations import find_definitions
from trrg_core.report.parser import ReportParser

DEFINING = [
    "Small bowel obstruction (SBO) is suspected.",
    "There is a left pleural effusion (LPE) and pulmonary arterial hypertension (PAH).",
    "Findings of congestive heart failure (CHF) with pulmonary edema (PE).",
    "Signs of usual interstitial pneumonia (UIP), no acute respiratory distress syndrome (ARDS).",
    "Chronic obstructive pulmonary disease (COPD) is again noted, and endotracheal tube (ETT) is high.",
]
NOT_DEFINING = [
    "Portable chest (AP) is compared.",
    "Heart is normal (XXXX).",
    "Effusion (left) is small.",
    "Nodule (3 cm).",
]


@pytest.fixture(scope="module")
def parser() -> ReportParser:
    return ReportParser()


def said(parser: ReportParser, text: str) -> list[tuple[str, str, str]]:
    report = parser.parse(text)
    return [
        (text[mention.start : mention.end], mention.finding, str(mention.assertion))
        for sentence in report.sentences
        for mention in sentence.mentions
    ]


def test_a_defined_abbreviation_is_a_mention_of_its_long_form(parser: ReportParser) -> None:
    text = "There is a layering pleural collection (LPC). The LPC is unchanged. No other LPCs."
    assert said(parser, text) == [
        ("pleural collection", "pleural_effusion", "PRESENT"),
        ("LPC", "pleural_effusion", "PRESENT"),
        ("LPC", "pleural_effusion", "PRESENT"),
        ("LPCs", "pleural_effusion", "ABSENT"),
    ]


def test_a_definition_wins_over_what_the_lexicon_takes_the_letters_for(parser: ReportParser) -> None:
    assert parser.parse("IMPRESSION: PE.").labels["Pleural Effusion"] is None
    labels = parser.parse("FINDINGS: Known pleural effusion (PE).\n\nIMPRESSION: No pneumonia. PE is larger.").labels
    assert labels["Pleural Effusion"] is Label.POSITIVE


def test_letters_defined_as_something_else_name_no_finding(parser: ReportParser) -> None:
    assert ("PE", "pulmonary_embolism", "PRESENT") in said(parser, "Concern was raised. PE is seen.")
    assert said(parser, "On physical examination (PE) he is well. PE is repeated.") == []


def test_a_definition_ends_with_its_report(parser: ReportParser) -> None:
    parser.parse("Layering pleural collection (LPC). LPC is small.")
    assert said(parser, "LPC is small.") == []


def test_a_side_or_place_stays_one(parser: ReportParser) -> None:
    text = "Consolidated left lower lung lobe (LLL). Opacity in the LLL."
    assert parser.parse(text).sentences[1].mentions[0].anatomy == "left lower lobe"


@pytest.mark.parametrize("text", NOT_DEFINING)
def test_a_word_in_brackets_is_no_definition(text: str) -> None:
    assert find_definitions(text) == {}


def test_a_mask_abbreviates_nothing() -> None:
    assert find_definitions("XXXX XXXX xray XXXX scan (XXXX).") == {}


@pytest.mark.parametrize("text", [*DEFINING, *NOT_DEFINING])
def test_definitions_are_those_of_scispacy(text: str) -> None:
    spacy = pytest.importorskip("spacy")
    detector = pytest.importorskip("scispacy.abbreviation").AbbreviationDetector
    nlp = spacy.blank("en")
    doc = detector(nlp)(nlp(text))
    assert find_definitions(text) == {str(one): str(one._.long_form) for one in doc._.abbreviations}


def test_a_megabyte_of_brackets_ends() -> None:
    assert find_definitions("(AB" * 350_000) == {}
    pairs = itertools.product(string.ascii_lowercase, repeat=2)
    defining = " ".join(f"{one}x {other}y ({(one + other).upper()})" for one, other in pairs)
    assert len(find_definitions(defining)) == 64
