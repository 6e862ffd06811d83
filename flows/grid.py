"""The runs of a sweep: every combination of settings with every seed, and their scores side by side."""

import itertools
import json
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from trrg_core.errors import ConfigError
from trrg_core.labels import load_label_set
from trrg_core.metrics.systems import System, headline, scores_by_system

MAX_RUNS = 32
SHOWN = 6


def combinations(grid: Mapping[str, Sequence[Any]], seeds: Sequence[int]) -> list[tuple[str, list[str]]]:
    """The name and the settings of each run.

    Raises:
        ConfigError: for a setting without values, or more than `MAX_RUNS` runs.
    """
    empty = [key for key, values in grid.items() if not values]
    if empty:
        raise ConfigError(f"sweep: {empty[0]} has no values; expected a list, e.g. {empty[0]}: [1, 2]")
    sets = [
        [f"{key}={json.dumps(value)}" for key, value in zip(grid, values, strict=True)]
        for values in itertools.product(*grid.values())
    ]
    if len(sets) * len(seeds) > MAX_RUNS:
        raise ConfigError(f"sweep: {len(sets)} combinations with {len(seeds)} seeds, at most {MAX_RUNS} runs")
    return [
        (", ".join([*(words or ["as it is"]), f"seed={seed}"]), [*words, f"seed={seed}"])
        for words in sets
        for seed in seeds
    ]


def score_rows(results: Mapping[str, Mapping[str, Any]], label_set: str = "chexpert14") -> list[dict[str, str]]:
    """One row per combination: the mean over its seeds of the first scores, and their range."""
    groups: dict[str, list[Mapping[str, float]]] = {}
    for name, result in results.items():
        scores = scores_by_system(result["counts"]).get(System.MODEL, {})
        groups.setdefault(name.rpartition(", seed=")[0], []).append(scores)
    known = {name for runs in groups.values() for scores in runs for name in scores}
    names = [name for name in headline(load_label_set(label_set)) if name in known]
    rows = []
    for group, runs in groups.items():
        row = {"settings": group, "seeds": str(len(runs))}
        for name in names[:SHOWN]:
            values = [scores[name] for scores in runs if name in scores]
            row[name] = f"{statistics.fmean(values):.3f} ({min(values):.3f} to {max(values):.3f})" if values else "-"
        rows.append(row)
    return rows
