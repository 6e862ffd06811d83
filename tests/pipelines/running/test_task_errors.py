"""What a Ray task raises on purpose reaches the caller of the job as it was raised."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
import ray

from pipelines.jobs import ingest
from pipelines.ray_data.cluster import connect
from pipelines.ray_data.map_tables import map_tables
from pipelines.running.run_job import run_job
from trrg_core.config.load import load_config
from trrg_core.config.settings import RayConfig
from trrg_core.errors import ConfigError, DataError, StorageError, TrrgError

ERRORS = [
    StorageError("s3://bucket/key: no answer for 120 s; run again"),
    ConfigError("model has no manifest.json: not a finished model folder"),
    DataError("too_large", "files/a.jpg: 60000 x 60000 pixels"),
]


def _fail(rows: pa.Table, *, error: TrrgError) -> pa.Table:
    raise error


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    connect(RayConfig(local_cpus=2))
    yield
    ray.shutdown()


@pytest.mark.ray
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_of_a_task_keeps_its_class_and_its_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, local_ray: None, error: TrrgError
) -> None:
    def run(*_: object) -> None:
        list(map_tables(ray.data.from_items([1]), _fail, {"error": error}, batch_size=1).iter_batches())

    monkeypatch.setattr(ingest, "run", run)
    with pytest.raises(type(error)) as raised:
        run_job("ingest", load_config("tiny", []), str(tmp_path / "store"), {})
    assert type(raised.value) is type(error)
    assert str(raised.value) == str(error)
    assert vars(raised.value) == vars(error)
