"""The share of the challenge sentences that the parser reads right, by class.

`python -m infra.bench.challenge [FILE ...]` prints the table; `--wrong` prints each row that is not read right, with
what is missing (<) and what is too much (>). Without files all `tests/core/report/challenge*.txt` are read.
"""

import argparse
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from infra.bench.challenge_rows import FOLDER, ChallengeFact, ChallengeRow, facts_of, read_rows, statements_of
from trrg_core.report.parser import ReportParser


def main() -> None:
    """Scores the files and prints the table."""
    arguments = argparse.ArgumentParser(prog="python -m infra.bench.challenge", description=__doc__)
    arguments.add_argument("files", nargs="*", type=Path, default=sorted(FOLDER.glob("challenge*.txt")))
    arguments.add_argument("--wrong", action="store_true", help="print the rows that are not read right")
    options = arguments.parse_args()
    console = Console(width=140, highlight=False)
    for path in options.files:
        _score(path, console, show_wrong=options.wrong)


def _score(path: Path, console: Console, *, show_wrong: bool) -> None:
    parser = ReportParser()
    counts: dict[str, Counter[str]] = {}
    for row in read_rows(path):
        found = read_facts(parser, row)
        right = found == row.facts
        for topic in (row.topic, "all"):
            counts.setdefault(topic, Counter()).update(
                rows=1, right=right, stated=statements_of(found) == statements_of(row.facts)
            )
        if show_wrong and not right:
            console.print(f"{row.text!r}", markup=False)
            console.print("    <", *map(_text, row.facts - found), " >", *map(_text, found - row.facts), markup=False)
    table = Table("class", "rows", "wholly right", "findings and signs right", title=path.name)
    for topic in [*(name for name in counts if name != "all"), "all"]:
        count = counts[topic]
        shares = [f"{count[name]} ({count[name] / count['rows']:.1%})" for name in ("right", "stated")]
        table.add_row(topic, str(count["rows"]), *shares)
    console.print(table)


def read_facts(parser: ReportParser, row: ChallengeRow) -> frozenset[ChallengeFact]:
    """What the parser reads in the text of a row."""
    return facts_of(mention for sentence in parser.parse(row.text).sentences for mention in sentence.mentions)


def _text(fact: ChallengeFact) -> str:
    return " ".join(part for part in (fact.statement, fact.side, fact.degree, fact.change, fact.position) if part)


if __name__ == "__main__":
    main()
