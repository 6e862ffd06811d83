"""Committed slices of one base -> their union, intersection or difference as a slice, or a comparison of them."""

import time
from collections.abc import Sequence
from dataclasses import replace

from pipelines.jobs.reslice import SliceJobResult, commit_slice, count_labels, read_slice
from pipelines.records.code_version import code_version
from pipelines.records.commit import TableWork, find_existing
from pipelines.records.fingerprint import input_content
from trrg_core.config.fingerprint import fingerprint
from trrg_core.errors import ConfigError, DataError
from trrg_core.label_stats.label_table_cache import load_label_table
from trrg_core.label_stats.labelled_version import base_of, find_observations
from trrg_core.slicing.combining import Operation, combine_slices
from trrg_core.slicing.slice_comparison import SliceColumn, compare_slices
from trrg_core.slicing.spec import SliceSpec
from trrg_core.storage.store import Store
from trrg_core.storage.withdrawal_lock import withdrawal_state
from trrg_core.tables.commit_history import find_commit, name_of
from trrg_core.tables.delta import read_table
from trrg_core.tables.schema import SLICES
from trrg_core.tables.slice_reader import SliceReader
from trrg_core.tables.table_ref import TableRef


def combine(
    store: Store, operation: Operation, refs: Sequence[TableRef], *, name: str = "", label_set: str = ""
) -> SliceJobResult:
    """Commit the union, intersection or difference of slices as a version named `name`.

    Its parents are the base and the slices. The same work is found and not repeated.

    Raises:
        ConfigError: if one is not a slice, they are not of one base, or they are fewer than two.
        DataError: `empty_slice` if no study is left.
    """
    start, withdrawals = time.monotonic(), withdrawal_state(store)
    base = _common_base(store, refs)
    spec = SliceSpec(name=name or operation, base=str(base))
    work = TableWork(
        job="combine",
        store=store,
        table="slices",
        schema=SLICES,
        fingerprint=fingerprint(
            "combine", operation, spec.name, [input_content(store, str(ref)) for ref in refs], code_version()
        ),
        withdrawals=withdrawals,
        parents=(str(base), *map(str, refs)),
    )
    existing = find_existing(work)
    if existing:
        plan = read_slice(store, TableRef.parse(existing.ref))[0]
    else:
        plan = combine_slices(operation, {str(ref): read_slice(store, ref)[0] for ref in refs})
    if not plan.num_studies:
        raise DataError("empty_slice", f"no study is left of {plan.notes[0]}")
    result = existing or commit_slice(work, plan, spec, notes={"operation": [operation]})
    labels = load_label_table(store, base, find_observations(store, base, label_set))
    counted = count_labels(labels, base=base, spec=spec, plan=plan, result=result)
    return replace(counted, result=replace(result, seconds=time.monotonic() - start))


def compare(store: Store, refs: Sequence[TableRef], *, label_set: str = "") -> tuple[SliceColumn, ...]:
    """Slices of one base side by side; a version of shards among them stands for all its train studies.

    Raises:
        ConfigError: if one is neither, they are not of one base, or they are fewer than two.
    """
    slices = [ref for ref in refs if ref.name != "shards"]
    bases = {ref for ref in refs if ref.name == "shards"}
    base = _common_base(store, slices) if slices else next(iter(bases), None)
    if base is None or bases - {base}:
        raise ConfigError(f"{', '.join(map(str, refs))}: expected slices of one version of shards, and that version")
    labels = load_label_table(store, base, find_observations(store, base, label_set))
    columns: dict[str, SliceReader | None] = {}
    for ref in refs:
        name = name_of(find_commit(store, ref))
        reader = None if ref == base else SliceReader(read_table(store, ref))
        columns[f"{ref} {name}".rstrip()] = reader
    return compare_slices(labels, columns)


def _common_base(store: Store, refs: Sequence[TableRef]) -> TableRef:
    others = [str(ref) for ref in refs if ref.name != "slices"]
    if others:
        raise ConfigError(f"{', '.join(others)}: expected versions of slices")
    bases = {str(ref): base_of(store, ref) for ref in refs}
    if len(set(bases.values())) != 1:
        listed = ", ".join(f"{ref} of {base}" for ref, base in bases.items())
        raise ConfigError(f"the slices are not of one base: {listed}; slice the same shards with `trrg reslice`")
    return next(iter(bases.values()))
