"""A version of `reports`, `shards` or `slices` -> its label table and, on demand, the counts of its words.

Texts are read one file at a time and never held together. The studies of a slice are those of its base; its slice
reader gives the number of repeats of each.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from trrg_core.errors import ConfigError
from trrg_core.label_stats.label_table import LabelTable, check_columns, join_label_tables, label_rows
from trrg_core.label_stats.label_table_cache import read_label_table
from trrg_core.label_stats.word_sketch import WordSketch
from trrg_core.labels import column_name, load_label_set
from trrg_core.storage.store import Store
from trrg_core.tables.arrow_numpy import text_scalar
from trrg_core.tables.commit_history import find_commit
from trrg_core.tables.delta import file_paths, read_schema, read_table
from trrg_core.tables.parquet import read_file
from trrg_core.tables.rows.report_row import sentence_facts
from trrg_core.tables.schema import AGE, TEXT, VIEW
from trrg_core.tables.slice_reader import SliceReader
from trrg_core.tables.table_ref import TableRef

SHIPPED_SETS = ("chexpert14", "nih14", "cxr-lt", "padchest", "vindr")
_REPORT_COLUMNS = ("subject_id", "study_id", "split", "labels", "findings", "impression", "sentences")
_FILLED_OF_REPORTS = ("subject_id", "study_id", "split", "sentences")


@dataclass(frozen=True, kw_only=True)
class LabelledVersion:
    """The labels of a version, and access to its texts.

    Attributes:
        store: that holds the version.
        ref: the version.
        base: the version of `reports` or `shards` that has its labels and texts; of a slice, what it is a slice of.
        table: the label table of `base`.
        slice_reader: repeats of each study; None where each study counts once.
    """

    store: Store
    ref: TableRef
    base: TableRef
    table: LabelTable
    slice_reader: SliceReader | None = None

    def count_words(self, split: str) -> WordSketch:
        """The words of the reports of a split, each report as often as its study is in the version."""
        words = WordSketch.empty()
        read = _shard_texts if self.base.name == "shards" else _report_texts
        for path in file_paths(self.store, self.base, split=split):
            rows = read(self.store, path)
            rows = rows.filter(pc.equal(rows["split"], text_scalar(split)))
            repeats = None if self.slice_reader is None else self.slice_reader.repeats(rows["study_id"])
            words.add(rows["text"], repeats)
        return words


def read_labelled_version(store: Store, ref: TableRef, *, label_set: str = "") -> LabelledVersion:
    """The labels of a version of `reports`, `shards` or `slices`; no text is held.

    Args:
        store: that holds the version.
        ref: the version.
        label_set: name or YAML file of the label set; empty: the shipped set that has the columns of the version.

    Raises:
        ConfigError: for another table, or labels of no known set.
    """
    (version,) = read_labelled_versions(store, (ref,), label_set=label_set)
    return version


def read_labelled_versions(store: Store, refs: Sequence[TableRef], *, label_set: str = "") -> Iterator[LabelledVersion]:
    """The labels of several versions, each read when it is asked for; a base that they share is read once.

    A caller that keeps no version while it asks for the next one needs memory for one. Raises as for one.
    """
    bases = [base_of(store, ref) if ref.name == "slices" else ref for ref in refs]
    tables: dict[TableRef, LabelTable] = {}
    for number, (ref, base) in enumerate(zip(refs, bases, strict=True)):
        slice_reader = SliceReader(read_table(store, ref)) if ref.name == "slices" else None
        if base.name not in ("reports", "shards"):
            raise ConfigError(f"{ref} has no labels: give a version of reports, shards or slices")
        if base not in tables:
            tables[base] = _read_table(store, base, label_set)
        yield LabelledVersion(
            store=store,
            ref=ref,
            base=base,
            table=tables[base] if base in bases[number + 1 :] else tables.pop(base),
            slice_reader=slice_reader,
        )


def find_observations(store: Store, ref: TableRef, label_set: str = "") -> tuple[str, ...]:
    """The observations that the `labels` column of a version has.

    Raises:
        ConfigError: if they are not those of `label_set`, or of no shipped set.
    """
    schema = read_schema(store, ref)
    if "labels" not in schema.names:
        raise ConfigError(f"{ref} has no column 'labels': it was not written by a job of TRRG")
    labels_type: Any = schema.field("labels").type
    columns = [labels_type.field(index).name for index in range(labels_type.num_fields)]
    for name in (label_set,) if label_set else SHIPPED_SETS:
        observations = load_label_set(name).observations
        if [column_name(observation) for observation in observations] == columns:
            return observations
    tried = label_set or " nor of ".join(SHIPPED_SETS)
    raise ConfigError(f"the labels of {ref} are not of {tried}: give the set they were made with (--label-set)")


def base_of(store: Store, ref: TableRef) -> TableRef:
    """The version of `shards` that slice `ref` is a sample of.

    Raises:
        ConfigError: if there is no such slice.
    """
    parents = [parent for parent in find_commit(store, ref).parents if parent.startswith("shards@")]
    if not parents:
        raise ConfigError(f"{ref} names no version of shards that it is a slice of")
    return TableRef.parse(parents[0])


def _read_table(store: Store, base: TableRef, label_set: str) -> LabelTable:
    observations = find_observations(store, base, label_set)
    if base.name == "shards":
        # not the copy of the label table in the store: verbs that only show data write nothing
        return read_label_table(store, base, observations)
    paths = file_paths(store, base)
    empty = iter([read_schema(store, base).empty_table()])
    files = (_read_reports(store, path) for path in paths) if paths else empty
    return join_label_tables((label_rows(_as_shards(rows), observations) for rows in files), observations)


def _read_reports(store: Store, path: str) -> pa.Table:
    rows = read_file(store, path, _REPORT_COLUMNS)
    return check_columns(rows, path, read=_REPORT_COLUMNS, filled=_FILLED_OF_REPORTS)


def _shard_texts(store: Store, path: str) -> pa.Table:
    """`study_id`, `split` and `text` of the rows of a file of `shards`."""
    rows = read_file(store, path, ("study_id", "split", "report"))
    return rows.rename_columns(["study_id", "split", "text"])


def _report_texts(store: Store, path: str) -> pa.Table:
    """As `_shard_texts`, of a file of `reports`."""
    rows = read_file(store, path, ("study_id", "split", "findings", "impression"))
    return rows.select(["study_id", "split"]).append_column("text", _text_of(rows))


def _text_of(reports: pa.Table) -> Any:
    texts = (reports["findings"], reports["impression"])
    return pc.binary_join_element_wise(*texts, text_scalar(" "), null_handling="skip")


def _as_shards(rows: pa.Table) -> pa.Table:
    """The columns of `shards` that a label table needs, for rows of `reports`."""
    # a report alone has no data on the images and the patient
    unknown: dict[str, Any] = {
        "has_prior": pa.array([None] * rows.num_rows, pa.bool_()),
        "sex": pa.array([""] * rows.num_rows, TEXT),
        "age_years": pa.array([None] * rows.num_rows, AGE),
        "views": pa.array([[]] * rows.num_rows, pa.list_(VIEW)),
    }
    known: dict[str, Any] = {name: rows[name] for name in ("subject_id", "study_id", "split", "labels")}
    return pa.table({**known, **unknown, "report": _text_of(rows), "sentences": sentence_facts(rows["sentences"])})
