"""Coverage and cost of the flips of sentences: the share of facts that get one, and the CPU time beside the parse.

`python -m infra.bench.flips [--reports 600] [--seed 7] [--show 20]`. Two corpora: invented reports, and the reports of
IU-Xray where the folder TRRG_REAL_DATA has them. `--show` prints that many random flips of each kind to read; with
`--findings` the coverage of each finding is printed too. The last line is the verdict; exits 1 below a floor.
"""

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

from rich.console import Console
from rich.table import Table

from infra.bench.parser_iu_xray import read_iu_xray
from infra.bench.parser_row import DATA
from trrg_core.labels import Assertion
from trrg_core.report.flipping.kinds import FlipKind
from trrg_core.report.flips import Flip, SentenceFlipper
from trrg_core.report.parsed import Sentence
from trrg_core.report.parser import ReportParser
from trrg_core.sources.sample import generate_studies

# share of the facts of a kind that must get a flip; the CPU time of flips may be this many times that of the parse
FLOORS = {"deny": 0.85, "affirm": 0.80, "side": 0.95, "severity": 0.90}
MOST_COST = 2.0
_Result = TypeVar("_Result")


@dataclass
class Coverage:
    """Facts that could be turned round, and those that were, by (kind, finding); flips to read, by kind."""

    facts: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    turned: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    pairs: dict[str, dict[tuple[str, str], None]] = field(default_factory=lambda: defaultdict(dict))
    cost: float = 0.0

    def share(self, kind: str, finding: str = "") -> tuple[float, int]:
        """The share of facts of a kind that get a flip, and how many facts there are."""
        keys = [key for key in self.facts if key[0] == kind and finding in ("", key[1])]
        total = sum(self.facts[key] for key in keys)
        return sum(self.turned[key] for key in keys) / max(1, total), total


def measure_flips(texts: Sequence[str]) -> Coverage:
    """The coverage of flips over reports; the cost is that of a fresh parser and a fresh flipper in one process."""
    parser = ReportParser()
    flipper = SentenceFlipper(parser)
    coverage = Coverage()
    parser.parse("FINDINGS: No effusion.")
    parse_s, reports = _timed(lambda: list(parser.parse_many(texts)))
    flip_s, flips = _timed(lambda: [[flipper.flips(one) for one in report.sentences] for report in reports])
    coverage.cost = flip_s / parse_s
    for report, flips_of_report in zip(reports, flips, strict=True):
        for sentence, found in zip(report.sentences, flips_of_report, strict=True):
            _count(sentence, found, coverage, parser)
    return coverage


def _timed(work: Callable[[], _Result]) -> tuple[float, _Result]:
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def _count(sentence: Sentence, flips: tuple[Flip, ...], coverage: Coverage, parser: ReportParser) -> None:
    for kind, finding, is_turned in _facts(sentence, flips, parser):
        coverage.facts[kind, finding] += 1
        coverage.turned[kind, finding] += is_turned
    present = {one.finding for one in sentence.mentions if one.is_current and one.assertion is Assertion.PRESENT}
    for flip in flips:
        kind = flip.kind.value
        if flip.kind is FlipKind.POLARITY:
            kind = "deny" if flip.finding in present else "affirm"
        coverage.pairs[kind][" ".join(sentence.text.split()), flip.text] = None


def _facts(sentence: Sentence, flips: tuple[Flip, ...], parser: ReportParser) -> Iterator[tuple[str, str, bool]]:
    """Each fact that could be turned round: the kind of flip, its finding, and whether a flip turns it."""
    current = [one for one in sentence.mentions if one.is_current]
    turned = {flip.finding for flip in flips if flip.kind is FlipKind.POLARITY}
    # a flip of side or degree turns all mentions that share the word
    moved: set[tuple[FlipKind, int]] = set()
    for flip in flips:
        if flip.kind is not FlipKind.POLARITY:
            after = [one for one in parser.mentions_of(flip.text) if one.is_current]
            moved |= {
                (flip.kind, index)
                for index, (old, new) in enumerate(zip(current, after, strict=True))
                if (old.laterality, old.severity) != (new.laterality, new.severity)
            }
    devices = parser.label_set.findings["Support Devices"]
    for index, one in enumerate(current):
        if one.assertion is Assertion.ABSENT:
            yield "affirm", one.finding, one.finding in turned
        if one.assertion is Assertion.PRESENT:
            yield "deny", one.finding, one.finding in turned
            if one.laterality in ("left", "right") and one.finding not in devices:
                yield "side", one.finding, (FlipKind.SIDE, index) in moved
            if one.severity and one.finding not in devices:
                yield "severity", one.finding, (FlipKind.SEVERITY, index) in moved


def main() -> int:
    """Measures both corpora and prints the table; returns 1 if a value is below its floor."""
    arguments = argparse.ArgumentParser(prog="python -m infra.bench.flips", description=__doc__)
    arguments.add_argument("--reports", type=int, default=600, help="invented reports")
    arguments.add_argument("--seed", type=int, default=7, help="seed of the invented reports and of what is shown")
    arguments.add_argument("--show", type=int, default=0, help="random flips of each kind to print")
    arguments.add_argument("--findings", action="store_true", help="print the coverage of each finding")
    chosen = arguments.parse_args()
    corpora = {"invented": [study.report.text for study in generate_studies(chosen.reports, chosen.seed)]}
    if (DATA / "iu_xray").is_dir():
        corpora["IU-Xray"] = list(read_iu_xray()[1].values())
    below: list[str] = []
    table = Table("corpus", "measured", "facts", "share with a flip", "floor")
    for name, texts in corpora.items():
        coverage = measure_flips(texts)
        for kind, floor in FLOORS.items():
            share, total = coverage.share(kind)
            table.add_row(f"{name}, {len(texts)} reports", kind, str(total), f"{share:.3f}", f"{floor:.2f}")
            below.extend([f"{name} {kind}"] if share < floor else [])
        table.add_row(name, "CPU time of flips / of parse", "", f"{coverage.cost:.2f}", f"at most {MOST_COST}")
        below.extend([f"{name} cost"] if coverage.cost > MOST_COST else [])
        _show(coverage, chosen.show, chosen.seed)
        if chosen.findings:
            for kind, finding in sorted(coverage.facts):
                share, total = coverage.share(kind, finding)
                table.add_row(name, f"  {kind} {finding}", str(total), f"{share:.3f}", "")
    Console(width=120).print(table)
    num_floors = (len(FLOORS) + 1) * len(corpora)
    print(f"floors reached: {num_floors - len(below)} of {num_floors}{'; below: ' if below else ''}{', '.join(below)}")
    return 1 if below else 0


def _show(coverage: Coverage, count: int, seed: int) -> None:
    for kind, pairs in coverage.pairs.items():
        for source, flip in Random(seed).sample(sorted(pairs), min(count, len(pairs))):
            print(f"{kind:9}{source}\n{'':9}{flip}")


if __name__ == "__main__":
    sys.exit(main())
