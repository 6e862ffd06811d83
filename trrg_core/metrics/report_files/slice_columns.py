"""Columns that slices of scored studies are chosen by: those of a file, and what the texts themselves say.

The built-in slices use well-known columns where they are given: view, sex, age and prior. Length of the reference and
rare findings need none.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from trrg_core.errors import ConfigError, DataError
from trrg_core.labels import Label, LabelSet
from trrg_core.metrics.report_files.report_file import ID_COLUMNS
from trrg_core.metrics.report_files.report_pairs import ReportPairs
from trrg_core.report.parser import ReportParser

Chosen = npt.NDArray[np.bool_]

_VIEWS, _SEXES, _AGES = ("view_position", "view", "views"), ("sex", "gender", "patient_sex"), ("age", "patient_age")
_PRIORS = ("has_prior", "prior")
_AGE_BOUNDS = (0, 40, 65, 200)
_MOST_VALUES = 8
# of the references: an observation that fewer of them affirm is rare
_RARE_SHARE = 0.02


def read_columns(path: str, pairs: ReportPairs, *, id_column: str = "") -> pa.Table:
    """The rows of a file for the scored studies, in their order; null where the file has no row.

    Columns `id`, `reference_words` and `hypothesis_words` are added. An empty path gives these alone.

    Raises:
        ConfigError: if the file cannot be read or has no column of ids.
        DataError: if no scored study has a row (`no_common_ids`), or one has several (`repeated_id`).
    """
    words = {
        "reference_words": [len(text.split()) for text in pairs.references],
        "hypothesis_words": [len(text.split()) for text in pairs.hypotheses],
    }
    own = pa.table({"id": list(pairs.ids), **words})
    if not path:
        return own
    table = _read(path)
    candidates = (id_column,) if id_column else ID_COLUMNS
    column = next((name for name in candidates if name in table.column_names), None)
    if column is None:
        raise ConfigError(
            f"{path}: no column of ids: expected {' or '.join(candidates)}, found {', '.join(table.column_names)}"
        )
    place: dict[str, int] = {}
    for row, value in enumerate(table[column].to_pylist()):
        if place.setdefault(str(value), row) != row:
            raise DataError("repeated_id", f"{path}: {value} has several rows; expected one per study")
    if not any(key in place for key in pairs.ids):
        raise DataError("no_common_ids", f"{path}: none of the {len(pairs.ids)} scored studies has a row")
    rows = table.take(pa.array([place.get(key) for key in pairs.ids], type=pa.int64()))
    for name in (*own.column_names, column):
        if name in rows.column_names:
            rows = rows.drop_columns([name])
    for name in own.column_names:
        rows = rows.append_column(name, own[name])
    return rows


def built_in_slices(rows: pa.Table, pairs: ReportPairs, label_set: LabelSet | None) -> dict[str, Chosen]:
    """Slices by view, sex, age group and prior, where there are such columns; by length of the reference; and the
    studies whose reference affirms a rare finding, if labels are parsed.
    """
    slices: dict[str, Chosen] = {}
    for kind, names in (("view", _VIEWS), ("sex", _SEXES), ("prior", _PRIORS)):
        slices |= {f"{kind} {value}": chosen for value, chosen in _by_value(rows, names)}
    slices |= dict(_by_age(rows))
    slices |= dict(_by_length(rows["reference_words"].to_numpy()))
    if label_set is not None:
        slices["rare findings"] = _rare(pairs.references, label_set)
    return {name: chosen for name, chosen in slices.items() if chosen.any()}


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


def _rare(references: Sequence[str], label_set: LabelSet) -> Chosen:
    findings = [name for name in label_set.observations if name != label_set.no_finding]
    labels = [report.labels for report in ReportParser(label_set).parse_many(references)]
    positive = np.array([[row[name] is Label.POSITIVE for name in findings] for row in labels])
    return np.asarray(positive[:, positive.mean(axis=0) < _RARE_SHARE].any(axis=1))


def _number(value: object) -> float:
    # MIMIC-CXR and DICOM write ages such as 063Y
    text = str(value).strip().rstrip("Yy")
    return float(text) if text.replace(".", "", 1).isdigit() else float("nan")


def _read(path: str) -> pa.Table:
    as_text = dict.fromkeys(ID_COLUMNS, pa.string())
    lower = path.lower()
    try:
        if lower.endswith((".parquet", ".pq")):
            return pyarrow.parquet.read_table(path)
        if lower.endswith((".jsonl", ".json", ".ndjson")):
            return pyarrow.json.read_json(path)
        return pyarrow.csv.read_csv(
            path,
            parse_options=pyarrow.csv.ParseOptions(delimiter="\t" if lower.endswith(".tsv") else ","),
            convert_options=pyarrow.csv.ConvertOptions(column_types=as_text, strings_can_be_null=True),
        )
    except (OSError, pa.ArrowInvalid) as error:
        what = (
            error.strerror if isinstance(error, OSError) and error.strerror else "not a CSV, JSON lines or Parquet file"
        )
        raise ConfigError(f"{path}: {what} ({Path(path).suffix or 'no suffix'})") from None
