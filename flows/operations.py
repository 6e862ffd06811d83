"""The flows beside retraining: refresh the data, evaluate a model, promote one, and a sweep over settings and seeds."""

import logging
from typing import Annotated, Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from pydantic import Field

from flows.artifacts import send_event, store_artifact
from flows.cancelling import stop_cluster_jobs
from flows.choices import OnDrift
from flows.entry import find_earlier_results, read_config
from flows.form_fields import OF_PRESET, Settings, SourceChoice, chosen_source
from flows.grid import combinations, score_rows
from flows.outcome import ended
from flows.render.decision_text import artifact_rows, escape
from flows.retraining import run_chain
from flows.run_log import show_own_lines
from pipelines.registry.alias_moves import promote as move_champion
from pipelines.registry.find_model import find_model
from trrg_core.errors import ConfigError
from trrg_core.storage.store import open_store

logger = logging.getLogger(__name__)


@flow(name="refresh-data", persist_result=False, validate_parameters=True, on_cancellation=[stop_cluster_jobs])
def refresh_data(
    source_root: str = "",
    store: str = "./trrg-store",
    source: SourceChoice = OF_PRESET,
    preset: str = "tiny",
    settings: Settings = (),
    on_drift: OnDrift = "warn",
) -> dict[str, Any]:
    """Read what is new in the source, parse it and write shards; nothing is trained.

    Args:
        source_root: folder or s3:// prefix of the studies; only read.
        store: folder or s3:// prefix where everything is kept.
        source: format of the source tree; `preset` takes that of the preset.
        preset: `tiny`, `small`, `base`, or the path of a YAML file.
        settings: single values, e.g. `ingest.max_side_px=512`.
        on_drift: what to do when the shards have drifted from those that the champion was trained on.
    """
    show_own_lines()

    def run() -> dict[str, Any]:
        config = read_config(preset, chosen_source(source), source_root, settings)
        return run_chain(config, store, "ingest", "", on_drift, last="shard")

    return ended(run)


@flow(name="evaluate", persist_result=False, validate_parameters=True, on_cancellation=[stop_cluster_jobs])
def evaluate_model(
    store: str = "./trrg-store",
    model: str = "models:/trrg@champion",
    preset: str = "tiny",
    settings: Settings = (),
) -> dict[str, Any]:
    """Write and score the reports of a model on the test split of the newest shards.

    Args:
        store: folder or s3:// prefix where everything is kept.
        model: models:/NAME@ALIAS, models:/NAME/VERSION, or a training run of the store.
        preset: `tiny`, `small`, `base`, or the path of a YAML file.
        settings: single values, e.g. `generate.candidates=4`.
    """
    show_own_lines()

    def run() -> dict[str, Any]:
        config = read_config(preset, "", "", settings)
        found = find_model(open_store(store), config.register_, model)
        if not found.run_id:
            raise ConfigError(f"{found.name} has no training run in {store}: evaluate a model of this store")
        refs = find_earlier_results(store, "pretrain") | {"generator": found.run_id}
        return run_chain(config, store, "generate", "", "ignore", last="evaluate", refs=refs)

    return ended(run)


@flow(name="promote", persist_result=False, validate_parameters=True, on_cancellation=[stop_cluster_jobs])
def promote_model(
    version: str,
    reason: Annotated[str, Field(min_length=3)],
    store: str = "./trrg-store",
    preset: str = "tiny",
    settings: Settings = (),
) -> dict[str, Any]:
    """Make a registered version the champion, whatever the gate said.

    Args:
        version: the number of the version, e.g. 3; `none` where the last champion is gone for good.
        reason: why; it is kept in the registry.
        store: folder or s3:// prefix where everything is kept.
        preset: `tiny`, `small`, `base`, or the path of a YAML file.
        settings: single values, e.g. `register.tracking_uri=http://mlflow:5000`.
    """
    show_own_lines()

    def run() -> dict[str, Any]:
        config = read_config(preset, "", "", settings).register_
        move = move_champion(open_store(store), config, version, reason)
        name = config.model_name
        before, after = move.uris(name)
        text = f"Champion: **{after}** (before: {before}), because: {escape(move.reason)}"
        store_artifact(create_markdown_artifact, text, key="decision", description="Promoted by a person")
        logger.info("champion: %s (before: %s), because: %s", after, before, move.reason)
        payload = {"before": move.before, "after": move.after, "reason": move.reason}
        if move.after:
            send_event("gate.promoted", f"model.{after}", payload)
        return {"promote": {"ref": after}}

    return ended(run)


@flow(name="sweep", persist_result=False, validate_parameters=True, on_cancellation=[stop_cluster_jobs])
def sweep(
    grid: dict[str, list[Any]],
    seeds: Annotated[tuple[int, ...], Field(min_length=1, max_length=10)] = (7,),
    store: str = "./trrg-store",
    preset: str = "tiny",
    settings: Settings = (),
) -> dict[str, Any]:
    """Train and score every combination of settings with every seed, one after the other, and compare them.

    The newest shards of the store are used. Nothing is registered: register what convinces.

    Args:
        grid: values by setting, e.g. `{"finetune.clues": ["on", "off"]}`; at most 32 runs in all.
        seeds: seeds of each combination, at most 10.
        store: folder or s3:// prefix where everything is kept.
        preset: `tiny`, `small`, `base`, or the path of a YAML file.
        settings: single values for all runs.
    """
    show_own_lines()

    def run() -> dict[str, Any]:
        results: dict[str, Any] = {}
        for name, words in combinations(grid, seeds):
            config = read_config(preset, "", "", [*settings, *words])
            results[name] = run_chain(config, store, "pretrain", "", "ignore", last="evaluate")["evaluate"]
            rows = artifact_rows(score_rows(results))
            store_artifact(create_table_artifact, rows, key="sweep", description=f"{len(results)} runs so far")
        return results

    return ended(run)
