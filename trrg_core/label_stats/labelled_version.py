"""The label table of any version that has labels: shards as they are, reports by their mentions, slices by their base.

A slice's studies are those of its base; the reader that comes with them says how often each is there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from trrg_core.errors import ConfigError
from trrg_core.label_stats.label_table import LabelTable, label_table
from trrg_core.label_stats.label_table_cache import read_label_table
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
class Labelled:
    """The labels of a version: its label table, the reader of a slice (None: each study once), and its base."""

    table: LabelTable
    through: SliceReader | None
    base: TableRef


def read_labelled(store: Store, ref: TableRef, *, label_set: str = "") -> Labelled:
    """The labels of a version of `reports`, `shards` or `slices`.

    Args:
        store: where it is.
        ref: the version.
        label_set: name or YAML file of the set the labels are of; empty: the shipped one that has these columns.

    Raises:
        ConfigError: for another table, or labels of no known set.
    """
    base, through = ref, None
    if ref.name == "slices":
        base, through = _base_of(store, ref), SliceReader(read_table(store, ref))
    if base.name not in ("reports", "shards"):
        raise ConfigError(f"{ref} has no labels: give a version of reports, shards or slices")
    observations = find_observations(store, base, label_set)
    # not the kept copy: who only looks writes nothing
    read = read_label_table if base.name == "shards" else _read_reports
    return Labelled(table=read(store, base, observations), through=through, base=base)


def read_texts(store: Store, labelled: Labelled, split: str) -> list[str]:
    """The report texts of a split, those of a slice as often as they are in it: to be counted, never shown."""
    columns = ("report",) if labelled.base.name == "shards" else ("findings", "impression")
    rows = read_table(store, labelled.base, columns=["study_id", "split", *columns], split=split)
    parts: list[list[Any]] = [rows[name].to_pylist() for name in columns]
    texts = [" ".join(filter(None, words)) for words in zip(*parts, strict=True)]
    if labelled.through is None:
        return texts
    repeats = labelled.through.repeats(rows["study_id"]).tolist()
    return [text for text, repeat in zip(texts, repeats, strict=True) for _ in range(repeat)]


def find_observations(store: Store, ref: TableRef, label_set: str = "") -> tuple[str, ...]:
    """The observations that the `labels` column of a version has.

    Raises:
        ConfigError: if they are not those of `label_set`, or of no shipped set.
    """
    kind: Any = read_schema(store, ref).field("labels").type
    columns = [kind.field(at).name for at in range(kind.num_fields)]
    for name in (label_set,) if label_set else SHIPPED_SETS:
        observations = load_label_set(name).observations
        if [column_name(one) for one in observations] == columns:
            return observations
    tried = label_set or " nor of ".join(SHIPPED_SETS)
    raise ConfigError(f"the labels of {ref} are not of {tried}: give the set they were made with (--label-set)")


def _base_of(store: Store, ref: TableRef) -> TableRef:
    parents = [parent for parent in find_commit(store, ref).parents if parent.startswith("shards@")]
    if not parents:
        raise ConfigError(f"{ref} names no version of shards that it is a slice of")
    return TableRef.parse(parents[0])


def _read_reports(store: Store, reports: TableRef, observations: Sequence[str]) -> LabelTable:
    columns = ("subject_id", "study_id", "split", "labels", "findings", "impression", "sentences")
    rows = read_table(store, reports, columns=columns)
    texts = pc.binary_join_element_wise(rows["findings"], rows["impression"], text_scalar(" "), null_handling="skip")
    # a report alone knows nothing of the images and the patient
    unknown: dict[str, Any] = {
        "has_prior": pa.array([None] * rows.num_rows, pa.bool_()),
        "sex": pa.array([""] * rows.num_rows, TEXT),
        "age_years": pa.array([None] * rows.num_rows, AGE),
        "views": pa.array([[]] * rows.num_rows, pa.list_(VIEW)),
    }
    known: dict[str, Any] = {name: rows[name] for name in ("subject_id", "study_id", "split", "labels")}
    facts = sentence_facts(rows["sentences"])
    return label_table(pa.table({**known, **unknown, "report": texts, "sentences": facts}), observations)
