import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tests.core.invented_shards import OBSERVATIONS, SCHEMA, study, table_of
from trrg_core.errors import ConfigError, StorageError
from trrg_core.label_stats.label_table_cache import load_label_table, read_label_table
from trrg_core.storage.folders import LABEL_TABLE_FOLDER
from trrg_core.storage.store import Store, open_store
from trrg_core.tables.commit_history import CommitMetadata
from trrg_core.tables.delta import commit_parts
from trrg_core.tables.parquet import write_part
from trrg_core.tables.table_ref import TableRef

ROWS = [
    study("s2", "Edema+ Pneumothorax-", patient="p2", views=("PA", "LATERAL")),
    study("s1", "", patient="p9", split="test", views=()),
    study("s3", "Effusion?", patient="p1"),
]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def _commit(store: Store, studies: list[dict], fingerprint: str) -> TableRef:
    rows = pa.Table.from_pylist(studies, schema=SCHEMA)
    parts = []
    for split in sorted({one["split"] for one in studies}):
        path = f"parts/{fingerprint}/{split}.parquet"
        parts.append(write_part(store, "shards", path, rows.filter(pc.field("split") == split), split=split))
    return commit_parts(store, "shards", parts, SCHEMA, CommitMetadata(fingerprint=fingerprint))


def test_the_label_table_of_a_version_is_that_of_its_rows(store: Store) -> None:
    ref = _commit(store, ROWS, "f1")
    assert read_label_table(store, ref, OBSERVATIONS).rows.equals(table_of(ROWS).rows)


def test_the_copy_is_the_same_and_is_read_without_the_shards(store: Store) -> None:
    ref = _commit(store, ROWS, "f1")
    made = load_label_table(store, ref, OBSERVATIONS)
    (copy,) = store.list(LABEL_TABLE_FOLDER)
    for path in store.list("tables/shards/parts"):
        Path(store.join(path)).unlink()
    again = load_label_table(store, ref, OBSERVATIONS)
    assert again.rows.equals(made.rows)
    assert again.observations == made.observations == OBSERVATIONS
    Path(store.join(copy)).unlink()
    with pytest.raises(StorageError, match="cannot be read"):
        load_label_table(store, ref, OBSERVATIONS)


def test_each_version_has_its_own_copy(store: Store) -> None:
    first, second = _commit(store, ROWS, "f1"), _commit(store, ROWS[:1], "f2")
    assert load_label_table(store, first, OBSERVATIONS).rows.num_rows == 3
    assert load_label_table(store, second, OBSERVATIONS).rows.num_rows == 1
    assert load_label_table(store, first, OBSERVATIONS[:2]).observations == OBSERVATIONS[:2]
    assert len(store.list(LABEL_TABLE_FOLDER)) == 3


@pytest.mark.parametrize("damage", [b"", b"PAR1 not a table PAR1", "cut", "flip"])
def test_a_damaged_copy_is_made_anew(store: Store, damage: bytes | str) -> None:
    ref = _commit(store, ROWS, "f1")
    made = load_label_table(store, ref, OBSERVATIONS)
    (copy,) = store.list(LABEL_TABLE_FOLDER)
    data = store.read_bytes(copy)
    cut = data[: len(data) // 2]
    flipped = data[:40] + bytes([data[40] ^ 0xFF]) + data[41:]
    store.write_bytes(
        copy, {"cut": cut, "flip": flipped}.get(str(damage), damage if isinstance(damage, bytes) else b"")
    )
    assert load_label_table(store, ref, OBSERVATIONS).rows.equals(made.rows)
    assert store.read_bytes(copy) == data


def test_a_version_that_is_not_there_is_refused(store: Store) -> None:
    _commit(store, ROWS, "f1")
    with pytest.raises(ConfigError, match="shards@7"):
        load_label_table(store, TableRef(name="shards", version=7), OBSERVATIONS)


RE_SLICE = """
import sys
import trrg_core.label_stats.drift, trrg_core.slicing.recipe, trrg_core.tables.slice_reader
from trrg_core.label_stats.label_table_cache import load_label_table
from trrg_core.slicing.plan import plan_slice
from trrg_core.slicing.spec import validate_slice_spec
from trrg_core.storage.folders import LABEL_TABLE_FOLDER
from trrg_core.storage.store import open_store
from trrg_core.tables.table_ref import TableRef

names = ["Edema", "Pneumothorax", "Pleural Effusion"]
labels = load_label_table(open_store(sys.argv[1]), TableRef.parse("shards@0"), names)
asked = {
    "where": "num_words > 0",
    "quotas": [{"observation": "Edema", "share": 0.5}],
    "balance": [{"column": "frontal", "shares": {"PA": 1.0}}],
    "max_negated_share": 0.5,
}
assert plan_slice(labels, validate_slice_spec(asked)).num_rows == 2
heavy = {"torch", "spacy", "ray", "prefect", "mlflow", "transformers", "pandas", "scipy", "matplotlib"}
sys.exit(f"imports {heavy & set(sys.modules)}" if heavy & set(sys.modules) else 0)
"""


def test_a_re_slice_of_a_known_version_imports_nothing_heavy(store: Store) -> None:
    ref = _commit(store, ROWS, "f1")
    load_label_table(store, ref, OBSERVATIONS)
    child = subprocess.run([sys.executable, "-c", RE_SLICE, store.uri], capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
