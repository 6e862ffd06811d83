"""A version of `reports`, `shards` or `slices` -> its label table and report texts, each file read once.

The studies of a slice are those of its base; its slice reader gives the number of repeats of each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from trrg_core.errors import ConfigError
from trrg_core.label_stats.label_table import LabelTable, label_table
from trrg_core.label_stats.label_table_cache import read_label_columns
from trrg_core.labels import column_name, load_label_set
from trrg_core.storage.store import Store
from trrg_core.tables.arrow_numpy import text_scalar
from trrg_core.tables.commit_history import find_commit
from trrg_core.tables.delta import read_schema, read_table
from trrg_core.tables.rows.report_row import sentence_facts
from trrg_core.tables.schema import AGE, TEXT, VIEW
from trrg_core.tables.slice_reader import SliceReader
from trrg_core.tables.table_ref import TableRef

SHIPPED_SETS = ("chexpert14", "nih14")


@dataclass(frozen=True, kw_only=True)
class LabelledVersion:
    """The labels and texts of a version.

    Attributes:
        ref: the version.
        table: its label table; of a slice, that of its base.
        texts: columns `study_id`, `split` and `text`, one row per row of `table`, in file order.
        slice_reader: repeats of each study; None where each study counts once.
    """

    ref: TableRef
    table: LabelTable
    texts: pa.Table
    slice_reader: SliceReader | None = None

    def split_texts(self, split: str) -> list[str]:
        """The report texts of a split, each as often as its study is in the version: to be counted, never shown."""
        rows = self.texts.filter(pc.equal(self.texts["split"], text_scalar(split)))
        texts: list[Any] = rows["text"].to_pylist()
        if self.slice_reader is None:
            return texts
        repeats = self.slice_reader.repeats(rows["study_id"]).tolist()
        return [text for text, repeat in zip(texts, repeats, strict=True) for _ in range(repeat)]


@dataclass(frozen=True, kw_only=True)
class _Base:
    table: LabelTable
    texts: pa.Table


def read_labelled_version(store: Store, ref: TableRef, *, label_set: str = "") -> LabelledVersion:
    """The labels and texts of a version of `reports`, `shards` or `slices`.

    Args:
        store: that holds the version.
        ref: the version.
        label_set: name or YAML file of the label set; empty: the shipped set that has the columns of the version.

    Raises:
        ConfigError: for another table, or labels of no known set.
    """
    (version,) = read_labelled_versions(store, (ref,), label_set=label_set)
    return version


def read_labelled_versions(
    store: Store, refs: Sequence[TableRef], *, label_set: str = ""
) -> tuple[LabelledVersion, ...]:
    """The labels and texts of several versions; a base that they share is read once. Raises as for one."""
    bases: dict[TableRef, _Base] = {}
    versions = []
    for ref in refs:
        base = _base_of(store, ref) if ref.name == "slices" else ref
        slice_reader = SliceReader(read_table(store, ref)) if ref.name == "slices" else None
        if base.name not in ("reports", "shards"):
            raise ConfigError(f"{ref} has no labels: give a version of reports, shards or slices")
        if base not in bases:
            bases[base] = _read_base(store, base, label_set)
        versions.append(
            LabelledVersion(ref=ref, table=bases[base].table, texts=bases[base].texts, slice_reader=slice_reader)
        )
    return tuple(versions)


def find_observations(store: Store, ref: TableRef, label_set: str = "") -> tuple[str, ...]:
    """The observations that the `labels` column of a version has.

    Raises:
        ConfigError: if they are not those of `label_set`, or of no shipped set.
    """
    labels_type: Any = read_schema(store, ref).field("labels").type
    columns = [labels_type.field(index).name for index in range(labels_type.num_fields)]
    for name in (label_set,) if label_set else SHIPPED_SETS:
        observations = load_label_set(name).observations
        if [column_name(observation) for observation in observations] == columns:
            return observations
    tried = label_set or " nor of ".join(SHIPPED_SETS)
    raise ConfigError(f"the labels of {ref} are not of {tried}: give the set they were made with (--label-set)")


def _base_of(store: Store, ref: TableRef) -> TableRef:
    parents = [parent for parent in find_commit(store, ref).parents if parent.startswith("shards@")]
    if not parents:
        raise ConfigError(f"{ref} names no version of shards that it is a slice of")
    return TableRef.parse(parents[0])


def _read_base(store: Store, base: TableRef, label_set: str) -> _Base:
    observations = find_observations(store, base, label_set)
    # not the copy of the label table in the store: verbs that only show data write nothing
    rows = read_label_columns(store, base) if base.name == "shards" else _read_reports(store, base)
    reports: Any = rows["report"]
    texts = rows.select(["study_id", "split"]).append_column("text", reports.fill_null(text_scalar("")))
    return _Base(table=label_table(rows, observations), texts=texts)


def _read_reports(store: Store, reports: TableRef) -> pa.Table:
    """The columns of `shards` that a label table needs, for a version of `reports`."""
    columns = ("subject_id", "study_id", "split", "labels", "findings", "impression", "sentences")
    rows = read_table(store, reports, columns=columns)
    texts = pc.binary_join_element_wise(rows["findings"], rows["impression"], text_scalar(" "), null_handling="skip")
    # a report alone has no data on the images and the patient
    unknown: dict[str, Any] = {
        "has_prior": pa.array([None] * rows.num_rows, pa.bool_()),
        "sex": pa.array([""] * rows.num_rows, TEXT),
        "age_years": pa.array([None] * rows.num_rows, AGE),
        "views": pa.array([[]] * rows.num_rows, pa.list_(VIEW)),
    }
    known: dict[str, Any] = {name: rows[name] for name in ("subject_id", "study_id", "split", "labels")}
    return pa.table({**known, **unknown, "report": texts, "sentences": sentence_facts(rows["sentences"])})
