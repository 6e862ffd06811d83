"""Training runs: how a run is named and reused, and what its stages load once per process."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.records.code_version import code_version
from pipelines.records.fingerprint import job_fingerprint
from pipelines.training.stage import Stage, TrainingTask
from pipelines.training.train import delete_unscored, train
from trrg_core.config.settings import TrrgConfig
from trrg_core.errors import ConfigError
from trrg_core.labels import column_name, load_label_set
from trrg_core.model.model_folder import LoadedContrastive, load_contrastive_folder
from trrg_core.runs.results import RunResult, read_result, run_path
from trrg_core.runs.stored_model import fetched_model
from trrg_core.signing.manifest_key import ManifestKey
from trrg_core.storage.lock import hold_lock
from trrg_core.storage.store import Store
from trrg_core.storage.withdrawal_lock import withdrawal_state
from trrg_core.tables.commit_history import find_commit
from trrg_core.tables.delta import read_schema, read_table
from trrg_core.tables.table_ref import TableRef
from trrg_core.training.tokenization import load_tokenizer

# What the weights after training depend on. Not here: the number of workers, since a step is cut into micro-batches
# in the same way for any, and where the same operations run, namely offloading, recomputing activations, GPU or CPU.
NUMBER_SETTINGS = {
    "precision",
    "zero_stage",
    "compile_backend",
    "clip_norm",
    "max_bad_steps",
    "validate_every_steps",
    "patience",
}

LOCK = "training.lock"
WAIT_S = 14 * 24 * 3600.0  # for another process that trains the same run: longer than a training takes


def find_or_train(
    stage: Stage, config: TrrgConfig, settings: object, store: Store, inputs: Mapping[str, str]
) -> tuple[RunResult, bool]:
    """The finished run of this stage, settings and inputs, and whether it existed already.

    While another process trains the same run, this one waits for its result, or goes on from its last checkpoint when
    that process ends without one.

    Args:
        stage: the stage to train when there is no such run.
        config: the whole configuration, written into a new run.
        settings: what the stage depends on beside the seed and the engine; part of the run's fingerprint.
        store: where the inputs and the run are.
        inputs: table versions and runs by role, e.g. `{"shards": "shards@3"}`.

    Raises:
        ConfigError: if the slice is not one of the shards, or the store cannot be written.
        DataError: `withdrawn`, if a patient was withdrawn meanwhile.
        TrainingError: if training failed.
    """
    withdrawals = withdrawal_state(store)
    _check_slice(store, inputs)
    numbers = [config.seed, config.engine.model_dump(include=NUMBER_SETTINGS), settings]
    identity = job_fingerprint(stage.name, numbers, store, inputs)
    run_id = f"{stage.name}-{identity}"
    if existing := _find(store, run_id):
        return existing, True
    store.check_writable(run_path(run_id))
    with hold_lock(store, f"{run_path(run_id)}/{LOCK}", what=f"the training of {run_id}", wait_s=WAIT_S):
        if existing := _find(store, run_id):  # by the process that held the lock
            return existing, True
        task = TrainingTask(
            run_id=run_id,
            config=config,
            store=store,
            inputs=dict(inputs),
            code_version=code_version(),
            withdrawals=withdrawals,
        )
        return train(stage, task), False


def _find(store: Store, run_id: str) -> RunResult | None:
    existing = read_result(store, run_id)
    if existing:
        delete_unscored(store, run_id)  # left there by a kill behind the result
    return existing


def _check_slice(store: Store, inputs: Mapping[str, str]) -> None:
    if "slice" not in inputs:
        return
    parents = find_commit(store, TableRef.parse(inputs["slice"])).parents
    if inputs["shards"] not in parents:
        raise ConfigError(
            f"{inputs['slice']} is a sample of {', '.join(parents)}, not of {inputs['shards']}: "
            "slice again with `trrg reslice`, or give the shards it was made of"
        )


def observations_of(config: TrrgConfig) -> tuple[str, ...]:
    """The observations of the model: those of the label set that the reports were parsed with."""
    return load_label_set(config.parse.label_set).observations


def check_label_set(config: TrrgConfig, store: Store, shards: str) -> None:
    """Check that a version of `shards` has the labels of `parse.label_set`.

    Raises:
        ConfigError: if it has others: what a report was never asked about would be learned as absent.
    """
    ref = TableRef.parse(shards)
    if "labels" not in (schema := read_schema(store, ref)).names:
        return
    found = {field.name for field in schema.field("labels").type}
    expected = {column_name(observation) for observation in observations_of(config)}
    if found != expected:
        raise ConfigError(
            f"{ref} was parsed with another label set than parse.label_set={config.parse.label_set}: only one of them "
            f"has {', '.join(sorted(found ^ expected)[:3])}; give the set that it was parsed with, or run parse and "
            "shard again"
        )


def load_stage1(task: TrainingTask, *, anew: bool = False) -> LoadedContrastive:
    """Stage 1 that a task of stage 2 builds on, loaded once per process.

    Args:
        task: the task.
        anew: load it again, for a model that is trained: an earlier task of this process may have moved it or changed
            its number format, and random numbers are then drawn as in a new process.
    """
    if anew:
        _load_stage1.cache_clear()
    return _load_stage1(task.store, task.inputs["contrastive"], task.manifest_key)


@cache
def _load_stage1(store: Store, run_id: str, key: ManifestKey | None) -> LoadedContrastive:
    with fetched_model(store, run_id, key=key) as folder:
        return load_contrastive_folder(folder)


@cache
def corpus_tokenizer(
    store: Store,
    shards: TableRef,
    *,
    pretrained: str,
    vocabulary_size: int,
    lowercase: bool = False,
    revision: str = "",
) -> Any:
    """The tokenizer of the backbone `pretrained`, or one trained on `shards` when that is empty; once per process."""
    texts = training_texts(store, shards)
    return load_tokenizer(pretrained, texts, vocabulary_size=vocabulary_size, lowercase=lowercase, revision=revision)


def training_texts(store: Store, shards: TableRef) -> Iterator[str]:
    """Report and sentence texts of the training split, in table order: what tokenizers are trained on."""
    table = read_table(store, shards, columns=["split", "report", "sentences"], split="train")
    yield from _texts(table["report"])
    yield from _texts(pc.struct_field(pc.list_flatten(table["sentences"]), "text"))


def _texts(column: "pa.ChunkedArray[Any]") -> list[str]:
    texts: list[Any] = column.to_pylist()
    return texts
