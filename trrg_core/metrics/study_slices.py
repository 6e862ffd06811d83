"""Scores by slice: of the studies by view, sex, age, prior, length of the reference, rare findings, or any choice.

Which studies are in a slice comes in, F1 and the truth score of each with intervals go out. The patients are drawn as
for the whole split, so that a slice of few of them has a wide interval.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from trrg_core.labels import column_name
from trrg_core.metrics.outcomes import Column, Counts, Outcome, OutcomeTable, outcome_column
from trrg_core.metrics.paired import Estimate, Pooled, Resampler, Score, f1_or_nothing, share_of
from trrg_core.metrics.systems import System

# in the folder of an `evaluate` run
SLICES_FILE = "slices.json"

Chosen = npt.NDArray[np.bool_]

_VIEWS, _SEXES = ("view_position", "view", "views"), ("sex", "gender", "patient_sex")
_AGES, _PRIORS = ("age", "age_years", "patient_age"), ("has_prior", "prior")
_AGE_BOUNDS = (0, 40, 65, 200)
_MOST_VALUES = 8
# of the references: an observation that fewer of them affirm is rare
_RARE_SHARE = 0.02
_TRUTH = share_of(Column.TRUTH_AGREED, Column.TRUTH_STATED)


@dataclass(frozen=True, kw_only=True)
class SliceGain:
    """The champion's micro-F1 and truth score of a slice, and how much more the model has, on the same studies."""

    micro_f1: float
    micro_f1_gain: Estimate
    truth_score: float
    truth_score_gain: Estimate


@dataclass(frozen=True, kw_only=True)
class SliceScores:
    """A slice: its studies, patients and positive references, and the model's scores beside the nearest neighbour's.

    An interval that cannot be computed has NaN at its ends; a score of nothing is NaN. `champion` is None where no
    champion was compared.
    """

    name: str
    num_studies: int
    num_patients: int
    num_positive: int
    micro_f1: Estimate
    truth_score: Estimate
    floor_f1: float
    champion: SliceGain | None = None

    def to_json(self) -> dict[str, Any]:
        """The slice as plain values; what is not a number is None."""
        return {key: _plain(value) for key, value in asdict(self).items()}


def study_columns(
    shards: Sequence[Mapping[str, Any]], hypotheses: Sequence[str], affirmed_NO: Chosen, findings: Sequence[str]
) -> pa.Table:
    """The columns that slices of a run are chosen by, a row per study.

    Args:
        shards: the row of `shards` of each study.
        hypotheses: the generated report of each.
        affirmed_NO: which findings each reference affirms.
        findings: names of the findings; each is a column of its own, `pleural_effusion`.
    """
    named = ("study_id", "subject_id", "sex", "age_years", "has_prior")
    views = ["+".join(sorted({view["view_position"] or "unknown" for view in row["views"]})) for row in shards]
    return pa.table(
        {name: [row[name] for row in shards] for name in named}
        | {
            "view_position": views,
            "reference_words": [len(row["report"].split()) for row in shards],
            "hypothesis_words": [len(text.split()) for text in hypotheses],
        }
        | {column_name(name): affirmed_NO[:, at].tolist() for at, name in enumerate(findings)}
    )


def affirmed_by_references(table: OutcomeTable) -> Chosen:
    """Which findings the reference of each study affirms, `[N,O]`."""
    counts, columns = table.counts[System.MODEL], table.columns
    found, missed = (
        counts[:, [columns.index(outcome_column(outcome, name)) for name in table.findings]]
        for outcome in (Outcome.TRUE_POSITIVE, Outcome.FALSE_NEGATIVE)
    )
    return np.asarray(found + missed > 0)


def built_in_slices(rows: pa.Table, affirmed_NO: Chosen | None) -> dict[str, Chosen]:
    """Which studies are in each usual slice, `[N]`; empty slices are left out.

    Args:
        rows: columns of the studies, with `reference_words`; others are used where they are there.
        affirmed_NO: which findings each reference affirms; None makes no slice of rare findings.
    """
    slices: dict[str, Chosen] = {}
    for kind, names in (("view", _VIEWS), ("sex", _SEXES), ("prior", _PRIORS)):
        slices |= {f"{kind} {value}": chosen for value, chosen in _by_value(rows, names)}
    slices |= dict(_by_age(rows))
    slices |= dict(_by_length(rows["reference_words"].to_numpy()))
    if affirmed_NO is not None:
        slices["rare findings"] = np.asarray(affirmed_NO[:, affirmed_NO.mean(axis=0) < _RARE_SHARE].any(axis=1))
    return {name: chosen for name, chosen in slices.items() if chosen.any()}


def score_slices(
    table: OutcomeTable,
    slices: Mapping[str, Chosen],
    *,
    num_samples: int,
    seed: int,
    champion: Counts | None = None,
) -> tuple[SliceScores, ...]:
    """The scores of each slice, with intervals of 95 % by resampling patients.

    Args:
        table: outcomes of the model and of the nearest neighbour.
        slices: which studies belong to each, `[N]` in the order of the table.
        num_samples: number of resamples; 0 gives no intervals.
        seed: of the resamples.
        champion: the champion's counts of the same studies, in the order of the table; None compares with none.
    """
    resampler = Resampler(table.subject_ids, num_samples=num_samples, seed=seed, confidence=0.95)
    subjects = np.asarray(table.subject_ids)
    found = []
    for name, chosen in slices.items():
        model, floor = (
            resampler.pool(table.counts[system] * chosen[:, None], table.findings)
            for system in (System.MODEL, System.NEAREST_NEIGHBOUR)
        )
        other = None if champion is None else resampler.pool(champion * chosen[:, None], table.findings)
        found.append(
            SliceScores(
                name=name,
                num_studies=int(chosen.sum()),
                num_patients=len(set(subjects[chosen])),
                num_positive=count_expected(model),
                micro_f1=_estimate(resampler, model, f1_or_nothing),
                truth_score=_estimate(resampler, model, _TRUTH),
                floor_f1=float(f1_or_nothing(floor)[0]),
                champion=_gain(resampler, model, other) if other else None,
            )
        )
    return tuple(found)


def count_expected(pooled: Pooled) -> int:
    """Findings that the references affirm, over all studies."""
    return int(sum(pooled.outcomes(outcome)[0].sum() for outcome in (Outcome.TRUE_POSITIVE, Outcome.FALSE_NEGATIVE)))


def _gain(resampler: Resampler, model: Pooled, champion: Pooled) -> SliceGain:
    f1, truth = (_estimate(resampler, model, score, minus=champion) for score in (f1_or_nothing, _TRUTH))
    return SliceGain(
        micro_f1=float(f1_or_nothing(champion)[0]),
        micro_f1_gain=f1,
        truth_score=float(_TRUTH(champion)[0]),
        truth_score_gain=truth,
    )


def _estimate(resampler: Resampler, pooled: Pooled, score: Score, *, minus: Pooled | None = None) -> Estimate:
    values: Counts = score(pooled) if minus is None else score(pooled) - score(minus)
    if len(values) == 1:
        return Estimate(value=float(values[0]), low=float("nan"), high=float("nan"))
    return resampler.interval(values)


def _by_value(rows: pa.Table, names: Sequence[str]) -> Iterator[tuple[str, Chosen]]:
    name = next((name for name in names if name in rows.column_names), None)
    if name is None:
        return
    values = ["" if value is None else str(value) for value in rows[name].to_pylist()]
    counts: Mapping[str, int] = {value: values.count(value) for value in set(values) if value}
    for value in sorted(counts, key=lambda value: (-counts[value], value))[:_MOST_VALUES]:
        yield value, np.array([one == value for one in values])


def _by_age(rows: pa.Table) -> Iterator[tuple[str, Chosen]]:
    name = next((name for name in _AGES if name in rows.column_names), None)
    if name is None:
        return
    ages = np.array([_number(value) for value in rows[name].to_pylist()])
    for low, high in pairwise(_AGE_BOUNDS):
        label = f"age {low}+" if high == _AGE_BOUNDS[-1] else f"age {low} to {high - 1}"
        yield label, (ages >= low) & (ages < high)


def _by_length(words: npt.NDArray[np.int64]) -> Iterator[tuple[str, Chosen]]:
    low, high = np.quantile(words, [1 / 3, 2 / 3])
    yield f"up to {int(low)} words", words <= low
    yield f"{int(low) + 1} to {int(high)} words", (words > low) & (words <= high)
    yield f"over {int(high)} words", words > high


def _number(value: object) -> float:
    # MIMIC-CXR and DICOM write ages such as 063Y
    text = str(value).strip().rstrip("Yy")
    return float(text) if text.replace(".", "", 1).isdigit() else float("nan")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return None if isinstance(value, float) and not np.isfinite(value) else value
