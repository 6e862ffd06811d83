"""TensorBoard event files, read back record by record."""

import json
import struct
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event

from pipelines.records.metric_points import read_points
from pipelines.records.training_observer import observed_by
from pipelines.registry.mlflow_store import registry
from pipelines.registry.training_metrics import sent_to_mlflow
from pipelines.training.event_log import open_event_log
from pipelines.training.train import train
from tests.pipelines.training import toy_stage as toy
from trrg_core.config.settings import RegisterConfig
from trrg_core.storage.store import Store, open_store


def read_events(file: Path) -> list[Event]:
    """The records of a file: a length of 8 bytes, its checksum, the record, its checksum."""
    data, at, events = file.read_bytes(), 0, []
    while at < len(data):
        (size,) = struct.unpack_from("<Q", data, at)
        events.append(Event.FromString(data[at + 12 : at + 12 + size]))
        at += 16 + size
    return events


def scalars(file: Path) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for event in read_events(file):
        for value in event.summary.value:
            found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


def only_file(run: Path) -> Path:
    (file,) = (run / "tensorboard").iterdir()
    return file


def test_the_file_of_an_attempt_grows_with_each_upload(tmp_path: Path) -> None:
    store, run = open_store(str(tmp_path)), tmp_path / "runs" / "one"
    with open_event_log(store, "runs/one", start=4, is_on=True) as log:
        assert log is not None
        log.write(5, {"loss": 2.0, "report": 1.5})
        log.upload()
        assert scalars(only_file(run)) == {"loss": [(5, 2.0)], "report": [(5, 1.5)]}
        log.write(6, {"loss": 1.0})
    assert scalars(only_file(run))["loss"] == [(5, 2.0), (6, 1.0)]
    # tells TensorBoard to hide what an earlier attempt wrote of later steps
    assert [event.step for event in read_events(only_file(run)) if event.session_log.status] == [5]


def test_without_the_flag_there_is_no_log(tmp_path: Path) -> None:
    with open_event_log(open_store(str(tmp_path)), "runs/two", start=0, is_on=False) as log:
        assert log is None
    assert not (tmp_path / "runs").exists()


def test_what_a_failed_attempt_uploaded_stays(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))

    def attempt() -> None:
        with open_event_log(store, "runs/one", start=0, is_on=True) as log:
            assert log is not None
            log.write(1, {"loss": 2.0})
            log.upload()
            log.write(2, {"loss": 1.0})
            raise RuntimeError("a worker died")

    with pytest.raises(RuntimeError, match="a worker died"):
        attempt()
    assert scalars(only_file(tmp_path / "runs" / "one")) == {"loss": [(1, 2.0)]}


def test_a_run_writes_its_losses(store_with_registry: Store, tmp_path: Path) -> None:
    """As event files, as points of its metrics file, and from there to MLflow."""
    store = store_with_registry
    flags = ("engine.local=true", "engine.tensorboard=true", "engine.log_every_steps=10", "engine.mlflow=always")
    task = toy.toy_task(store, toy.write_toy_shards(store), "events", 2, *flags)
    with observed_by(sent_to_mlflow):
        result = train(toy.toy_stage(epochs=1), task)
    losses = [step["loss"] for step in json.loads(store.read_bytes("runs/events/losses.json"))]
    written = scalars(only_file(tmp_path / "runs" / "events"))["loss"]
    assert [step for step, _ in written] == list(range(1, len(losses) + 1))
    assert [value for _, value in written] == pytest.approx(losses)
    points = read_points(store, "runs/events/metrics.json")
    assert [point["step"] for point in points] == [1, 10, len(losses)]
    assert [point["loss"] for point in points] == [losses[0], losses[9], losses[-1]]
    assert points[-1].keys() >= {"learning_rate", "studies_per_s", "stall_percent", "memory_gib", "time_ms"}
    assert result.notes["observed"] == f"MLflow run events of experiment trrg at {tmp_path / 'registry'}"
    with registry(store, RegisterConfig()) as client:
        (run,) = client.search_runs([client.get_experiment_by_name("trrg").experiment_id])
    assert (run.data.metrics["loss"], run.data.metrics["score"]) == (losses[-1], 7)
