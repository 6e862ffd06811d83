"""The share of changed challenge sentences that are read as the change demands, of rows that are read right unchanged.

`python -m infra.bench.invariance` prints the table by change, `--topics` the one by class; `--wrong NAME` prints the
changed sentences that are read otherwise, with what is missing (<) and what is too much (>).
"""

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from infra.bench.challenge import read_facts
from infra.bench.challenge_rows import FOLDER, ChallengeFact, ChallengeRow, read_rows
from infra.bench.invariance_changes import CHANGES, JOINTS, joined
from infra.bench.invariance_nouns import Variant
from trrg_core.report.parser import ReportParser


def main() -> None:
    """Prints the tables."""
    arguments = argparse.ArgumentParser(prog="python -m infra.bench.invariance", description=__doc__)
    arguments.add_argument("files", nargs="*", type=Path, default=sorted(FOLDER.glob("challenge*.txt")))
    arguments.add_argument("--wrong", metavar="NAME", help="print what this change breaks; `all` for every change")
    arguments.add_argument("--topics", action="store_true", help="also print the shares by class")
    options = arguments.parse_args()
    parser = ReportParser()
    console = Console(width=150, highlight=False)
    by_change: Counter[tuple[str, bool]] = Counter()
    by_topic: Counter[tuple[str, bool]] = Counter()
    for change, row, text, missing, extra in changed(parser, rows_read_right(parser, options.files)):
        is_right = not (missing or extra)
        by_change[change, is_right] += 1
        by_topic[row.topic.lstrip("0123456789 "), is_right] += 1
        if options.wrong in (change, "all") and not is_right:
            console.print(f"{change}: {text!r}", markup=False, soft_wrap=True)
            console.print("    <", *map(_text, missing), " >", *map(_text, extra), markup=False, soft_wrap=True)
    console.print(_table("change", by_change))
    if options.topics:
        console.print(_table("class", by_topic))


def rows_read_right(parser: ReportParser, files: list[Path]) -> list[ChallengeRow]:
    """The rows of `files` that the parser reads right as they are."""
    return [row for path in files for row in read_rows(path) if read_facts(parser, row) == row.facts]


def changed(
    parser: ReportParser, rows: list[ChallengeRow]
) -> Iterator[tuple[str, ChallengeRow, str, frozenset[ChallengeFact], frozenset[ChallengeFact]]]:
    """Every changed row: the change, the row, its new text, the facts that are missing and those that are too much."""
    for change, row, (text, facts) in _variants(rows):
        found = read_facts(parser, ChallengeRow(topic=row.topic, text=text, facts=facts))
        yield change, row, text, facts - found, found - facts


def _variants(rows: list[ChallengeRow]) -> Iterator[tuple[str, ChallengeRow, Variant]]:
    for name, change in CHANGES.items():
        for row in rows:
            yield from ((name, row, variant) for variant in change(row))
    for name, joint in JOINTS.items():
        yield from ((name, row, variant) for row, variant in joined(rows, joint))


def _table(heading: str, counts: Counter[tuple[str, bool]]) -> Table:
    table = Table(heading, "sentences", "read as demanded")
    for name in [*dict.fromkeys(name for name, _ in counts), "all"]:
        right, wrong = (
            sum(count for (one, is_right), count in counts.items() if is_right is sought and name in (one, "all"))
            for sought in (True, False)
        )
        table.add_row(name, str(right + wrong), f"{right / (right + wrong):.1%}")
    return table


def _text(fact: ChallengeFact) -> str:
    return " ".join(part for part in (fact.statement, fact.side, fact.degree, fact.change, fact.position) if part)


if __name__ == "__main__":
    main()
