"""What both training stages do around the loop: find a finished run, name it, fetch and store model folders."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.records.code_version import code_version
from pipelines.records.fingerprint import job_fingerprint
from pipelines.training.loop import Stage, TrainingTask, train
from trrg_core.config.settings import EncoderConfig, TrrgConfig
from trrg_core.errors import ConfigError
from trrg_core.labels import load_label_set
from trrg_core.model.model_folder import LoadedContrastive, load_contrastive_folder
from trrg_core.runs.results import RunResult, read_result, run_path
from trrg_core.storage.store import Store
from trrg_core.tables.commit_history import find_commit
from trrg_core.tables.delta import read_table
from trrg_core.tables.table_ref import TableRef
from trrg_core.training.tokenization import load_tokenizer

MODEL = "model"


def find_or_train(
    stage: Stage, config: TrrgConfig, settings: object, store: Store, inputs: Mapping[str, str]
) -> tuple[RunResult, bool]:
    """The finished run of this stage, config and inputs, and whether it was there already."""
    _check_slice(store, inputs)
    identity = job_fingerprint(stage.name, [config.seed, config.engine.num_workers, settings], store, inputs)
    run_id = f"{stage.name}-{identity}"
    found = read_result(store, run_id)
    if found:
        return found, True
    task = TrainingTask(run_id=run_id, config=config, store=store, inputs=dict(inputs), code_version=code_version())
    return train(stage, task), False


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
    """The observations the model speaks of: those of the label set the reports were parsed with."""
    return load_label_set(config.parse.label_set).observations


@contextmanager
def fetched_model(store: Store, run_id: str) -> Iterator[Path]:
    """A local copy of a run's model folder, for as long as the block lasts."""
    with tempfile.TemporaryDirectory() as local:
        folder = Path(local) / MODEL
        store.download_dir(f"{run_path(run_id)}/{MODEL}", folder)
        yield folder


@cache
def load_stage1(store: Store, run_id: str) -> LoadedContrastive:
    """Stage 1 of a finished pretrain run, once per process."""
    with fetched_model(store, run_id) as folder:
        return load_contrastive_folder(folder)


_TOKENIZERS: dict[str, Any] = {}


def corpus_tokenizer(
    task: TrainingTask, encoder: EncoderConfig, *, vocabulary_size: int, lowercase: bool = False
) -> Any:
    """The tokenizer of a run's text backbone, once per process: a pretrained one's own, else trained on the corpus."""
    if task.run_id not in _TOKENIZERS:
        _TOKENIZERS[task.run_id] = load_tokenizer(
            encoder,
            training_texts(task.store, task.shards),
            vocabulary_size=vocabulary_size,
            lowercase=lowercase,
        )
    return _TOKENIZERS[task.run_id]


def training_texts(store: Store, shards: TableRef) -> Iterator[str]:
    """Report and sentence texts of the training split, in table order: what tokenizers are trained on."""
    table = read_table(store, shards, columns=["split", "report", "sentences"], split="train")
    yield from table["report"].to_pylist()
    sentences = table["sentences"].combine_chunks()
    if isinstance(sentences, pa.ChunkedArray):
        sentences = sentences.chunk(0)
    yield from sentences.flatten().field("text").to_pylist()
