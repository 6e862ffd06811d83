"""Sentences that are remembered wherever their lines end."""

import pytest

from trrg_core.report.lexicon import load_lexicon
from trrg_core.report.mentions import find_mentions
from trrg_core.report.parser import ReportParser
from trrg_core.report.wraps import in_one_line, of_wrapped


@pytest.mark.parametrize(
    "wrapped",
    [
        "Small left\n pleural effusion\n with adjacent\n atelectasis, and no pneumothorax.",
        "No focal \n consolidation,\neffusion or\n pneumothorax.",
        "A 1.2 cm nodule in the right mid\n lung is unchanged.",
        "There is no\n effusion.",
    ],
)
def test_a_wrapped_sentence_is_read_as_in_one_line_with_its_own_offsets(wrapped: str) -> None:
    line = in_one_line(wrapped)
    assert line is not None
    assert "\n" not in line
    mentions = find_mentions(wrapped, load_lexicon())
    assert mentions
    assert of_wrapped(find_mentions(line, load_lexicon()), wrapped) == mentions


@pytest.mark.parametrize(
    "text",
    [
        "If there is an\n effusion, it is small.",
        "There\n was a small effusion yesterday.",
        "Heart:\n enlarged.",
        "No evidence of\n - effusion",
        "No evidence of\n 1. effusion 2. edema",
        "no evidence of\n iv. effusion",
        "Effusion\n+ edema",
        "Effusion -\n none",
    ],
)
def test_a_sentence_whose_line_ends_may_tell_something_keeps_them(text: str) -> None:
    assert in_one_line(text) is None


def test_a_sentence_that_was_read_in_one_line_is_not_read_again() -> None:
    parser = ReportParser()
    parser.parse("FINDINGS: There is a small left pleural effusion.")
    known = parser._mentions.cache_info().misses
    report = parser.parse("FINDINGS: There is a small left\n pleural effusion.")
    assert parser._mentions.cache_info().misses == known + 1
    assert parser._mentions.cache_info().hits > 0
    (mention,) = report.sentences[0].mentions
    assert (mention.start, mention.end) == (report.sentences[0].start + 23, report.sentences[0].start + 39)
