"""The challenge sentences: the share that is wholly right, with side, degree, change and position."""

from pathlib import Path

import pytest

from infra.bench.challenge import read_facts
from infra.bench.challenge_rows import ChallengeRow, read_rows
from trrg_core.report.parser import ReportParser

FILES = sorted(Path(__file__).parent.glob("challenge*.txt"))
# of what another author wrote some idioms stay unread: see docs/challenge.md
WRONG_SHARES = {
    "challenge_second_author": 0.08,
    "challenge_14": 0.07,
    "challenge_15": 0.04,
    "challenge_16": 0.07,
    "challenge_eighth_author_2": 0.07,
    "challenge_ninth_author_2": 0.05,
    "challenge_tenth_author_2": 0.06,
    "challenge_fifteenth_author": 0.04,
    "challenge_twelfth_author_2": 0.12,
    "challenge_thirteenth_author_2": 0.13,
    "challenge_fourteenth_author_2": 0.12,
    "challenge_fifteenth_author_2": 0.1,
    "challenge_sixteenth_author": 0.12,
    "challenge_seventeenth_author": 0.18,
    "challenge_sixteenth_author_2": 0.13,
    "challenge_seventeenth_author_2": 0.19,
    "challenge_eighteenth_author": 0.07,
    "challenge_nineteenth_author": 0.1,
    "challenge_eighteenth_author_2": 0.07,
    "challenge_nineteenth_author_2": 0.16,
    "challenge_twentieth_author_2": 0.09,
    "challenge_twentyfirst_author": 0.07,
    "challenge_twentyfirst_author_2": 0.06,
    "challenge_twentysecond_author": 0.24,
    "challenge_twentythird_author": 0.19,
    "challenge_twentyfourth_author": 0.08,
    "challenge_twentyfourth_author_2": 0.09,
    "challenge_twentyfifth_author": 0.17,
}


@pytest.fixture(scope="module")
def parser() -> ReportParser:
    return ReportParser()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_at_least_97_percent_of_a_batch_are_wholly_right(parser: ReportParser, path: Path) -> None:
    rows = list(read_rows(path))
    wrong = [row.text for row in rows if read_facts(parser, row) != row.facts]
    assert len(rows) >= 100
    assert len(wrong) <= WRONG_SHARES.get(path.stem, 0.03) * len(rows), wrong


def test_a_row_counts_only_with_its_details(parser: ReportParser, tmp_path: Path) -> None:
    file = tmp_path / "rows.txt"
    file.write_text(
        "## x\nSmall left effusion. => +pleural_effusion left small\nSmall left effusion. => +pleural_effusion\n"
    )
    rows: list[ChallengeRow] = list(read_rows(file))
    assert [read_facts(parser, row) == row.facts for row in rows] == [True, False]
