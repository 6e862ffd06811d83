"""Columns that slices of scored studies are chosen by: those of a file, and what the texts themselves say."""

import io
from collections.abc import Sequence
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
from trrg_core.storage.given_file import MAX_TEXTS_BYTES, read_given_file

Chosen = npt.NDArray[np.bool_]


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
    if len(set(table.column_names)) < table.num_columns:
        raise ConfigError(f"{path}: two columns have the same name")
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


def affirmed_findings(references: Sequence[str], label_set: LabelSet) -> Chosen:
    """Which findings each reference affirms, `[N,O]`, "No Finding" left out."""
    findings = [name for name in label_set.observations if name != label_set.no_finding]
    labels = [report.labels for report in ReportParser(label_set).parse_many(references)]
    return np.array([[row[name] is Label.POSITIVE for name in findings] for row in labels])


def _read(path: str) -> pa.Table:
    as_text = dict.fromkeys(ID_COLUMNS, pa.string())
    lower = path.lower()
    source = io.BytesIO(read_given_file(path, "--columns", max_bytes=MAX_TEXTS_BYTES))
    try:
        if lower.endswith((".parquet", ".pq")):
            return pyarrow.parquet.read_table(source)
        if lower.endswith((".jsonl", ".json", ".ndjson")):
            return pyarrow.json.read_json(source)
        return pyarrow.csv.read_csv(
            source,
            parse_options=pyarrow.csv.ParseOptions(delimiter="\t" if lower.endswith(".tsv") else ","),
            convert_options=pyarrow.csv.ConvertOptions(column_types=as_text, strings_can_be_null=True),
        )
    except (OSError, pa.ArrowException):
        # not chained: the message may quote a cell
        kind = Path(path).suffix or "no suffix"
        raise ConfigError(f"{path}: not a CSV, JSON lines or Parquet file ({kind})") from None
