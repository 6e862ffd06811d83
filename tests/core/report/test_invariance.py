"""Changes of wording that change no fact, or change it in a known way; and adverbials, which tell nothing."""

from pathlib import Path

import pytest

from infra.bench.challenge_rows import facts_of
from infra.bench.invariance import changed, rows_read_right
from trrg_core.report.parser import ReportParser

FOLDER = Path(__file__).parent
PLAIN = {
    "The effusion is small.": (
        "The effusion, on this portable film, is small.",
        "In my view, the effusion is currently small.",
        "Allowing for rotation, the effusion is also small at this time.",
        "Of note, the effusion, as far as can be seen, is presently small on today's film.",
    ),
    "No pneumothorax is seen.": (
        "On this film, no pneumothorax is clearly seen.",
        "No pneumothorax, on the frontal view, is currently seen.",
        "No pneumothorax, strictly speaking, is seen.",
        "As far as one can see, no pneumothorax is seen at present.",
    ),
    "Pneumonia cannot be excluded.": (
        "Pneumonia, in addition, cannot be excluded.",
        "Within the limits of this study, pneumonia cannot be excluded.",
        "Pneumonia cannot be excluded on this portable film.",
    ),
    "There is edema, no effusion.": ("There is currently edema, in addition, no effusion.",),
}


@pytest.fixture(scope="module")
def parser() -> ReportParser:
    return ReportParser()


def test_changed_sentences_are_read_as_the_change_demands(parser: ReportParser) -> None:
    rows = rows_read_right(parser, [FOLDER / "challenge_12.txt", FOLDER / "challenge_fourteenth_author.txt"])
    outcomes = [(text, missing, extra) for _, _, text, missing, extra in changed(parser, rows)]
    wrong = [text for text, missing, extra in outcomes if missing or extra]
    assert len(outcomes) > 1_500
    assert len(wrong) <= 0.01 * len(outcomes), wrong


@pytest.mark.parametrize("plain", PLAIN)
def test_an_adverbial_changes_no_fact(parser: ReportParser, plain: str) -> None:
    expected = facts_of(parser.mentions_of(plain))
    for sentence in PLAIN[plain]:
        assert facts_of(parser.mentions_of(sentence)) == expected, sentence


def test_mentions_behind_an_adverbial_point_at_their_words(parser: ReportParser) -> None:
    sentence = "The nodule, on this portable film, is currently small; in addition, there is edema."
    assert [sentence[one.start : one.end] for one in parser.mentions_of(sentence)] == ["nodule", "edema"]


def test_an_answer_that_is_an_adverbial_stays(parser: ReportParser) -> None:
    assert [str(one.assertion) for one in parser.mentions_of("Effusion: not at this time.")] == ["ABSENT"]
