"""Scores of report files as the command line shows them: the first scores of each kind, or all, and warnings."""

import re
from collections.abc import Mapping, Sequence

from flows.render.terminal import Column, build_table, print_line, print_table
from trrg_core.labels import LabelSet
from trrg_core.metrics.fact_agreement import ATTRIBUTES, fact_score
from trrg_core.metrics.fact_errors import ERROR_RATES
from trrg_core.metrics.report_files.comparison import Difference
from trrg_core.metrics.report_files.file_scores import FLOOR, FileComparison, FileScores
from trrg_core.metrics.report_files.measured_reports import ASSERTING, MeasuredScore
from trrg_core.metrics.systems import (
    LANGUAGE_MEASURES,
    Average,
    Protocol,
    TruthRate,
    clinical_score,
    findings_family,
    language_score,
    observation_sets,
)

_GLUED = re.compile(r"[a-z][.,;](?:\s|$)")
_TOKENISED = 0.95
_AVERAGES: tuple[Average, ...] = ("micro", "macro", "example", "weighted")


def first_scores(label_set: LabelSet | None, protocols: Sequence[Protocol]) -> tuple[str, ...]:
    """The scores of a first look, in order; a file has two hundred more."""
    language = [language_score(measure, protocol) for protocol in protocols for measure in LANGUAGE_MEASURES]
    shares = [TruthRate.DISTINCT_SHARE, TruthRate.MODAL_SHARE]
    if label_set is None:
        return (*language, *shares)
    findings = findings_family(label_set)
    return (
        *(clinical_score(findings, average) for average in _AVERAGES),
        *(clinical_score(name) for name in observation_sets(label_set) if name != findings),
        fact_score("facts", "f1"),
        fact_score("affirmed", "precision"),
        fact_score("affirmed", "recall"),
        *(fact_score(kind, "f1") for kind in ATTRIBUTES),
        *ERROR_RATES,
        *language,
        *shares,
        ASSERTING,
    )


def is_tokenised(texts: Sequence[str]) -> bool:
    """Whether nearly all texts are in lower case with spaces before their full stops, as R2Gen writes them."""
    plain = [text == text.lower() and not _GLUED.search(text) for text in texts]
    return sum(plain) >= _TOKENISED * len(plain)


def compared_scores(label_set: LabelSet | None, references: Sequence[str]) -> tuple[str, ...]:
    """The scores that two systems are compared by, a dozen: more would need larger differences to be significant."""
    protocol: Protocol = "raw" if is_tokenised(references) else "full"
    language = [language_score(measure, protocol) for measure in ("bleu1", "bleu4", "meteor", "rouge_l", "cider")]
    if label_set is None:
        return tuple(language)
    families = [name for name in observation_sets(label_set) if name != findings_family(label_set)]
    clinical = [clinical_score(findings_family(label_set), average) for average in ("micro", "macro", "example")]
    facts = [fact_score("facts", "f1"), fact_score("side", "f1")]
    return (*clinical, *(clinical_score(name) for name in families), *facts, *language)


def print_scores(scores: FileScores, label_set: LabelSet | None, *, everything: bool = False) -> None:
    """Print the scores beside those of the constant report, then slices and warnings."""
    pairs = scores.pairs
    protocols: tuple[Protocol, ...] = ("raw",) if is_tokenised(pairs.references) else ("full", "r2gen")
    names = tuple(scores.scores) if everything else (*first_scores(label_set, protocols), *scores.outside)
    rows = [
        (name, *_cells(scores.scores[name]), _value(scores.floor.get(name))) for name in names if name in scores.scores
    ]
    columns = (
        Column("score", whole=True),
        Column("value", number=True),
        Column("95 % interval", whole=True),
        Column("n", number=True),
        Column(FLOOR, number=True),
    )
    print_table(build_table(columns, rows, title=f"{len(pairs.ids)} reports, resampled by {pairs.unit}"))
    if scores.slices:
        _print_slices(scores, [name for name in names if name in scores.scores])
    for reason, absent in _by_reason(scores.absent).items():
        print_line(f"absent: {', '.join(absent)}: {reason}")
    for warning in scores.warnings:
        print_line(f"warning: {warning}")
    if not everything:
        print_line(f"{len(scores.scores)} scores in all: add --all, or --json")


def print_comparison(comparison: FileComparison) -> None:
    """Print the differences of two systems, then those of each slice, and warnings."""
    pairs = comparison.pairs[0]
    columns = (
        Column("score", whole=True),
        Column("A", number=True),
        Column("B", number=True),
        Column("B - A", number=True),
        Column("95 % interval", whole=True),
        Column("p", number=True),
        Column("p, adjusted", number=True),
    )
    title = f"{len(pairs.ids)} reports, resampled by {pairs.unit}"
    print_table(build_table(columns, _difference_rows(comparison.differences), title=title))
    for one in comparison.slices:
        print_table(
            build_table(columns, _difference_rows(one.differences), title=f"{one.name}: {one.num_pairs} reports")
        )
    for warning in comparison.warnings:
        print_line(f"warning: {warning}")
    print_line("p, adjusted: Holm's, over the scores of a table; each slice is adjusted by itself")


def _difference_rows(differences: Mapping[str, Difference]) -> list[tuple[str, ...]]:
    return [
        (
            name,
            f"{one.first:.4f}",
            f"{one.second:.4f}",
            f"{one.difference:+.4f}",
            "-" if one.low is None or one.high is None else f"{one.low:+.4f} to {one.high:+.4f}",
            "-" if one.p is None else f"{one.p:.4f}",
            "-" if one.p_adjusted is None else f"{one.p_adjusted:.4f}",
        )
        for name, one in differences.items()
    ]


def _print_slices(scores: FileScores, names: Sequence[str]) -> None:
    columns = (Column("score", whole=True), *(Column(f"{one.name} ({one.num_pairs})") for one in scores.slices))
    rows = [(name, *(_described(one.scores.get(name)) for one in scores.slices)) for name in names]
    print_table(build_table(columns, rows, title="Slices"))


def _by_reason(absent: Mapping[str, str]) -> dict[str, list[str]]:
    reasons: dict[str, list[str]] = {}
    for name, reason in absent.items():
        reasons.setdefault(reason, []).append(name)
    return reasons


def _cells(score: MeasuredScore) -> tuple[str, str, str]:
    interval = f"{score.low:.3f} to {score.high:.3f}" if score.low is not None and score.high is not None else "-"
    return f"{score.value:.4f}", interval, str(score.n)


def _value(score: MeasuredScore | None) -> str:
    return "-" if score is None else f"{score.value:.4f}"


def _described(score: MeasuredScore | None) -> str:
    if score is None:
        return "-"
    value, interval, _ = _cells(score)
    return value if interval == "-" else f"{value} ({interval})"
