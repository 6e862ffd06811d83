"""Labelers against the radiologists' labels of MIMIC-CXR-JPG: positive, negative and uncertain F1 by observation.

`python -m infra.bench.labeled_test_set GOLD NAME=LABELS ... --studies CSV`. GOLD is the labelled set with a column
`study_id`; LABELS has one column per observation in the order and values of CheXbert (blank, 1, 0, -1), its rows in the
order of `--studies`, a CSV file with a column `study_id`. It prints numbers, never text.
"""

import argparse
import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from trrg_core.report.chexbert import COLUMNS

VALUES = {"positive": "1", "negative": "0", "uncertain": "-1"}
# GOLD says "Airspace Opacity" for what the labelers call "Lung Opacity"
_OTHER_NAMES = {"Airspace Opacity": "Lung Opacity"}
Rows = Mapping[str, Mapping[str, str]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table; returns 1 when a labeler lacks a labelled study."""
    parser = argparse.ArgumentParser(prog="python -m infra.bench.labeled_test_set", description=__doc__)
    parser.add_argument("gold", type=Path)
    parser.add_argument("labelers", nargs="+", metavar="NAME=LABELS")
    parser.add_argument("--studies", type=Path, required=True)
    given = parser.parse_args(arguments)
    gold = {row["study_id"]: normal(row) for row in _read(given.gold)}
    order = [row["study_id"] for row in _read(given.studies)]
    table = Table("labeler", *(f"{name} F1, macro / micro" for name in VALUES), "studies")
    missing = 0
    for labeler in given.labelers:
        name, _, path = labeler.partition("=")
        rows = dict(zip(order, map(normal, _read(Path(path))), strict=True))
        missing += len(gold.keys() - rows.keys())
        shared = {study: labels for study, labels in gold.items() if study in rows}
        scores = [score(shared, rows, value) for value in VALUES.values()]
        table.add_row(name, *(f"{macro:.3f} / {micro:.3f}" for macro, micro in scores), str(len(shared)))
    Console(width=120).print(table)
    if missing:
        print(f"{missing} labelled studies have no row in --studies")
    return 1 if missing else 0


def normal(row: Mapping[str, str]) -> dict[str, str]:
    """The 14 labels of a row as "1", "0", "-1" or ""; "1.0" is "1"."""
    named = {_OTHER_NAMES.get(name, name): value for name, value in row.items()}
    return {name: str(int(float(named[name]))) if named.get(name) else "" for name in COLUMNS}


def score(gold: Rows, rows: Rows, value: str) -> tuple[float, float]:
    """(macro F1 over the observations that GOLD has with `value`, micro F1 over all) of the label `value`."""
    counts = {name: _count(name, gold, rows, value) for name in COLUMNS}
    stated = [_f1(*count) for count in counts.values() if count[0] + count[2]]
    totals = [sum(count[at] for count in counts.values()) for at in range(3)]
    return (sum(stated) / len(stated) if stated else 0.0), _f1(*totals)


def _count(name: str, gold: Rows, rows: Rows, value: str) -> tuple[int, int, int]:
    pairs = [(labels[name] == value, rows[study][name] == value) for study, labels in gold.items()]
    return pairs.count((True, True)), pairs.count((False, True)), pairs.count((True, False))


def _f1(true: int, false: int, missed: int) -> float:
    return 2 * true / (2 * true + false + missed) if true + false + missed else 0.0


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    sys.exit(main())
