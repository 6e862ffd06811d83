"""Generator run + scores -> a version in the model registry: always `challenger`, `champion` if it passes the gate."""

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from pipelines.records.code_version import code_version
from pipelines.records.fingerprint import job_fingerprint
from pipelines.records.job_result import JobResult
from pipelines.registry.registry_client import CHALLENGER, CHAMPION, NewVersion, open_registry
from trrg_core.config.fingerprint import fingerprint
from trrg_core.config.settings import TrrgConfig
from trrg_core.labels import load_label_set
from trrg_core.metrics.score_file import SCORES_FILE, SystemScores, scores_from_bytes
from trrg_core.metrics.systems import FLOORS, System, clinical_score, family_name, scores_by_system
from trrg_core.registry.gate import Decision, decide
from trrg_core.registry.model_card import ModelCard, render_card
from trrg_core.runs.results import RunResult, read_result, require_result, run_path, write_result
from trrg_core.runs.stored_model import model_path
from trrg_core.storage.store import Store

CARD = "README.md"


def run(config: TrrgConfig, store: Store, inputs: Mapping[str, str]) -> JobResult:
    """Register the model of a generator run with its card, and promote it if it passes the gate."""
    identity = job_fingerprint("register", config.register_, store, inputs)
    run_id = f"register-{identity}"
    existing = read_result(store, run_id)
    if existing:
        return JobResult.of_run(existing, reused=True)
    scores = scores_by_system(require_result(store, inputs["scores"]).metrics)
    with open_registry(store, config.register_) as models:
        version = models.find(run_id) or models.create(_new_version(store, inputs, run_id))
        decision = _decide(config, scores, champion=models.scores_of(CHAMPION))
        card = render_card(_card(config, store, inputs, run_id, decision))
        _write_card(store, run_id, card)
        models.describe(version, card=card, scores=scores[System.MODEL])
        models.set_alias(CHALLENGER, version)
        if decision.promote:
            models.set_alias(CHAMPION, version)
        model_uri = models.uri(version)
    result = RunResult(
        run_id=run_id,
        job="register",
        inputs=inputs,
        code_version=code_version(),
        metrics={"version": float(version), "promoted": float(decision.promote)},
        notes={
            "model": model_uri,
            "alias": CHAMPION if decision.promote else CHALLENGER,
            "card": store.join(run_path(run_id), CARD),
            "reasons": "; ".join(decision.reasons),
        },
        finished_ms=int(time.time() * 1000),
    )
    write_result(store, result)
    return JobResult.of_run(result)


def _new_version(store: Store, inputs: Mapping[str, str], run_id: str) -> NewVersion:
    source = store.join(model_path(inputs["generator"]))
    return NewVersion(run_id=run_id, source=source, generator=inputs["generator"], scores=inputs["scores"])


def _decide(
    config: TrrgConfig, scores: Mapping[System, Mapping[str, float]], *, champion: Mapping[str, float] | None
) -> Decision:
    return decide(
        scores[System.MODEL],
        floors={floor: scores[floor] for floor in FLOORS if floor in scores},
        champion=champion,
        config=config.register_,
        gate_score=clinical_score(family_name(load_label_set(config.parse.label_set))),
    )


def _card(config: TrrgConfig, store: Store, inputs: Mapping[str, str], run_id: str, decision: Decision) -> ModelCard:
    systems = scores_from_bytes(store.read_bytes(f"{run_path(inputs['scores'])}/{SCORES_FILE}"))
    model = systems[0]
    generator = require_result(store, inputs["generator"])
    return ModelCard(
        name=config.register_.model_name,
        run_id=run_id,
        lineage={
            "generator run": inputs["generator"],
            "scores": inputs["scores"],
            **generator.inputs,
            "code version": generator.code_version,
            "configuration": fingerprint(config),
        },
        basis=f"{model.num_studies} studies of {model.num_patients} patients, section {model.section}",
        scores=[_card_row(name, systems) for name in sorted(model.values)],
        conventions=model.conventions,
        decision=decision,
    )


def _card_row(name: str, systems: list[SystemScores]) -> dict[str, str]:
    return {"score": name} | {item.system: _show(item.values.get(name)) for item in systems}


def _write_card(store: Store, run_id: str, card: str) -> None:
    with tempfile.TemporaryDirectory() as local:
        (Path(local) / CARD).write_text(card, "utf-8")
        store.upload_dir(Path(local), run_path(run_id))


def _show(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
