"""A version of any table of studies -> the columns that a contract checks, as a label table; no text is kept.

Columns that a table does not have are left out, so that a contract on them is refused and not answered with "none".
"""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from trrg_core.errors import ConfigError
from trrg_core.label_stats.label_table import LabelTable, label_table
from trrg_core.label_stats.labelled_version import read_labelled_version
from trrg_core.storage.store import Store
from trrg_core.tables.arrow_numpy import text_scalar
from trrg_core.tables.delta import file_paths, read_table
from trrg_core.tables.parquet import read_file
from trrg_core.tables.schema import SHARD_SENTENCE, TEXT
from trrg_core.tables.slice_reader import SliceReader
from trrg_core.tables.table_ref import TableRef

_IDS = ("subject_id", "study_id", "split")
# a leaf, so that no pixel is read
_STUDY_COLUMNS = (*_IDS, "prior_study_id", "sex", "age_years", "images.list.element.view_position")
_OF_STUDIES = (*_IDS, "has_prior", "sex", "age_years", "age_band", "num_views", "view_positions", "frontal")
_NOT_IN_REPORTS = ("has_prior", "sex", "age_years", "age_band", "num_views", "view_positions", "frontal")


@dataclass(frozen=True, kw_only=True)
class CheckedVersion:
    """The columns of a version that can be checked; of a slice those of its base, and how often it has each study."""

    ref: TableRef
    labels: LabelTable
    slice_reader: SliceReader | None = None


def read_checked_version(store: Store, ref: TableRef, *, label_set: str = "") -> CheckedVersion:
    """What a contract can check of a version of any table but `rejects`.

    `studies` have no labels, `reports` no views, sex and age, `predictions` neither.

    Raises:
        ConfigError: for a version of `rejects`, or labels of no known set.
        StorageError: naming the file that cannot be read.
    """
    if ref.name == "rejects":
        raise ConfigError("rejects are not studies: give a version of studies, reports, shards, slices or predictions")
    if ref.name == "predictions":
        return CheckedVersion(ref=ref, labels=LabelTable(rows=read_table(store, ref, columns=_IDS), observations=()))
    if ref.name == "studies":
        return CheckedVersion(ref=ref, labels=_read_studies(store, ref))
    version = read_labelled_version(store, ref, label_set=label_set)
    labels = version.table
    if ref.name == "reports":
        labels = LabelTable(rows=labels.rows.drop_columns(list(_NOT_IN_REPORTS)), observations=labels.observations)
    return CheckedVersion(ref=ref, labels=labels, slice_reader=version.slice_reader)


def _read_studies(store: Store, ref: TableRef) -> LabelTable:
    rows = pa.concat_tables([read_file(store, path, _STUDY_COLUMNS) for path in file_paths(store, ref)])
    columns: dict[str, Any] = {name: rows[name] for name in (*_IDS, "sex", "age_years")}
    priors: Any = rows["prior_study_id"]
    columns["has_prior"] = pc.not_equal(priors.fill_null(text_scalar("")), text_scalar(""))
    columns["views"] = rows["images"]
    # a study has neither facts nor labels yet
    columns["report"] = pa.array([""] * rows.num_rows, TEXT)
    columns["sentences"] = pa.array([[]] * rows.num_rows, pa.list_(SHARD_SENTENCE))
    columns["labels"] = pa.array([None] * rows.num_rows, pa.struct([]))
    return LabelTable(rows=label_table(pa.table(columns), ()).rows.select(_OF_STUDIES), observations=())
