"""The table of sentences: what each says, rule by rule. A bug found adds a row first."""

from pathlib import Path

import pytest

from trrg_core.labels import Assertion
from trrg_core.report.parsed import Mention
from trrg_core.report.parser import ReportParser

SIGN = {Assertion.PRESENT: "+", Assertion.ABSENT: "-", Assertion.UNCERTAIN: "?"}


def read_table() -> list[tuple[str, list[str]]]:
    lines = Path(__file__).with_name("sentences.txt").read_text("utf-8").splitlines()
    rows = [line.split(" =>") for line in lines if line.strip() and not line.startswith("#")]
    return [(sentence, expected.split()) for sentence, expected in rows]


def written(mention: Mention) -> str:
    asides = {
        "@historical": mention.historical,
        "@hypothetical": mention.hypothetical,
        "@other": mention.experiencer == "other",
    }
    return SIGN[mention.assertion] + mention.finding + "".join(mark for mark, is_so in asides.items() if is_so)


@pytest.fixture(scope="module")
def parser() -> ReportParser:
    return ReportParser()


@pytest.mark.parametrize(("sentence", "expected"), read_table())
def test_sentence_says(parser: ReportParser, sentence: str, expected: list[str]) -> None:
    found = [written(mention) for part in parser.parse(sentence).sentences for mention in part.mentions]
    assert found == expected
