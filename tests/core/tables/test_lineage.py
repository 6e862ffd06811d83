"""What was made from what, over versions, runs and registered models."""

from pathlib import Path

import pytest

from flows.render.lineage import describe_tree
from tests.core.toy_versions import LABEL_SET, NO, YES, report_row, write_chain, write_version
from trrg_core.errors import ConfigError
from trrg_core.pages.lineage_page import LineagePage, render_lineage
from trrg_core.runs.results import RunResult, write_result
from trrg_core.storage.store import Store, open_store
from trrg_core.tables.lineage import Lineage, LineageTree, ancestors, descendants, find_node, read_lineage
from trrg_core.tables.schema import SLICES, reports_schema

Shape = dict[str, "Shape"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = open_store(str(tmp_path / "store"))
    write_chain(store, {"1": ("train", {"Edema": NO}), "2": ("train", {"Edema": YES})})
    row = {"subject_id": "p1", "study_id": "1", "split": "train", "repeat": 1, "sentence_weights": [1.0]}
    write_version(store, "slices", [row], SLICES, fingerprint="s0", parents=["shards@0"], notes={"name": ["rare"]})
    _run(store, "pretrain-1", 1, shards="shards@0", slice="slices@0")
    _run(store, "pretrain-2", 2, shards="shards@0")
    _run(store, "finetune-1", 3, shards="shards@0", slice="slices@0", contrastive="pretrain-1")
    return store


def _run(store: Store, run_id: str, finished_ms: int, **inputs: str) -> None:
    job = run_id.partition("-")[0]
    write_result(store, RunResult(run_id=run_id, job=job, inputs=inputs, finished_ms=finished_ms))


def _lineage(store: Store) -> Lineage:
    return read_lineage(store, {"models:/m/1": ["finetune-1", "pretrain-1", "shards@0"]})


def _shape(tree: LineageTree) -> Shape:
    return {branch.node.ref: _shape(branch) for branch in tree.branches}


def test_a_model_leads_back_to_the_studies_by_the_longest_way(store: Store) -> None:
    lineage = _lineage(store)
    tree = ancestors(lineage, find_node(store, lineage, "models:/m/1"))
    studies: Shape = {"reports@0": {"studies@0": {}}}
    assert _shape(tree) == {"finetune-1": {"pretrain-1": {"slices@0": {"shards@0": studies}}}}
    # what the drawing leaves out is in the values
    described = describe_tree(tree)["branches"][0]
    assert described["made_from"] == ["pretrain-1", "shards@0", "slices@0"]


def test_shards_lead_on_to_slices_runs_and_models(store: Store) -> None:
    lineage = _lineage(store)
    tree = descendants(lineage, find_node(store, lineage, "shards"))
    assert _shape(tree) == {"slices@0": {"pretrain-1": {"finetune-1": {"models:/m/1": {}}}}, "pretrain-2": {}}


def test_a_slice_is_found_by_its_name_and_says_what_it_is(store: Store) -> None:
    lineage = _lineage(store)
    node = find_node(store, lineage, "slices:rare")
    assert (node.ref, node.words.split(", ")[:2]) == ("slices@0", ["rare", "1 rows"])
    with pytest.raises(ConfigError, match="has no version, run or model 'pretrain-9'"):
        find_node(store, lineage, "pretrain-9")


def test_a_node_below_two_others_is_drawn_once(store: Store) -> None:
    _run(store, "evaluate-1", 4, generator="finetune-1", other="pretrain-2")
    lineage = _lineage(store)
    tree = ancestors(lineage, find_node(store, lineage, "evaluate-1"))
    again = tree.branches[1].branches[0]
    assert (tree.branches[1].node.ref, again.node.ref, again.is_repeated) == ("pretrain-2", "shards@0", True)


def test_what_is_named_but_gone_is_shown_as_unknown(store: Store) -> None:
    _run(store, "finetune-2", 5, contrastive="pretrain-gone")
    lineage = _lineage(store)
    tree = ancestors(lineage, find_node(store, lineage, "finetune-2"))
    assert [(one.node.ref, one.node.kind) for one in tree.branches] == [("pretrain-gone", "unknown")]


def test_a_chain_of_a_thousand_increments_is_one_line(store: Store) -> None:
    schema = reports_schema(LABEL_SET)
    write_version(store, "reports", [report_row("1", {})], schema, fingerprint="r1", parents=["studies@0", "reports@0"])
    lineage = _lineage(store)
    long = {**lineage.nodes}
    for at in range(2, 1500):
        ref = f"reports@{at}"
        long[ref] = type(long["reports@1"])(ref=ref, kind="version", made_from=(f"reports@{at - 1}", "studies@0"))
    tree = ancestors(Lineage(nodes=long), long["reports@1499"])
    assert _shape(tree) == {"reports@1498": {}, "studies@0": {}}


def test_the_page_escapes_and_runs_no_script(store: Store) -> None:
    _run(store, "pretrain-<b>", 9, shards="shards@0")
    lineage = _lineage(store)
    node = find_node(store, lineage, "shards@0")
    page = render_lineage(LineagePage(ref=node.ref, store="here", trees=(("used by", descendants(lineage, node)),)))
    assert "pretrain-&lt;b&gt;" in page
    assert "<b>" not in page
    assert "script-src 'none'" in page.replace("&#39;", "'")
    assert "models:/m/1" in page
