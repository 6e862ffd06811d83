"""Combined slices as committed versions: parents, name, what training reads, and what is refused."""

from pathlib import Path

import pytest

from pipelines.jobs.combine import combine, compare
from pipelines.jobs.reslice import make_slice, read_slice
from pipelines.training.runs import _check_slice
from tests.core.toy_versions import LABEL_SET, NO, YES, shard_row, write_version
from trrg_core.errors import ConfigError, DataError
from trrg_core.slicing.spec import SliceSpec
from trrg_core.storage.store import Store, open_store
from trrg_core.tables.commit_history import find_commit, resolve_ref
from trrg_core.tables.schema import shards_schema
from trrg_core.tables.table_ref import TableRef

REFS = [TableRef.parse("slices@0"), TableRef.parse("slices@1")]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """slices@0 has the studies with edema, slices@1 those with pneumonia; one has both."""
    store = open_store(str(tmp_path_factory.mktemp("combine") / "store"))
    stated = [{"Edema": YES}, {"Edema": YES, "Pneumonia": YES}, {"Pneumonia": YES}, {"Edema": NO}]
    rows = [shard_row(f"s{at}", what) for at, what in enumerate(stated)]
    write_version(store, "shards", rows, shards_schema(LABEL_SET), fingerprint="shards")
    make_slice(store, SliceSpec(name="wet", where="edema = 1"))
    make_slice(store, SliceSpec(name="ill", where="pneumonia = 1"))
    return store


def _studies(store: Store, ref: str) -> list[str]:
    studies: list[str] = read_slice(store, TableRef.parse(ref))[0].rows["study_id"].to_pylist()
    return studies


def test_a_union_is_a_slice_that_names_what_it_was_made_from(store: Store) -> None:
    made = combine(store, "union", REFS, name="both")
    ref = made.result.ref
    assert _studies(store, ref) == ["s0", "s1", "s2"]
    assert resolve_ref(store, "slices:both") == TableRef.parse(ref)
    commit = find_commit(store, TableRef.parse(ref))
    assert commit.parents == ("shards@0", "slices@0", "slices@1")
    assert commit.notes["operation"] == ["union"]
    assert made.plan.notes == ("union of slices@0 and slices@1",)
    _check_slice(store, {"shards": "shards@0", "slice": ref})
    assert combine(store, "union", REFS, name="both").result.reused


def test_the_difference_and_the_intersection(store: Store) -> None:
    assert _studies(store, combine(store, "minus", REFS).result.ref) == ["s0"]
    assert _studies(store, combine(store, "intersect", REFS).result.ref) == ["s1"]
    everything = combine(store, "union", REFS, name="all").result.ref
    with pytest.raises(DataError, match="no study is left of slices@0 without the studies of"):
        combine(store, "minus", [REFS[0], TableRef.parse(everything)])


def test_slices_of_other_shards_and_other_tables_are_refused(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    for fingerprint in ("one", "two"):
        rows = [shard_row("s1", {"Edema": YES if fingerprint == "one" else NO})]
        write_version(store, "shards", rows, shards_schema(LABEL_SET), fingerprint=fingerprint)
        make_slice(store, SliceSpec(name=fingerprint))
    with pytest.raises(ConfigError, match="slices@0 of shards@0, slices@1 of shards@1"):
        combine(store, "union", REFS)
    with pytest.raises(ConfigError, match="shards@0: expected versions of slices"):
        combine(store, "union", [TableRef.parse("shards@0"), REFS[0]])
    with pytest.raises(ConfigError, match="expected slices of one version of shards"):
        compare(store, [TableRef.parse("shards@1"), REFS[0]])


def test_slices_and_their_base_side_by_side(store: Store) -> None:
    columns = compare(store, [TableRef.parse("shards@0"), *REFS])
    assert [column.name for column in columns] == ["shards@0", "slices@0 wet", "slices@1 ill"]
    assert [column.studies for column in columns] == [4, 2, 2]
    assert columns[1].in_common == (2, 2, 1)
