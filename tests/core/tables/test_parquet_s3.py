"""Reads of a few bytes from a service that refuses them: the answer is longer than what was asked for."""

import os
from collections.abc import Callable, Iterator

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.core.faulty_s3 import FaultyS3, faulty_s3, make_bucket
from trrg_core.errors import ConfigError
from trrg_core.storage.store import RetryPolicy, Store, open_store
from trrg_core.tables.parquet import TableFile, open_file

PATH = "bucket/store/x.parquet"


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyS3]:
    with faulty_s3() as state:
        make_bucket(state, "bucket")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "invented")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "invented")
        monkeypatch.setenv("AWS_ENDPOINT_URL", state.endpoint)
        yield state


@pytest.fixture
def store(service: FaultyS3) -> Store:
    """With a file whose column `split` takes a few bytes between two columns that take many."""
    store = open_store("s3://bucket/store", RetryPolicy(deadline_s=20, first_pause_s=0.01, longest_pause_s=0.05))
    noise = [os.urandom(60_000) for _ in range(6)]
    rows = pa.table({"first": noise, "split": ["train"] * 6, "second": noise})
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, row_group_size=2)
    store.write_bytes("x.parquet", sink.getvalue().to_pybytes())
    return store


@pytest.mark.parametrize(
    "read",
    [
        lambda file: file.read(columns=["split"]),
        lambda file: file.read_row_groups([0, 1, 2], columns=["split"]),
        lambda file: pa.concat_tables(file.read_row_group(at, columns=["split"]) for at in range(3)),
        lambda file: pa.Table.from_batches(file.batches(4, ["split"])),
    ],
    ids=["all", "some groups", "one group", "batches"],
)
def test_a_refused_read_of_a_few_bytes_is_repeated(
    service: FaultyS3, store: Store, read: Callable[[TableFile], pa.Table]
) -> None:
    with open_file(store, PATH) as file:
        service.faults += ["503", "500", "503"]
        assert read(file)["split"].to_pylist() == ["train"] * 6
    assert service.faults == []


def test_batches_have_at_most_as_many_rows_as_asked(store: Store) -> None:
    with open_file(store, PATH) as file:
        assert [batch.num_rows for batch in file.batches(3)] == [3, 1, 2]


def test_a_refusal_of_access_is_told_at_once(service: FaultyS3, store: Store) -> None:
    with open_file(store, PATH) as file:
        service.faults += ["403"] * 9
        with pytest.raises(ConfigError, match="check the bucket's name"):
            file.read(columns=["split"])
    assert len(service.faults) > 6
