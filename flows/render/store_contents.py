"""What a store holds, as plain values, and how nested values are printed."""

import json
from typing import Any

import yaml

from flows.render.terminal import print_line
from trrg_core.runs.results import list_results, require_result
from trrg_core.storage.store import Store
from trrg_core.tables.commit_history import find_commit, history, resolve_ref
from trrg_core.tables.rejects import count_rejects, read_rejects
from trrg_core.tables.table_ref import TABLES, TableRef


def describe_store(store: Store, what: str) -> dict[str, Any]:
    """The contents of a store, or one table version, one run, or the rejects by job and reason."""
    if what == "rejects":
        return {"rejects": count_rejects(read_rejects(store)) or "none"}
    if "@" in what or ":" in what:
        ref = resolve_ref(store, what)
        return {str(ref): _plain(find_commit(store, ref)) | _slice_values(store, ref)}
    if what in TABLES:
        return {str(commit.ref): _plain(commit) for commit in history(store, what)}
    if what:
        return {what: _plain(require_result(store, what))}
    tables = {name: [str(commit.ref) for commit in history(store, name)] for name in TABLES}
    runs = {result.run_id: {"job": result.job} for result in list_results(store)}
    return {"tables": {name: refs for name, refs in tables.items() if refs}, "runs": runs}


def _slice_values(store: Store, ref: TableRef) -> dict[str, Any]:
    """What was asked of a slice and achieved; nothing for another table."""
    if ref.name != "slices":
        return {}
    from flows.render.slices import describe_slice
    from pipelines.jobs.reslice import read_slice

    return {"slice": describe_slice(*read_slice(store, ref))}


def print_tree(value: Any) -> None:
    """Print a nested value as indented YAML."""
    print_line(yaml.safe_dump(value, sort_keys=False, allow_unicode=True).rstrip())


def _plain(value: Any) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(json.dumps(vars(value), default=str))
    return fields
