"""Tests of the metrics themselves: does a score fall when a report becomes untrue, and stay when it is only reworded?

`python -m infra.bench.stress [--studies 300] [--seed 7]`. For every metric: the share of flipped reports (negation,
side, degree) that score lower than the report itself, and lower than the same facts in another radiologist's style; the
share of restyled reports that lose; ranking cases; a polarity probe. The last line is the verdict on the project's own
measure of facts; exits 1 below a floor. METEOR needs Java; without it its row is left out.
"""

import argparse
import contextlib
import io
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.rouge.rouge import Rouge
from rich.console import Console
from rich.table import Table

from infra.bench.stress_cases import flipped_reports, probes, rankings, styled_reports
from trrg_core.clue import Clue
from trrg_core.evidence import Support, gather_evidence
from trrg_core.labels import STATED_PRESENT, load_label_set
from trrg_core.metrics.attribute_agreement import findings_of, report_facts
from trrg_core.metrics.fact_errors import compare_facts, weigh_errors
from trrg_core.metrics.outcomes import Column, count_columns
from trrg_core.metrics.significance import load_significance
from trrg_core.metrics.study_outcomes import StatedReport, count_studies
from trrg_core.report.flipping.kinds import FlipKind
from trrg_core.report.parsed import ParsedReport
from trrg_core.report.parser import ReportParser

LABELS = load_label_set("chexpert14")
FACTS, WEIGHTED, SUPPORT = "fact errors", "weighted fact errors", "support by perfect clues"
# floors of the measure of facts: what it catches, and how rarely it is alarmed by other words
FLOORS = {FlipKind.POLARITY: 0.95, FlipKind.SIDE: 0.95}
MOST_ALARMS = 0.02
MIN_PROBE = 0.95

Pair = tuple[str, str]
Metric = Callable[[Sequence[Pair]], list[float]]


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """What one metric does: shares by kind of flip, of restyled reports that lose, of right ranks and statements."""

    caught: dict[FlipKind, float]
    below_restyled: dict[FlipKind, float]
    alarms: float
    ranked: tuple[int, int]
    probed: float


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=300, help="invented studies")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    counts, found = measure(options.studies, options.seed, all_metrics())
    print(", ".join(f"{count} {name}" for name, count in counts.items()))
    _print(found)
    failed = judge(found)
    print("PASS: the measure of facts keeps its floors" if not failed else "FAIL: " + "; ".join(failed))
    return 1 if failed else 0


def measure(
    num_studies: int, seed: int, metrics: Mapping[str, Metric]
) -> tuple[dict[str, int], dict[str, Sensitivity]]:
    """The number of cases of each kind, and the sensitivity of each metric."""
    reports = list(styled_reports(num_studies, seed))
    flips = list(flipped_reports(reports, _parser(), seed))
    statements = list(probes([(item.text, parse(item.text)) for item in reports], LABELS))
    cases = rankings()
    same = [(item.text, item.text) for item in reports]
    found: dict[str, Sensitivity] = {}
    for name, metric in metrics.items():
        whole = dict(zip([text for text, _ in same], metric(same), strict=True))
        restyled = dict(zip([i.text for i in reports], metric([(i.text, i.restyled) for i in reports]), strict=True))
        flipped = list(zip(flips, metric([(item.text, item.flipped) for item in flips]), strict=True))
        ranks = zip(
            metric([(case.reference, case.better) for case in cases]),
            metric([(case.reference, case.worse) for case in cases]),
            strict=True,
        )
        probed = zip(
            metric([(item.text, item.true) for item in statements]),
            metric([(item.text, item.false) for item in statements]),
            strict=True,
        )
        found[name] = Sensitivity(
            caught={
                kind: _share([_less(score, whole[item.text]) for item, score in flipped if item.kind is kind])
                for kind in FlipKind
            },
            below_restyled={
                kind: _share([_less(score, restyled[item.text]) for item, score in flipped if item.kind is kind])
                for kind in FlipKind
            },
            alarms=_share([_less(restyled[text], score) for text, score in whole.items()]),
            ranked=(sum(_less(worse, better) for better, worse in ranks), len(cases)),
            probed=_share([_less(false, true) for true, false in probed]),
        )
    counted = {f"{kind} flips": sum(item.kind is kind for item in flips) for kind in FlipKind}
    return {"reports": len(reports), **counted, "ranking cases": len(cases), "statements": len(statements)}, found


def wrong_ranks(metric: Metric) -> list[str]:
    """The ranking cases that a metric does not rank."""
    cases = rankings()
    better = metric([(case.reference, case.better) for case in cases])
    worse = metric([(case.reference, case.worse) for case in cases])
    return [
        f"{case.kind}: {case.name}"
        for case, high, low in zip(cases, better, worse, strict=True)
        if not _less(low, high)
    ]


def all_metrics() -> dict[str, Metric]:
    """Every metric by name; METEOR only where there is Java."""
    return {
        "BLEU-1": lambda pairs: _coco(Bleu(4), pairs, 0),
        "BLEU-4": lambda pairs: _coco(Bleu(4), pairs, 3),
        "ROUGE-L": lambda pairs: _coco(Rouge(), pairs),
        "CIDEr": lambda pairs: _coco(Cider(), pairs),
        **({"METEOR": lambda pairs: _coco(Meteor(), pairs)} if shutil.which("java") else {}),
        "label F1, 13 findings": _label_f1,
        "truth score": _truth_score,
        FACTS: count_errors,
        WEIGHTED: weighted_errors,
        SUPPORT: _support,
    }


def count_errors(pairs: Sequence[Pair]) -> list[float]:
    """The number of wrong facts of each report, negated."""
    return [-float(len(compare_facts(parse(text), parse(other), LABELS).errors)) for text, other in pairs]


def weighted_errors(pairs: Sequence[Pair]) -> list[float]:
    """The wrong facts of each report by their significance, negated."""
    return [-weigh_errors(compare_facts(parse(a), parse(b), LABELS), load_significance()) for a, b in pairs]


def _label_f1(pairs: Sequence[Pair]) -> list[float]:
    scores = []
    for pair in pairs:
        truth, stated = ({name for name in findings_of(LABELS) if parse(text).labels[name] == 1} for text in pair)
        scores.append(2 * len(truth & stated) / (len(truth) + len(stated)) if truth or stated else 1.0)
    return scores


def _truth_score(pairs: Sequence[Pair]) -> list[float]:
    names = findings_of(LABELS)
    truth, stated = (
        [StatedReport(text="", facts=report_facts(parse(text), LABELS)) for text in texts]
        for texts in zip(*pairs, strict=True)
    )
    counts = count_studies(truth, stated, findings=names, significance=load_significance())
    columns = count_columns(names)
    agreed, either = (counts[:, columns.index(name)] for name in (Column.TRUTH_AGREED, Column.TRUTH_STATED))
    return [float(part / whole) if whole else 1.0 for part, whole in zip(agreed, either, strict=True)]


def _support(pairs: Sequence[Pair]) -> list[float]:
    """Sentences that contradict, or are not supported by, clues that show just what the reference states, negated."""
    scores = []
    for reference, hypothesis in pairs:
        evidence = gather_evidence(
            parse(hypothesis), clues=_perfect_clues(parse(reference)), label_set=LABELS, has_prior=None
        )
        bad = [item for item in evidence.sentences if item.status in (Support.CONTRADICTED, Support.UNSUPPORTED)]
        scores.append(-float(len(bad) + len(evidence.contradictions)))
    return scores


def _perfect_clues(report: ParsedReport) -> list[Clue]:
    facts, clues = report_facts(report, LABELS), []
    for index, name in enumerate(findings_of(LABELS)):
        is_present, sides, degree = facts.assertions[index] == STATED_PRESENT, facts.sides[index], facts.degrees[index]
        shares = [0.98 if degree == place + 1 else 0.01 for place in range(3)]
        clues.append(
            Clue(
                observation=name,
                probability=0.97 if is_present else 0.03,
                threshold=0.5,
                left=(0.95 if sides & 1 else 0.02) if sides else None,
                right=(0.95 if sides & 2 else 0.02) if sides else None,
                degrees=(shares[0], shares[1], shares[2]) if degree else None,
            )
        )
    return clues


def _coco(scorer: object, pairs: Sequence[Pair], order: int | None = None) -> list[float]:
    """Scores of single pairs by a scorer of pycocoevalcap, on lower-case words without full stops."""
    texts = [tuple(" ".join(text.lower().replace(".", " ").replace(",", " ").split()) for text in p) for p in pairs]
    references = {at: [reference] for at, (reference, _) in enumerate(texts)}
    hypotheses = {at: [hypothesis or "-"] for at, (_, hypothesis) in enumerate(texts)}
    with contextlib.redirect_stdout(io.StringIO()):
        _, scores = scorer.compute_score(references, hypotheses)  # type: ignore[attr-defined]
    return [float(score) for score in (scores if order is None else scores[order])]


def _less(score: float, other: float) -> bool:
    return score < other - 1e-9


def _share(cases: Sequence[bool]) -> float:
    return sum(cases) / len(cases) if cases else float("nan")


def judge(found: dict[str, Sensitivity]) -> list[str]:
    """The floors that the measure of facts does not keep, in words."""
    facts, weighted = found[FACTS], found[WEIGHTED]
    failed = [
        f"{kind} {facts.caught[kind]:.1%} < {floor:.0%}" for kind, floor in FLOORS.items() if facts.caught[kind] < floor
    ]
    failed += [f"{facts.alarms:.1%} false alarms, at most {MOST_ALARMS:.0%}"] if facts.alarms >= MOST_ALARMS else []
    failed += [f"probe {facts.probed:.1%} < {MIN_PROBE:.0%}"] if facts.probed < MIN_PROBE else []
    right, total = weighted.ranked
    wrong = f"{total - right} ranking cases: {'; '.join(wrong_ranks(weighted_errors))}"
    return [*failed, wrong] if right < total else failed


def _print(found: dict[str, Sensitivity]) -> None:
    table = Table(title="caught, and ranked below the same facts in another style", title_justify="left")
    table.add_column("metric")
    for kind in FlipKind:
        table.add_column(str(kind), justify="right")
    for name in ("restyled loses", "ranking cases", "polarity probe"):
        table.add_column(name, justify="right")
    for name, row in found.items():
        cells = [f"{row.caught[kind]:.1%}, {row.below_restyled[kind]:.1%}" for kind in FlipKind]
        table.add_row(name, *cells, f"{row.alarms:.1%}", f"{row.ranked[0]} of {row.ranked[1]}", f"{row.probed:.1%}")
    Console(width=150).print(table)


@cache
def _parser() -> ReportParser:
    return ReportParser(LABELS)


@cache
def parse(text: str) -> ParsedReport:
    """The parse of a report; cases share theirs."""
    return _parser().parse(text)


if __name__ == "__main__":
    sys.exit(main())
