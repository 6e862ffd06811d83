"""Generator run + scores -> a model version in MLflow, `challenger` always, `champion` when the gate says so."""

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from pipelines.jobs.evaluate import SCORES
from pipelines.records.code_version import code_version
from pipelines.records.fingerprint import job_fingerprint
from pipelines.records.job_result import JobResult
from pipelines.registry.mlflow_store import registry
from pipelines.training.runs import MODEL
from trrg_core.config.fingerprint import fingerprint
from trrg_core.config.settings import TrrgConfig
from trrg_core.labels import load_label_set
from trrg_core.metrics.clinical import family_name
from trrg_core.registry.gate import Decision, decide
from trrg_core.registry.model_card import ModelCard, render_card
from trrg_core.runs.results import RunResult, read_result, require_result, run_path, write_result
from trrg_core.storage.store import Store

CHALLENGER, CHAMPION = "challenger", "champion"


def run(config: TrrgConfig, store: Store, inputs: Mapping[str, str]) -> JobResult:
    """Register the model of a generator run with its card, and promote it if it passes the gate."""
    identity = job_fingerprint("register", config.register_, store, inputs)
    run_id = f"register-{identity}"
    found = read_result(store, run_id)
    if found:
        return JobResult.of_run(found, reused=True)
    scores = require_result(store, inputs["scores"])
    with registry(store, config.register_) as client:
        version = _find_version(client, config, run_id) or _create_version(client, config, store, inputs, run_id)
        champion = _alias_scores(client, config, CHAMPION)
        decision = _decide(config, scores.metrics, champion)
        card = _write_card(config, store, inputs, run_id, decision)
        name = config.register_.model_name
        client.update_model_version(name, version.version, description=card)
        for key, value in _own_scores(scores.metrics).items():
            client.set_model_version_tag(name, version.version, f"score.{key}", str(value))
        client.set_registered_model_alias(name, CHALLENGER, version.version)
        if decision.promote:
            client.set_registered_model_alias(name, CHAMPION, version.version)
    result = RunResult(
        run_id=run_id,
        job="register",
        inputs=inputs,
        code_version=code_version(),
        metrics={"version": float(version.version), "promoted": float(decision.promote)},
        notes={
            "model": f"models:/{name}/{version.version}",
            "alias": CHAMPION if decision.promote else CHALLENGER,
            "card": store.join(run_path(run_id), "README.md"),
            "reasons": "; ".join(decision.reasons),
        },
        finished_ms=int(time.time() * 1000),
    )
    write_result(store, result)
    return JobResult.of_run(result)


def _find_version(client: MlflowClient, config: TrrgConfig, run_id: str) -> ModelVersion | None:
    """The version that an earlier attempt of the same work made before it was cut off."""
    try:
        versions = client.search_model_versions(f"name='{config.register_.model_name}'")
    except MlflowException:
        return None
    return next((one for one in versions if one.tags.get("trrg.run") == run_id), None)


def _create_version(
    client: MlflowClient, config: TrrgConfig, store: Store, inputs: Mapping[str, str], run_id: str
) -> ModelVersion:
    name = config.register_.model_name
    try:
        client.create_registered_model(name, description="Radiology report generator trained by TRRG")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    return client.create_model_version(
        name,
        source=store.join(run_path(inputs["generator"]), MODEL),
        tags={"trrg.run": run_id, "trrg.generator": inputs["generator"], "trrg.scores": inputs["scores"]},
    )


def _decide(config: TrrgConfig, metrics: Mapping[str, float], champion: Mapping[str, float] | None) -> Decision:
    floors: dict[str, dict[str, float]] = {}
    for key, value in metrics.items():
        floor, separator, name = key.partition("/")
        if separator:
            floors.setdefault(floor.replace("_", " "), {})[name] = value
    return decide(metrics, floors=floors, champion=champion, config=config.register_, gate_score=_gate_score(config))


def _gate_score(config: TrrgConfig) -> str:
    observations = load_label_set(config.parse.label_set).observations
    return f"{family_name(config.parse.label_set, num_observations=len(observations))}.micro.f1.u0"


def _own_scores(metrics: Mapping[str, float]) -> dict[str, float]:
    """The model's scores, without those of the floors (`floor/name`)."""
    return {name: value for name, value in metrics.items() if "/" not in name}


def _alias_scores(client: MlflowClient, config: TrrgConfig, alias: str) -> dict[str, float] | None:
    try:
        version = client.get_model_version_by_alias(config.register_.model_name, alias)
    except MlflowException:
        return None
    prefix = "score."
    return {key.removeprefix(prefix): float(value) for key, value in version.tags.items() if key.startswith(prefix)}


def _write_card(config: TrrgConfig, store: Store, inputs: Mapping[str, str], run_id: str, decision: Decision) -> str:
    told: Sequence[dict] = json.loads(store.read_bytes(f"{run_path(inputs['scores'])}/{SCORES}"))
    generator = require_result(store, inputs["generator"])
    lineage = {
        "generator run": inputs["generator"],
        "scores": inputs["scores"],
        **generator.inputs,
        "code version": generator.code_version,
        "configuration": fingerprint(config),
    }
    names = sorted(told[0]["values"])
    card = ModelCard(
        name=config.register_.model_name,
        run_id=run_id,
        lineage=lineage,
        basis=f"{told[0]['num_studies']} studies of {told[0]['num_patients']} patients, section {told[0]['section']}",
        scores=[{"score": name, **{one["system"]: _show(one["values"].get(name)) for one in told}} for name in names],
        conventions=told[0]["conventions"],
        decision=decision,
    )
    text = render_card(card)
    with tempfile.TemporaryDirectory() as local:
        (Path(local) / "README.md").write_text(text, "utf-8")
        store.upload_dir(Path(local), run_path(run_id))
    return text


def _show(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
