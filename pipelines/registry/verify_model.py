"""Whether a registered model is still what was registered: its files, its evaluation, its decision."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.registry.bill_of_materials import check_bill
from pipelines.registry.evaluation_files import compare_digests
from pipelines.registry.find_model import FoundModel, opened_model
from pipelines.registry.model_list import ListedModel
from pipelines.registry.model_signature import check_stored, signature_path
from pipelines.registry.registry_client import BILL_TAG, GATE_TAG, WEIGHTS_TAG
from trrg_core.errors import DataError, TrrgError
from trrg_core.model.manifest import MANIFEST, check_folder
from trrg_core.registry.decision import DECISION_FILE, EVALUATION_FILES, decision_from_record, tags_of
from trrg_core.runs.results import read_result, run_path
from trrg_core.runs.stored_model import model_path
from trrg_core.signing.key_pair import VERIFYING_VARIABLE, read_verifying_key
from trrg_core.storage.store import Store
from trrg_core.storage.stored_record import read_record


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was verified; `detail` says what is wrong and what to do, or what was found."""

    name: str
    passed: bool
    detail: str


def weights_digest(store: Store, generator: str) -> str:
    """The sha256 of the manifest of a model folder, which names the sha256 of every file; empty without one."""
    path = f"{model_path(generator)}/{MANIFEST}"
    return hashlib.sha256(store.read_bytes(path)).hexdigest() if store.exists(path) else ""


def verify(store: Store, model: ListedModel) -> Iterator[Finding]:
    """What was verified of a version, the cheapest first. Nothing of the model is loaded, no pickle is opened."""
    for name, run_id in (("training run", model.generator), ("evaluation", model.scores_run)):
        exists = bool(run_id) and read_result(store, run_id) is not None
        yield Finding(
            name=name, passed=exists, detail=run_id if exists else f"{run_id or 'no run'} is not in the store"
        )
    yield _evaluated(store, model)
    yield _evaluation_files(store, model)
    yield _decision(store, model)
    yield _manifest(store, model)
    yield _files(store, model)
    yield _signature(store, model)
    yield _bill(store, model)


def _evaluated(store: Store, model: ListedModel) -> Finding:
    scores = read_result(store, model.scores_run) if model.scores_run else None
    of = scores.inputs.get("generator", "") if scores else ""
    same = of == model.generator
    detail = (
        f"of {of}" if same else f"the scores are of {of or 'nothing'}, the model is {model.generator}: evaluate again"
    )
    return Finding(name="evaluated weights", passed=same, detail=detail)


def _evaluation_files(store: Store, model: ListedModel) -> Finding:
    """Whether scores and outcomes are those of the decision, whose own hash of them is in the registry."""
    name, path = "evaluation files", f"{run_path(model.registration)}/{DECISION_FILE}"
    try:
        known = model.registration and store.exists(path)
        recorded = read_record(store, path, dict[str, Any]).get(EVALUATION_FILES, {}) if known else {}
        detail = compare_digests(store, model.scores_run, recorded) if recorded else "not recorded, as before 0.3"
    except TrrgError as error:
        return Finding(name=name, passed=False, detail=str(error))
    return Finding(name=name, passed=True, detail=detail)


def _decision(store: Store, model: ListedModel) -> Finding:
    path = f"{run_path(model.registration)}/{DECISION_FILE}"
    if not model.registration or not store.exists(path):
        return Finding(name="decision", passed=False, detail=f"no decision of {model.model}: `trrg register` makes one")
    try:
        record = read_record(store, path, dict[str, Any])
        checks = _verdicts(tags_of(decision_from_record(record)))
    except DataError as error:
        return Finding(name="decision", passed=False, detail=str(error))
    ruling = record.get("ruling", "")
    gate = {name.removeprefix(GATE_TAG): value for name, value in model.tags.items() if name.startswith(GATE_TAG)}
    other = sorted({name for name, _ in checks.items() ^ _verdicts(gate).items()})
    if ruling == model.ruling and other:
        detail = f"the record and the registry differ in {', '.join(other[:3])} ({len(other)} in all): restore {path}"
        return Finding(name="decision", passed=False, detail=detail)
    same = ruling == model.ruling
    detail = ruling if same else f"the record says {ruling!r}, the registry {model.ruling!r}"
    return Finding(name="decision", passed=same, detail=detail)


def _verdicts(tags: Mapping[str, str]) -> dict[str, str]:
    """The verdict of each check of a decision, of the ruling and of an override, from its tags."""
    return {name: value.partition(":")[0] for name, value in tags.items()}


def _manifest(store: Store, model: ListedModel) -> Finding:
    recorded, present = model.tags.get(WEIGHTS_TAG, ""), weights_digest(store, model.generator)
    if not recorded:
        detail = "the registry has no digest of it, as before 0.3: `trrg register` records one"
        return Finding(name="manifest", passed=False, detail=detail)
    if recorded != present:
        detail = f"sha256 {present[:12] or 'none'}, registered {recorded[:12]}: the folder was replaced; roll back"
        return Finding(name="manifest", passed=False, detail=detail)
    return Finding(name="manifest", passed=True, detail=f"sha256 {recorded[:12]}, as registered")


def _files(store: Store, model: ListedModel) -> Finding:
    try:
        with opened_model(store, FoundModel(name=model.model, run_id=model.generator)) as folder:
            check_folder(folder)
    except (TrrgError, OSError) as error:
        return Finding(name="files", passed=False, detail=f"{error}; restore the folder, or `trrg rollback`")
    return Finding(name="files", passed=True, detail="every file is plain data with the sha256 of the manifest")


def _signature(store: Store, model: ListedModel) -> Finding:
    """The signature, with the public key that is configured; without one nothing can be said of it."""
    try:
        if read_verifying_key() is None:
            signed = "signed" if store.exists(signature_path(model.generator)) else "not signed"
            return Finding(
                name="signature", passed=True, detail=f"{signed}, not verified: {VERIFYING_VARIABLE} is not set"
            )
        check_stored(store, FoundModel(name=model.model, run_id=model.generator))
    except (TrrgError, OSError) as error:
        return Finding(name="signature", passed=False, detail=str(error))
    return Finding(name="signature", passed=True, detail="of the configured key, over every file")


def _bill(store: Store, model: ListedModel) -> Finding:
    try:
        digest = model.tags.get(BILL_TAG, "")
        detail = check_bill(store, model.registration, generator=model.generator, digest=digest)
    except (TrrgError, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        return Finding(name="bill of materials", passed=False, detail=str(error) or type(error).__name__)
    return Finding(name="bill of materials", passed=True, detail=detail)
