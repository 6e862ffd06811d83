"""`shards` + a spec -> `slices`: another sample of the same train studies, through which training reads the shards.

It computes with labels alone, so it runs in the calling process, without Ray.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.records.code_version import code_version
from pipelines.records.commit import JobOutput, TableWork, commit_output, find_existing
from pipelines.records.fingerprint import input_content
from pipelines.records.job_result import JobResult
from pipelines.running.newest_outputs import newest_outputs
from trrg_core.config.fingerprint import fingerprint
from trrg_core.errors import ConfigError, DataError
from trrg_core.label_stats.distribution import LabelCount, label_distribution
from trrg_core.label_stats.label_table import LabelTable
from trrg_core.label_stats.label_table_cache import load_label_table, read_label_table
from trrg_core.label_stats.labelled_version import base_of, find_observations
from trrg_core.slicing.plan import Slice, plan_slice
from trrg_core.slicing.recipe import read_recipe, recipe_bytes, slice_digest
from trrg_core.slicing.spec import SliceSpec
from trrg_core.storage.folders import TABLE_FOLDER
from trrg_core.storage.store import Store
from trrg_core.storage.withdrawal_lock import withdrawal_state
from trrg_core.tables.commit_history import NAME_NOTE, Commit, find_commit
from trrg_core.tables.delta import read_table
from trrg_core.tables.parquet import write_part
from trrg_core.tables.schema import SLICES
from trrg_core.tables.slice_reader import SliceReader
from trrg_core.tables.table_ref import TableRef
from trrg_core.tables.text_hash import hash_texts


@dataclass(frozen=True, kw_only=True)
class SliceJobResult:
    """A slice, and the label counts of its base and of the slice; `result` has an empty reference after a dry run.

    `spec` names its base.
    """

    base: TableRef
    spec: SliceSpec
    plan: Slice
    result: JobResult
    before: tuple[LabelCount, ...]
    after: tuple[LabelCount, ...]


def make_slice(
    store: Store, spec: SliceSpec, *, label_set: str = "", dry_run: bool = False, strict: bool = False
) -> SliceJobResult:
    """Compile `spec` into a slice of its base, and commit it unless `dry_run`, or `strict` and a target is missed.

    Raises:
        ConfigError: if there is no such base, or the spec is not valid for its label table.
        DataError: `empty_slice` if no study can be in the slice.
    """
    start, withdrawals = time.monotonic(), withdrawal_state(store)
    base = _base_of(store, spec)
    labels = load_label_table(store, base, find_observations(store, base, label_set))
    fixed = spec.model_copy(update={"base": str(base)})
    work = TableWork(
        job="reslice",
        store=store,
        table="slices",
        schema=SLICES,
        fingerprint=fingerprint("reslice", fixed, input_content(store, str(base)), code_version()),
        withdrawals=withdrawals,
        parents=(str(base),),
    )
    existing = find_existing(work)
    plan = read_slice(store, TableRef.parse(existing.ref))[0] if existing else plan_slice(labels, fixed)
    if not plan.num_studies:
        why = "; ".join((*plan.infeasible, *plan.notes))
        raise DataError("empty_slice", f"{spec.name}: no study can be taken: {why}")
    is_kept = not dry_run and not (strict and plan.infeasible)
    result = existing or (commit_slice(work, plan, fixed) if is_kept else _unwritten(plan))
    counted = count_labels(labels, base=base, spec=fixed, plan=plan, result=result)
    return replace(counted, result=replace(result, seconds=time.monotonic() - start))


def count_labels(
    labels: LabelTable, *, base: TableRef, spec: SliceSpec, plan: Slice, result: JobResult
) -> SliceJobResult:
    """The slice `plan` with the label counts of its base, which `labels` holds, and its own."""
    before, after = label_distribution(labels), label_distribution(labels, SliceReader(plan.rows))
    return SliceJobResult(base=base, spec=spec, plan=plan, result=result, before=before, after=after)


def read_slice(store: Store, ref: TableRef) -> tuple[Slice, SliceSpec]:
    """A committed slice and its spec."""
    rows = read_table(store, ref)
    return read_recipe(rows, store.read_bytes(_recipe_path(find_commit(store, ref).fingerprint)))


def read_slice_report(store: Store, commit: Commit) -> tuple[Slice, SliceSpec]:
    """As `read_slice`, without the rows: of many slices, one small file each.

    Raises:
        DataError: if the slice has no recipe.
    """
    return read_recipe(SLICES.empty_table(), store.read_bytes(_recipe_path(commit.fingerprint)))


def load_sliced(store: Store, ref: TableRef, *, label_set: str = "") -> SliceJobResult:
    """A committed slice with its label counts; nothing is written."""
    base = base_of(store, ref)
    plan, spec = read_slice(store, ref)
    labels = read_label_table(store, base, find_observations(store, base, label_set))
    result = JobResult.of_commit("reslice", find_commit(store, ref), reused=True)
    return count_labels(labels, base=base, spec=spec, plan=plan, result=result)


def _base_of(store: Store, spec: SliceSpec) -> TableRef:
    base = spec.base or newest_outputs(store, ("shards",)).get("shards")
    if not base:
        raise ConfigError(f"{store.uri} has no shards to slice: run `trrg shard` first")
    return TableRef.parse(base)


def _unwritten(plan: Slice) -> JobResult:
    return JobResult(job="reslice", ref="", counts=_counts(plan))


def commit_slice(
    work: TableWork, plan: Slice, spec: SliceSpec, *, notes: Mapping[str, Sequence[str]] | None = None
) -> JobResult:
    """Commit a slice with its recipe; `notes` are kept beside its name."""
    _check_studies(plan.rows)
    part = write_part(work.store, work.table, f"parts/{work.fingerprint}/slice.parquet", plan.rows, split="train")
    work.store.write_bytes(_recipe_path(work.fingerprint), recipe_bytes(plan, spec))
    output = JobOutput(parts=(part,), num_in=plan.base_studies)
    named = {NAME_NOTE: [spec.name], **(notes or {})}
    return commit_output(work, output, counts=_counts(plan), content=slice_digest(plan), notes=named)


def _check_studies(rows: pa.Table) -> None:
    """Check that each study has one row, by hashes of the ids: as Python objects millions of them take gigabytes.

    All rows are of one split, so that no patient can be in two.

    Raises:
        DataError: `duplicate_study`.
    """
    if len(np.unique(hash_texts(rows["study_id"]))) == rows.num_rows:
        return
    num_studies = pc.count_distinct(rows["study_id"]).as_py()
    if num_studies != rows.num_rows:  # else two ids have one hash
        raise DataError("duplicate_study", f"{rows.num_rows} rows of {num_studies} studies: each may have one row")


def _counts(plan: Slice) -> Mapping[str, int]:
    return {
        "studies_in": plan.base_studies,
        "studies": plan.num_studies,
        "rows": plan.num_rows,
        "patients": plan.num_patients,
        "asked": len(plan.outcomes),
        "missed": len(plan.infeasible),
    }


def _recipe_path(identity: str) -> str:
    return f"{TABLE_FOLDER}/slices/parts/{identity}/recipe.json"
