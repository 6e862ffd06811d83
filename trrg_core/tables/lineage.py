"""What a table version, run or registered model was made from, and what was made from it, as far as the store knows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from trrg_core.errors import ConfigError
from trrg_core.runs.results import list_results
from trrg_core.storage.store import Store
from trrg_core.tables.commit_history import Commit, commits_of, name_of, removed_versions, resolve_input
from trrg_core.tables.table_log import read_log, rows_by_version, starts_at_zero
from trrg_core.tables.table_ref import TABLES

NodeKind = Literal["version", "run", "model", "unknown"]


@dataclass(frozen=True, kw_only=True)
class LineageNode:
    """A table version, run or model: its reference, the references it was made from, and a few words on it.

    `is_removed` marks a version whose files `trrg gc` deleted; `unknown` is what another node names but the store
    does not have.
    """

    ref: str
    kind: NodeKind
    made_from: tuple[str, ...] = ()
    words: str = ""
    created_ms: int = 0
    is_removed: bool = False


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """All nodes of a store by reference, and the references that were made from each.

    A tree shows each node once and leaves out what a longer way shows too: a model was made from shards by way of
    its run.
    """

    nodes: Mapping[str, LineageNode]
    used_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class LineageTree:
    """A node and those before or after it; `is_repeated` marks one whose branches are shown further up."""

    node: LineageNode
    branches: tuple["LineageTree", ...] = ()
    is_repeated: bool = False


def read_lineage(store: Store, models: Mapping[str, Sequence[str]]) -> Lineage:
    """The lineage of all that a store holds.

    Args:
        store: the store; only logs and results of runs are read.
        models: the references that each registered model version names.
    """
    nodes = {node.ref: node for name in TABLES for node in _version_nodes(store, name)}
    for run in list_results(store):
        made_from = tuple(dict.fromkeys(run.inputs.values()))
        nodes[run.run_id] = LineageNode(
            ref=run.run_id, kind="run", made_from=made_from, words=run.job, created_ms=run.finished_ms
        )
    for model, refs in models.items():
        known = tuple(ref for ref in dict.fromkeys(refs) if ref in nodes)
        nodes[model] = LineageNode(ref=model, kind="model", made_from=known, words="registered model")
    used_by: dict[str, list[str]] = {}
    for node in sorted(nodes.values(), key=lambda node: (node.created_ms, node.ref)):
        for ref in node.made_from:
            used_by.setdefault(ref, []).append(node.ref)
    return Lineage(nodes=nodes, used_by={ref: tuple(others) for ref, others in used_by.items()})


def find_node(store: Store, lineage: Lineage, text: str) -> LineageNode:
    """The node that `text` names: a version as in `resolve_ref`, the id of a run, or `models:/NAME/VERSION`.

    Raises:
        ConfigError: if the store has none.
    """
    ref = resolve_input(store, text)
    if ref not in lineage.nodes:
        raise ConfigError(f"{store.uri} has no version, run or model {ref!r}; `trrg show` lists versions and runs")
    return lineage.nodes[ref]


def ancestors(lineage: Lineage, node: LineageNode) -> LineageTree:
    """What `node` was made from, and what that was made from."""
    return _tree(lineage, node.ref, {ref: node.made_from for ref, node in lineage.nodes.items()}, set())


def descendants(lineage: Lineage, node: LineageNode) -> LineageTree:
    """What was made from `node`, and what was made from that."""
    return _tree(lineage, node.ref, lineage.used_by, set())


def _tree(lineage: Lineage, ref: str, edges: Mapping[str, Sequence[str]], seen: set[str]) -> LineageTree:
    """The tree of `edges` from `ref`; an edge is left out where a longer way leads to the same node."""
    seen.add(ref)
    branches = []
    others = edges.get(ref, ())
    further = {far for other in others if not _same_table(ref, other) for far in _reached(other, edges)}
    for other in (other for other in others if other not in further):
        node = lineage.nodes.get(other) or _unknown(other)
        if other in seen:
            branches.append(LineageTree(node=node, is_repeated=bool(edges.get(other))))
        elif _same_table(ref, other):  # the version that this one extends: one line of a chain of any length
            branches.append(LineageTree(node=node))
        else:
            branches.append(_tree(lineage, other, edges, seen))
    node = lineage.nodes.get(ref) or _unknown(ref)
    return LineageTree(node=node, branches=tuple(branches))


def _reached(ref: str, edges: Mapping[str, Sequence[str]]) -> set[str]:
    """All that `edges` lead to from `ref`, without it and without other versions of its table."""
    reached: set[str] = set()
    waiting = [ref]
    while waiting:
        at = waiting.pop()
        new = [other for other in edges.get(at, ()) if other not in reached and not _same_table(at, other)]
        reached.update(new)
        waiting += new
    return reached


def _unknown(ref: str) -> LineageNode:
    return LineageNode(ref=ref, kind="unknown", words="not in the store")


def _same_table(one: str, other: str) -> bool:
    return "@" in one and one.rpartition("@")[0] == other.rpartition("@")[0]


def _version_nodes(store: Store, name: str) -> list[LineageNode]:
    entries = read_log(store, name)
    rows = rows_by_version(entries) if starts_at_zero(entries) else {}
    removed = removed_versions(store, name)
    return [
        LineageNode(
            ref=str(commit.ref),
            kind="version",
            made_from=commit.parents,
            words=_words(commit, rows.get(commit.ref.version), is_removed=commit.ref.version in removed),
            created_ms=commit.created_ms,
            is_removed=commit.ref.version in removed,
        )
        for commit in commits_of(name, entries)
    ]


def _words(commit: Commit, num_rows: int | None, *, is_removed: bool) -> str:
    day = datetime.fromtimestamp(commit.created_ms / 1000, UTC).date().isoformat()
    size = "removed" if is_removed else "" if num_rows is None else f"{num_rows:,} rows"
    return ", ".join(filter(None, (name_of(commit), size, day)))
