"""The bill of materials of a registered model: CycloneDX 1.6 JSON, in the folder of its registration.

It names the files of the model, the base weights (hub revision, sha256), the table versions and training runs that it
comes from, the code version, and the packages of the environment that registered it. No patient, study or text.
"""

import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping
from importlib.metadata import distributions
from typing import Any

from trrg_core.errors import ConfigError, TrrgError
from trrg_core.model.manifest import MANIFEST
from trrg_core.runs.results import RunResult, read_result, run_path
from trrg_core.runs.stored_model import model_path
from trrg_core.signing.bundle import MAX_BUNDLE_BYTES, STATEMENT_TYPE, read_statement, sign_statement
from trrg_core.signing.key_pair import read_signing_key, read_verifying_key
from trrg_core.storage.store import Store
from trrg_core.tables.commit_history import find_commit
from trrg_core.tables.table_ref import TableRef

BILL_FILE = "mlbom.cdx.json"
_PREDICATE_TYPE = "https://cyclonedx.org/bom"
_MODEL = "model"
Component = dict[str, Any]


def write_bill(store: Store, run_id: str, *, name: str, generator: str) -> str:
    """Write the bill of the model of `generator` into the registration `run_id`; its sha256.

    It is signed too where a signing key is configured.

    Raises:
        ConfigError: if the model folder is not readable.
    """
    bill = make_bill(store, name=name, generator=generator)
    data = json.dumps(bill, indent=1, sort_keys=True).encode()
    path, digest = f"{run_path(run_id)}/{BILL_FILE}", hashlib.sha256(data).hexdigest()
    store.write_bytes(path, data)
    key = read_signing_key()
    if key is not None:
        subject = [{"name": BILL_FILE, "digest": {"sha256": digest}}]
        statement = {"_type": STATEMENT_TYPE, "subject": subject, "predicateType": _PREDICATE_TYPE, "predicate": bill}
        store.write_bytes(f"{path}.sig", sign_statement(statement, key))
    return digest


def make_bill(store: Store, *, name: str, generator: str) -> dict[str, Any]:
    """The bill of the model of a training run, by the same bytes for the same model and environment."""
    manifest = store.read_bytes(f"{model_path(generator)}/{MANIFEST}")
    digest = hashlib.sha256(manifest).hexdigest()
    runs = _runs(store, generator)
    parts = [*_weights(store, runs), *_data(store, runs), *_code(runs), *_packages()]
    model: Component = {
        "type": "machine-learning-model",
        "bom-ref": _MODEL,
        "name": name,
        "version": generator,
        "hashes": [_sha256(digest)],
        "components": [
            {"type": "file", "bom-ref": f"file:{path}", "name": path, "hashes": [_sha256(sha256)]}
            for path, sha256 in sorted(json.loads(manifest)["files"].items())
        ],
        "modelCard": {
            "modelParameters": {
                "task": "generation of radiology reports from chest radiographs",
                "datasets": [{"ref": part["bom-ref"]} for part in parts if part["type"] == "data"],
            },
            "considerations": {"technicalLimitations": ["research software, not for clinical use"]},
        },
    }
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, digest)}",
        "version": 1,
        "metadata": {"component": model},
        "components": parts,
        "dependencies": [{"ref": _MODEL, "dependsOn": sorted(part["bom-ref"] for part in parts)}],
    }


def check_bill(store: Store, run_id: str, *, generator: str, digest: str) -> str:
    """Check the bill of a registration against the registry, the model folder and, with a public key, its signature.

    Args:
        store: where the registration is.
        run_id: the registration.
        generator: the training run of the model.
        digest: the sha256 of the bill in the registry.

    Returns:
        What was found, in words.

    Raises:
        ConfigError: if it is missing, changed, of another model, or not signed.
    """
    path = f"{run_path(run_id)}/{BILL_FILE}"
    if not digest:
        detail = "none was written, as before 0.3: `trrg migrate --yes` writes one"
        if read_verifying_key() is not None:
            raise ConfigError(detail)
        return detail
    if not store.exists(path):
        raise ConfigError(f"{path} is missing")
    data = store.read_bytes(path)
    if hashlib.sha256(data).hexdigest() != digest:
        raise ConfigError(f"{path} is not the one that was registered")
    bill = json.loads(data)
    manifest = store.read_bytes(f"{model_path(generator)}/{MANIFEST}")
    if bill["metadata"]["component"]["hashes"] != [_sha256(hashlib.sha256(manifest).hexdigest())]:
        raise ConfigError(f"{path} is of another model than {generator}")
    key, signature = read_verifying_key(), f"{path}.sig"
    if key is None:
        return f"{len(bill['components'])} components; not verified: no public key"
    if not store.exists(signature):
        raise ConfigError(f"{path} is not signed")
    if read_statement(store.read_bytes(signature, MAX_BUNDLE_BYTES), key).get("predicate") != bill:
        raise ConfigError(f"{signature} is of another bill")
    return f"{len(bill['components'])} components, signed"


def _runs(store: Store, generator: str) -> list[RunResult]:
    """The training run of the model, and that of its stage 1."""
    trained = read_result(store, generator)
    if trained is None:
        raise ConfigError(f"run {generator!r} is not finished or does not exist")
    first = trained.inputs.get("contrastive", "")
    stage1 = read_result(store, first) if first else None
    return [trained] if stage1 is None else [trained, stage1]


def _weights(store: Store, runs: list[RunResult]) -> Iterator[Component]:
    """The pretrained weights that a model folder says it was made of."""
    for run in runs:
        path = f"{model_path(run.run_id)}/config.json"
        described = json.loads(store.read_bytes(path)) if store.exists(path) else {}
        for part, origin in sorted(described.get("origins", {}).items()):
            yield {
                "type": "machine-learning-model",
                "bom-ref": f"weights:{part}",
                "name": origin["pretrained"],
                "version": origin["revision"] or "local files",
                "description": f"base weights of {part}",
                "components": [
                    {"type": "file", "bom-ref": f"weights:{part}/{file}", "name": file, "hashes": [_sha256(sha256)]}
                    for file, sha256 in sorted(origin["files"].items())
                ],
            }


def _data(store: Store, runs: list[RunResult]) -> Iterator[Component]:
    """The table versions that the runs were trained on, and those that these were made of."""
    waiting = [ref for run in runs for ref in run.inputs.values() if "@" in ref]
    seen: dict[str, Component] = {}
    while waiting:
        ref = waiting.pop()
        if ref in seen:
            continue
        table, _, version = ref.rpartition("@")
        component: Component = {"type": "data", "bom-ref": f"data:{ref}", "name": table, "version": version}
        seen[ref] = component
        try:
            commit = find_commit(store, TableRef.parse(ref))
        except (TrrgError, ValueError):
            component["description"] = "no longer in the store"
            continue
        component["properties"] = [{"name": "trrg:content", "value": commit.content}]
        waiting += [parent for parent in commit.parents if "@" in parent]
    yield from (seen[ref] for ref in sorted(seen))


def _code(runs: list[RunResult]) -> Iterator[Component]:
    for run in runs:
        yield {"type": "application", "bom-ref": f"code:{run.job}", "name": "trrg", "version": run.code_version or "-"}


def _packages() -> Iterator[Component]:
    """The installed distributions."""
    found = {_normal(one.metadata["Name"]): one.version for one in distributions() if one.metadata["Name"]}
    for name, version in sorted(found.items()):
        purl = f"pkg:pypi/{name}@{version}"
        yield {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def _sha256(digest: str) -> Mapping[str, str]:
    return {"alg": "SHA-256", "content": digest}
