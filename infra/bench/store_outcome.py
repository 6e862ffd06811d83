"""What a store holds after a run, as digests by name, so that two runs can be compared: for `infra.bench.kills`.

Times and places are left out, all else is compared: rows of tables, losses, weights, scores, decisions, the registry.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pipelines.registry.alias_moves import list_moves
from pipelines.registry.model_list import list_models
from trrg_core.config.settings import RegisterConfig
from trrg_core.runs.results import RunResult, list_results
from trrg_core.storage.folders import RUN_FOLDER
from trrg_core.storage.store import Store
from trrg_core.tables.commit_history import history
from trrg_core.tables.delta import read_table

TABLES = ("studies", "reports", "shards", "predictions", "rejects")
# files of a run that hold no time, place or signature
COMPARED = (
    "losses.json",
    "scores.json",
    "slices.json",
    "outcomes.parquet",
    "image_outcomes.parquet",
    "perception_scores.json",
    "decision.json",
    "golden.json",
    "golden.png",
)
# metrics that tell how fast it went, or on which memory
MEASURED = ("memory_gib", "pairs_per_s", "stall_percent", "step_s", "studies_per_s", "tokens_per_s", "seconds")

Outcome = dict[str, str]


def read_outcome(store: Store, written_as: str = "") -> Outcome:
    """The digest of each part of a store by its name; `written_as` is the address of a store that this is a copy of."""
    return {**_tables(store), **_runs(store, written_as or store.uri), **_registry(store)}


def differences(wanted: Mapping[str, str], found: Mapping[str, str]) -> tuple[str, ...]:
    """The names of what is missing, more, or different."""
    return tuple(name for name in sorted({*wanted, *found}) if wanted.get(name) != found.get(name))


def _tables(store: Store) -> Outcome:
    found = {}
    for name in TABLES:
        for commit in history(store, name):
            rows = sorted(map(repr, read_table(store, commit.ref).to_pylist()))
            found[str(commit.ref)] = _digest("\n".join(rows).encode())
    return found


def _runs(store: Store, address: str) -> Outcome:
    results = list_results(store)
    finished = {result.run_id for result in results}
    started = {path.split("/")[1] for path in store.list(RUN_FOLDER)} if store.exists(RUN_FOLDER) else set()
    found = {f"{run} is not finished": "" for run in started - finished}
    for result in results:
        found[result.run_id] = _digest(_plain(address, result))
        for path in store.list(result.path):
            name = path.removeprefix(f"{result.path}/")
            if name in COMPARED or (name.startswith("model/") and not name.endswith("manifest.json")):
                found[f"{result.run_id}/{name}"] = _digest(store.read_bytes(path))
    return found


def _plain(address: str, result: RunResult) -> bytes:
    metrics = {name: value for name, value in result.metrics.items() if not name.endswith(MEASURED)}
    values: dict[str, Any] = {"inputs": dict(result.inputs), "metrics": metrics, "notes": dict(result.notes)}
    return json.dumps(values, sort_keys=True).replace(address, "STORE").encode()


def _registry(store: Store) -> Outcome:
    models = list_models(store, RegisterConfig())
    moves = [(move.before, move.after, move.kind, move.reason) for move in list_moves(store)]
    versions = [
        (
            model.version,
            model.aliases,
            model.generator,
            model.scores_run,
            model.registration,
            model.ruling,
            model.scores,
        )
        for model in models
    ]
    return {"versions of the registry": _digest(repr(versions).encode()), "moves of the champion": repr(moves)}


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
