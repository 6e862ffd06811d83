"""The lineage of a version, run or model as nested values for JSON and as a tree of text."""

from typing import Any

from rich.tree import Tree

from flows.render.terminal import open_console, print_line
from trrg_core.tables.lineage import LineageTree

MADE_FROM, USED_BY = "made from", "used by"


def describe_tree(tree: LineageTree) -> dict[str, Any]:
    """A tree as plain values."""
    node = tree.node
    values: dict[str, Any] = {"ref": node.ref, "kind": node.kind, "words": node.words, "removed": node.is_removed}
    values["made_from"] = list(node.made_from)
    if tree.is_repeated:
        return {**values, "repeated": True}
    return {**values, "branches": [describe_tree(branch) for branch in tree.branches]}


def print_trees(before: LineageTree, after: LineageTree) -> None:
    """Print what a node was made from, and what was made from it."""
    print_line(f"{before.node.ref}  {before.node.words}")
    for heading, tree in ((MADE_FROM, before), (USED_BY, after)):
        if not tree.branches:
            print_line(f"{heading}: nothing")
            continue
        drawn = Tree(heading, guide_style="none")
        _add(drawn, tree)
        open_console().print(drawn, soft_wrap=True)


def _add(drawn: Tree, tree: LineageTree) -> None:
    for branch in tree.branches:
        again = ", see above" if branch.is_repeated else ""
        _add(drawn.add(f"{branch.node.ref}  {branch.node.words}{again}"), branch)
