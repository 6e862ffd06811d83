"""Training runs in MLflow, in the SQLite registry of a store and at a server that is away."""

from pathlib import Path
from threading import Event

import pytest
from mlflow.entities import Run

from pipelines.records.metric_points import write_points
from pipelines.registry import references, training_metrics
from pipelines.registry.mlflow_store import registry
from pipelines.registry.training_metrics import TrainingMetrics, sent_to_mlflow
from trrg_core.config.load import load_config
from trrg_core.config.settings import RegisterConfig, TrrgConfig
from trrg_core.storage.store import Store

RUN = "pretrain-0a1b"
PATH = f"runs/{RUN}/metrics.json"
TAGS = {"stage": "pretrain", "shards": "shards@3", "code_version": "toy"}


def points(*steps: int, seconds: int = 0) -> list[dict[str, float]]:
    return [{"step": at, "time_ms": 1000 * (at + seconds), "loss": 1 / at, "studies_per_s": 8.0} for at in steps]


def send(store: Store, config: TrrgConfig) -> TrainingMetrics:
    with sent_to_mlflow(store, config, RUN, TAGS) as metrics:
        assert metrics is not None
        metrics.finish({"test_studies": 181.0}, {"losses.svg": b"<svg/>"})
    return metrics


def runs(store: Store) -> list[Run]:
    with registry(store, RegisterConfig()) as client:
        experiment = client.get_experiment_by_name("trrg")
        return list(client.search_runs([experiment.experiment_id]))


def steps(store: Store, run: Run, name: str) -> list[tuple[int, int]]:
    with registry(store, RegisterConfig()) as client:
        history = client.get_metric_history(run.info.run_id, name)
    return [(metric.step, metric.timestamp) for metric in history]


def test_a_run_is_one_run_of_mlflow_that_a_resumed_one_continues(
    store_with_registry: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, config = store_with_registry, load_config("tiny", ["pretrain.epochs=3", "engine.mlflow=always"])
    write_points(store, PATH, points(1, 10, 20))

    def fail() -> None:
        with sent_to_mlflow(store, config, RUN, TAGS):
            raise RuntimeError("a worker died")

    with pytest.raises(RuntimeError, match="a worker died"):
        fail()
    (failed,) = runs(store)
    assert (failed.info.run_name, failed.info.status) == (RUN, "FAILED")
    assert failed.data.tags.items() >= {"trrg.stage": "pretrain", "trrg.shards": "shards@3", "trrg.run": RUN}.items()
    assert failed.data.params["pretrain.epochs"] == "3.0"
    assert failed.data.params["pretrain.text_encoder.config.hidden_size"] == "64"
    assert (failed.data.params["seed"], failed.data.params["engine.num_workers"]) == ("7", "2")

    # the attempt goes on from step 10, so that step 20 is made again; with other settings that change no numbers
    write_points(store, PATH, [*points(1, 10), *points(20, 30, seconds=60)])
    monkeypatch.setattr(training_metrics, "_PER_CALL", 2)
    resumed = load_config("tiny", ["pretrain.epochs=3", "engine.mlflow=always", "engine.num_workers=1"])
    metrics = send(store, resumed)
    (run,) = runs(store)
    assert (run.info.run_id, run.info.status) == (failed.info.run_id, "FINISHED")
    assert steps(store, run, "loss") == [(1, 1000), (10, 10000), (20, 20000), (30, 90000)]
    assert steps(store, run, "test_studies") == [(30, 90000)]
    assert Path(run.info.artifact_uri, "losses.svg").read_bytes() == b"<svg/>"
    assert run.info.artifact_uri.startswith(store.join("registry/training"))
    assert metrics.where == f"MLflow run {RUN} of experiment trrg at {store.join('registry')}"


def test_a_server_that_is_away_costs_one_warning(
    store_with_registry: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(references, "_WAITS_S", ())
    monkeypatch.setattr(training_metrics, "_EVERY_S", 0.0)
    store, config = store_with_registry, load_config("tiny", ["register.tracking_uri=http://127.0.0.1:9"])
    metrics = TrainingMetrics(store, config, RUN, TAGS)
    write_points(store, PATH, points(1))

    class After(Event):
        """Set after the second poll."""

        polls = 0

        def wait(self, timeout: float | None = None) -> bool:
            self.polls += 1
            write_points(store, PATH, points(*range(1, self.polls + 1)))
            return self.polls > 2

    metrics.copy(After())
    assert metrics.where.endswith("at http://127.0.0.1:9; not complete; 3 attempts failed")
    (warning,) = caplog.records
    assert (
        "do not reach MLflow (StorageError: the model registry at http://127.0.0.1:9 did not answer" in warning.message
    )
    assert PATH in warning.message


def test_without_mlflow_the_warning_says_what_to_install(
    store_with_registry: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing(*_: object) -> None:
        raise ModuleNotFoundError("No module named 'mlflow'", name="mlflow")

    monkeypatch.setattr("pipelines.registry.mlflow_store.registry", missing)
    metrics = send(store_with_registry, load_config("tiny", ["engine.mlflow=always"]))
    assert metrics.failures == 1
    assert "trrg[flows]" in caplog.text


@pytest.mark.parametrize("settings", [[], ["engine.mlflow=never", "register.tracking_uri=http://127.0.0.1:9"]])
def test_a_run_is_sent_where_it_is_wanted_only(store_with_registry: Store, settings: list[str]) -> None:
    with sent_to_mlflow(store_with_registry, load_config("tiny", settings), RUN, TAGS) as metrics:
        assert metrics is None
