"""Pairs of two files -> all scores, beside those of the most frequent reference, as a whole and by slice."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from trrg_core.config.gate_settings import GateConfig
from trrg_core.labels import LabelSet
from trrg_core.metrics.bootstrap import draw_weights
from trrg_core.metrics.floors import modal_report
from trrg_core.metrics.nlg import LanguageOptions
from trrg_core.metrics.outside.outside_scores import OutsideScores, score_outside
from trrg_core.metrics.outside.outside_settings import OutsideSettings
from trrg_core.metrics.report_files.comparison import Difference, compare_systems
from trrg_core.metrics.report_files.measured_reports import ASSERTING, MeasuredScore, measure_reports, summarise
from trrg_core.metrics.report_files.report_pairs import ReportPairs
from trrg_core.metrics.systems import TruthRate

FLOOR = "most frequent reference"

# names under which other tools know a score: the JSON has both
_MEASURES = {"rouge_l": "rougeL"}
_PROTOCOLS = {"full": "ptb"}


@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """How files are scored.

    Args:
        language: protocols of the language scores.
        label_set: the observations of the clinical scores; None for language scores alone.
        resamples: bootstrap resamples; 0 gives no intervals.
        seed: of the resamples.
    """

    language: LanguageOptions
    label_set: LabelSet | None
    resamples: int = 1000
    seed: int = 7


@dataclass(frozen=True, kw_only=True)
class ScoredSlice:
    """The scores of some of the pairs."""

    name: str
    num_pairs: int
    scores: Mapping[str, MeasuredScore]


@dataclass(frozen=True, kw_only=True)
class FileScores:
    """The scores of a file of predictions.

    `floor` are those of one constant report, the most frequent reference. `warnings` say why the scores may not mean
    what they seem to. `outside` are the names of scores of others.
    """

    pairs: ReportPairs
    scores: Mapping[str, MeasuredScore]
    absent: Mapping[str, str]
    floor: Mapping[str, MeasuredScore]
    warnings: tuple[str, ...]
    outside: tuple[str, ...] = ()
    slices: tuple[ScoredSlice, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """All of it as plain JSON values; a score has every name that it is known by."""
        return {
            "metrics": scores_to_json(self.scores),
            "absent": dict(self.absent),
            "floor": {"system": FLOOR, "metrics": scores_to_json(self.floor)},
            "slices": [
                {"name": one.name, "n": one.num_pairs, "metrics": scores_to_json(one.scores)} for one in self.slices
            ],
            "warnings": list(self.warnings),
            "pairs": self.pairs.to_json(),
        }


def scores_to_json(scores: Mapping[str, MeasuredScore]) -> dict[str, dict[str, Any]]:
    """Scores by every name that they are known by."""
    return {name: asdict(score) for known, score in scores.items() for name in spellings(known)}


def spellings(name: str) -> list[str]:
    """The names of a score: `rouge_l.full` is `rougeL.full`, `rouge_l.ptb` and `rougeL.ptb` too."""
    measure, _, protocol = name.rpartition(".")
    measures = [measure, *([_MEASURES[measure]] if measure in _MEASURES else [])]
    protocols = [protocol, *([_PROTOCOLS[protocol]] if protocol in _PROTOCOLS else [])]
    return [f"{one}.{other}" for one in measures for other in protocols] if measure else [name]


def canonical_name(name: str) -> str:
    """The name of this project for a score, from any of its `spellings`."""
    measure, _, protocol = name.rpartition(".")
    measures, protocols = ({other: one for one, other in names.items()} for names in (_MEASURES, _PROTOCOLS))
    return f"{measures.get(measure, measure)}.{protocols.get(protocol, protocol)}" if measure else name


def score_pairs(
    pairs: ReportPairs,
    options: FileOptions,
    *,
    slices: Mapping[str, npt.NDArray[np.bool_]] | None = None,
    outside: OutsideSettings | None = None,
    notify: Callable[[str], None] = lambda step: None,
) -> FileScores:
    """All scores of pairs of reports.

    Args:
        pairs: references and hypotheses.
        options: how they are scored.
        slices: which pairs belong to each slice, `[N]`; empty ones are left out.
        outside: programs of metrics of others, which score the whole.
        notify: is called with the name of each step that takes long.
    """
    constant = [modal_report(pairs.references)] * len(pairs.ids)
    system, floor = measure_reports(
        pairs.references,
        [pairs.hypotheses, constant],
        language=options.language,
        label_set=options.label_set,
        notify=notify,
    )
    notify(f"{options.resamples} resamples of {pairs.unit}")
    weights = draw_weights(pairs.subject_ids, num_samples=options.resamples, seed=options.seed)
    whole = np.ones(len(pairs.ids), dtype=bool)
    scores, absent = summarise(system, weights, whole)
    others = OutsideScores(scores={}, absent={})
    if outside is not None:
        notify(f"metrics of others: {', '.join(outside.metrics)}")
        others = score_outside(pairs, outside, weights)
    of_floor, _ = summarise(floor, weights[:0], whole)
    return FileScores(
        pairs=pairs,
        scores={**scores, **others.scores},
        absent={**absent, **others.absent},
        outside=tuple(others.scores),
        floor=of_floor,
        warnings=tuple(_warnings(pairs, scores)),
        slices=tuple(
            ScoredSlice(name=name, num_pairs=int(chosen.sum()), scores=summarise(system, weights, chosen)[0])
            for name, chosen in (slices or {}).items()
            if chosen.any()
        ),
    )


@dataclass(frozen=True, kw_only=True)
class ComparedSlice:
    """The differences of two systems on some of the studies."""

    name: str
    num_pairs: int
    differences: Mapping[str, Difference]


@dataclass(frozen=True, kw_only=True)
class FileComparison:
    """Two systems on the studies that both have predicted: as a whole, then by slice."""

    pairs: tuple[ReportPairs, ReportPairs]
    differences: Mapping[str, Difference]
    slices: tuple[ComparedSlice, ...]
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """All of it as plain JSON values."""
        return {
            "differences": {name: asdict(one) for name, one in self.differences.items()},
            "slices": [
                {
                    "name": one.name,
                    "n": one.num_pairs,
                    "differences": {name: asdict(difference) for name, difference in one.differences.items()},
                }
                for one in self.slices
            ],
            "warnings": list(self.warnings),
            "pairs": [one.to_json() for one in self.pairs],
        }


def compare_pairs(
    first: ReportPairs,
    second: ReportPairs,
    options: FileOptions,
    *,
    names: Sequence[str],
    slices: Mapping[str, npt.NDArray[np.bool_]] | None = None,
    notify: Callable[[str], None] = lambda step: None,
) -> FileComparison:
    """The paired differences of two systems on the same studies.

    Args:
        first: pairs of a system.
        second: pairs of another, of the same studies (`pair_two`).
        options: how both are scored.
        names: the scores to compare.
        slices: which studies belong to each slice, `[N]`; empty ones are left out.
        notify: is called with the name of each step that takes long.
    """
    ours, theirs = measure_reports(
        first.references,
        [first.hypotheses, second.hypotheses],
        language=options.language,
        label_set=options.label_set,
        notify=notify,
    )
    notify(f"{options.resamples} resamples of {first.unit}")
    weights = draw_weights(first.subject_ids, num_samples=options.resamples, seed=options.seed)
    chosen = {"": np.ones(len(first.ids), dtype=bool)} | dict(slices or {})
    compared = {
        name: ComparedSlice(
            name=name,
            num_pairs=int(rows.sum()),
            differences=compare_systems(ours, theirs, weights, rows, names=names),
        )
        for name, rows in chosen.items()
        if rows.any()
    }
    whole = np.ones(len(first.ids), dtype=bool)
    warnings = [
        f"{which}: {text}"
        for which, pairs, system in (("A", first, ours), ("B", second, theirs))
        for text in _warnings(pairs, summarise(system, weights[:0], whole)[0])
    ]
    return FileComparison(
        pairs=(first, second),
        differences=compared[""].differences,
        slices=tuple(one for name, one in compared.items() if name),
        warnings=tuple(warnings),
    )


def _warnings(pairs: ReportPairs, scores: Mapping[str, MeasuredScore]) -> list[str]:
    bounds = GateConfig()
    warnings = []
    modal, distinct = scores[TruthRate.MODAL_SHARE].value, scores[TruthRate.DISTINCT_SHARE].value
    if len(pairs.ids) > 1 and (modal > bounds.max_modal_share or distinct < bounds.min_distinct_share):
        warnings.append(
            f"collapsed: one report is {modal:.0%} of the predictions, {distinct:.1%} are distinct; "
            "such a system cannot depend on the image, whatever its scores"
        )
    if ASSERTING in scores and scores[ASSERTING].value < bounds.min_parsed_share:
        warnings.append(
            f"only {scores[ASSERTING].value:.0%} of the predictions state any finding that the parser knows"
        )
    if pairs.empty_predictions:
        warnings.append(
            f"{len(pairs.empty_predictions)} predictions are null or blank; they are scored as empty reports"
        )
    if pairs.empty_references:
        warnings.append(f"{len(pairs.empty_references)} references are null or blank; their studies are not scored")
    for ids, text in ((pairs.only_referenced, "prediction"), (pairs.only_predicted, "reference")):
        if ids:
            warnings.append(f"{len(ids)} ids have no {text} and are not scored: {_sample(ids)}")
    if pairs.set_aside:
        warnings.append(f"{len(pairs.set_aside)} rows were set aside: {_count_reasons(pairs)}")
    return warnings


def _sample(ids: tuple[str, ...], most: int = 10) -> str:
    return ", ".join(ids[:most]) + (f" and {len(ids) - most} more" if len(ids) > most else "")


def _count_reasons(pairs: ReportPairs) -> str:
    counts: dict[tuple[str, str], int] = {}
    for path, _, reason in pairs.set_aside:
        counts[path, reason] = counts.get((path, reason), 0) + 1
    return ", ".join(f"{count} {reason} in {path}" for (path, reason), count in counts.items())
