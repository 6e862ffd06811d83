"""Training through a slice: the same shards, other rows; and a spec that is committed once."""

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from flows.render.slices import page_of
from flows.render.store_contents import describe_store
from flows.render.versions import describe_history, print_history
from pipelines.jobs.reslice import load_sliced, make_slice, read_slice
from pipelines.ray_data.training_rows import list_row_groups, open_slice, read_chunk
from pipelines.training.runs import _check_slice
from tests.core.toy_versions import NO, YES, shard_row, write_version
from trrg_core.errors import ConfigError
from trrg_core.labels import column_name, load_label_set
from trrg_core.slicing.spec import Quota, SliceSpec
from trrg_core.storage.store import Store, open_store
from trrg_core.tables.commit_history import history
from trrg_core.tables.schema import shards_schema
from trrg_core.tables.table_ref import TableRef
from trrg_core.training.sampling_plan import Plan

CHEXPERT = load_label_set("chexpert14")
SPEC = SliceSpec(rows=40, quotas=(Quota(observation="Pneumothorax", share=0.25),), max_negated_share=0.5, max_repeats=3)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with shards@0: 100 train studies of which 10 have a pneumothorax, 10 studies to test on."""
    store = open_store(str(tmp_path / "store"))
    rows = [
        shard_row(f"s{number}", {"Pneumothorax": NO if number % 10 else YES}, "train" if number < 100 else "test")
        for number in range(110)
    ]
    write_version(store, "shards", rows, shards_schema(CHEXPERT), fingerprint="shards")
    return store


def test_training_reads_the_slices_rows_each_as_often_as_it_says(store: Store):
    resliced = make_slice(store, SPEC)
    slice_reader = open_slice(store, resliced.result.ref)
    wanted = Counter(dict(zip(*(resliced.plan.rows[name].to_pylist() for name in ("study_id", "repeat")), strict=True)))

    groups = list_row_groups(store, TableRef.parse("shards@0"), "train", slice_reader)
    plan = Plan(groups=groups, batch_size=1, seed=3, lane=0, num_lanes=1)
    chunks = plan.chunks(0, plan.steps_per_epoch)
    read = [read_chunk(store, chunk, slice_reader) for chunk in chunks]
    rows = pa.concat_tables(read)

    assert plan.steps_per_epoch == resliced.plan.num_rows == 40
    assert Counter(rows["study_id"].to_pylist()) == wanted
    assert max(wanted.values()) <= 3
    positive = [row for row in rows.to_pylist() if row["labels"][column_name("Pneumothorax")] == 1]
    assert len(positive) >= 10
    assert all(row["sentence_weights"] == [1.0] for row in positive)
    assert any(row["sentence_weights"][0] < 1 for row in rows.to_pylist())


def test_the_same_spec_is_committed_once_and_read_back(store: Store):
    first, again = make_slice(store, SPEC), make_slice(store, SPEC)
    assert (first.result.ref, again.result.ref) == ("slices@0", "slices@0")
    assert again.result.reused
    assert again.plan == first.plan
    plan, spec = read_slice(store, TableRef.parse("slices@0"))
    assert plan.rows.equals(first.plan.rows)
    assert spec == SPEC.model_copy(update={"base": "shards@0"})


def test_a_dry_run_says_the_same_and_writes_nothing(store: Store):
    dry = make_slice(store, SPEC, dry_run=True)
    assert dry.result.ref == ""
    assert history(store, "slices") == []
    assert make_slice(store, SPEC).plan == dry.plan


def test_a_strict_slice_with_a_missed_target_is_not_committed(store: Store):
    impossible = SPEC.model_copy(update={"quotas": (Quota(observation="Pneumothorax", share=0.9),)})
    assert make_slice(store, impossible, strict=True).result.ref == ""
    assert history(store, "slices") == []
    assert make_slice(store, SPEC, strict=True).result.ref == "slices@0"


def test_a_committed_slice_tells_what_was_asked_and_achieved_in_numbers(store: Store):
    make_slice(store, SPEC.model_copy(update={"name": "more-air"}))
    contents = describe_store(store, "slices:more-air")["slices@0"]
    stated = contents["slice"]
    assert (stated["name"], stated["spec"]["rows"], stated["sizes"]["rows"]) == ("more-air", 40, 40)
    asked = {outcome["name"]: outcome for outcome in stated["asked"]}
    assert asked["Pneumothorax PRESENT"]["target"] == 0.25
    assert asked["Pneumothorax PRESENT"]["achieved"] >= 0.25
    assert asked["Pneumothorax PRESENT"]["is_met"] is True
    assert [version["name"] for version in describe_history(store, "slices")] == ["more-air"]


def test_history_tells_asked_achieved_and_why_in_numbers(store: Store, capsys: pytest.CaptureFixture[str]):
    make_slice(store, SliceSpec(name="rare", quotas=(Quota(observation="Pneumothorax", count=40),)))
    (version,) = describe_history(store, "slices")
    assert version["slice"]["name"] == "rare"
    assert version["slice"]["sizes"]["studies"] == 100
    (asked,) = version["slice"]["asked"]
    assert (asked["target"], asked["achieved"], asked["is_met"]) == (40, 10, False)
    print_history([version])
    assert (
        "slices@0 missed Pneumothorax PRESENT >= 40: 10, 10 eligible studies, make 10 of 40" in capsys.readouterr().out
    )


def test_the_page_of_a_committed_slice_is_that_of_the_compiled_one(store: Store):
    compiled = make_slice(store, SPEC)
    loaded = load_sliced(store, TableRef.parse(compiled.result.ref))
    assert page_of(loaded) == page_of(compiled)
    assert "Slice slice (slices@0)" in page_of(loaded)


def test_a_slice_of_other_shards_is_refused_before_training(store: Store):
    ref = make_slice(store, SPEC).result.ref
    _check_slice(store, {"shards": "shards@0", "slice": ref})
    with pytest.raises(ConfigError, match="of shards@0, not of shards@1"):
        _check_slice(store, {"shards": "shards@1", "slice": ref})


def test_a_store_without_shards_says_what_to_run(tmp_path: Path):
    with pytest.raises(ConfigError, match="trrg shard"):
        make_slice(open_store(str(tmp_path / "empty")), SPEC)
