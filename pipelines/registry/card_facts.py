"""A registered version -> the facts that its card states, read from the runs and tables that made it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pipelines.registry.model_list import ListedModel
from pipelines.registry.registry_client import WEIGHTS_TAG
from trrg_core.metrics.score_file import SCORES_FILE
from trrg_core.metrics.study_slices import SLICES_FILE
from trrg_core.registry.chai_card import CardFacts
from trrg_core.registry.decision import DECISION_FILE, Decision, decision_from_bytes
from trrg_core.registry.group_scores import Group, groups_from_json
from trrg_core.runs.results import read_result, run_path
from trrg_core.runs.stored_model import model_path
from trrg_core.storage.store import Store
from trrg_core.storage.stored_record import read_record
from trrg_core.tables.commit_history import history

_DESCRIPTION = "config.json"  # of a model folder


def card_facts(store: Store, model: ListedModel) -> CardFacts:
    """What the store knows of a version; what is gone from it is left out."""
    trained = read_result(store, model.generator) if model.generator else None
    return CardFacts(
        model=model.model,
        registered=datetime.fromtimestamp(model.created_ms / 1000, UTC).date().isoformat(),
        aliases=model.aliases,
        code_version=trained.code_version if trained else "",
        lineage={"training run": model.generator, **(dict(trained.inputs) if trained else {})},
        data=_counts(store, model.data),
        foundation=_foundation(store, model.generator),
        scores={name: (score.value, score.low, score.high) for name, score in model.scores.items()},
        basis=_basis(store, model.scores_run),
        decision=_decision(store, model.registration),
        groups=_groups(store, model.scores_run),
        weights_sha256=model.tags.get(WEIGHTS_TAG, ""),
    )


def _counts(store: Store, refs: Mapping[str, str]) -> dict[str, float]:
    """Counts of the table versions that it was trained on, and what was set aside on the way to them."""
    found: dict[str, float] = {}
    for name, ref in refs.items():
        for commit in history(store, name, with_removed=True):
            if str(commit.ref) == ref:
                found |= {f"{name} {what}": count for what, count in commit.counts.items()}
                found |= {f"{name} set aside, {reason}": count for reason, count in commit.rejects.items()}
    return found


def _foundation(store: Store, generator: str) -> tuple[str, ...]:
    """The pretrained weights that the model names, with their revision."""
    path = f"{model_path(generator)}/{_DESCRIPTION}" if generator else ""
    if not path or not store.exists(path):
        return ()
    return tuple(sorted(set(_pretrained(read_record(store, path, dict[str, Any])))))


def _pretrained(value: Any) -> list[str]:
    """Every `pretrained` name in a description of a model, with the revision beside it."""
    if isinstance(value, list):
        return [name for item in value for name in _pretrained(item)]
    if not isinstance(value, dict):
        return []
    name, revision = value.get("pretrained"), value.get("revision")
    own = [f"{name} {revision}".strip() if revision else str(name)] if isinstance(name, str) and name else []
    return own + [name for item in value.values() for name in _pretrained(item)]


def _basis(store: Store, scores: str) -> str:
    path = f"{run_path(scores)}/{SCORES_FILE}" if scores else ""
    if not path or not store.exists(path):
        return ""
    systems = read_record(store, path, list[dict[str, Any]])
    first = systems[0] if systems else {}
    if "num_studies" not in first:
        return ""
    patients, section = first.get("num_patients", "?"), first.get("section", "?")
    return f"{first['num_studies']} studies of {patients} patients, section {section}"


def _groups(store: Store, scores: str) -> tuple[Group, ...]:
    path = f"{run_path(scores)}/{SLICES_FILE}" if scores else ""
    return groups_from_json(read_record(store, path, list[Any] | dict[str, Any])) if path and store.exists(path) else ()


def _decision(store: Store, registration: str) -> Decision | None:
    path = f"{run_path(registration)}/{DECISION_FILE}" if registration else ""
    return decision_from_bytes(store.read_bytes(path)) if path and store.exists(path) else None
