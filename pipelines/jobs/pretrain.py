"""`shards` -> a contrastive run: stage 1 trained, its disease perception calibrated on `validate`."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from pipelines.ray_data.training_rows import list_row_groups, read_rows
from pipelines.records.job_result import JobResult
from pipelines.training.runs import corpus_tokenizer, find_or_train, observations_of
from pipelines.training.stage import Stage, TrainingTask
from trrg_core.config.settings import TrrgConfig
from trrg_core.model.calibration import Auroc, auroc_per_finding, fit_calibration, macro_auroc
from trrg_core.model.contrastive import ContrastiveModel, build_contrastive
from trrg_core.model.model_folder import save_contrastive_folder, take_weights
from trrg_core.model.perception import DiseasePerception, build_perception, perceive
from trrg_core.runs.stored_model import uploaded_model
from trrg_core.storage.store import Store
from trrg_core.tables.table_ref import TableRef
from trrg_core.training.batch import Batch
from trrg_core.training.collate import collate_images, collate_pretrain
from trrg_core.training.prompts import load_prompts


def run(config: TrrgConfig, store: Store, inputs: Mapping[str, str]) -> JobResult:
    """Train stage 1 on a version of `shards`."""
    stage = Stage(name="pretrain", schedule=config.pretrain, build=build, collate=collate, finish=finish)
    result, reused = find_or_train(stage, config, [config.pretrain, config.parse.label_set], store, inputs)
    return JobResult.of_run(result, reused=reused)


def build(task: TrainingTask) -> nn.Module:
    """The contrastive model, with a tokenizer that is the same on every rank."""
    return build_contrastive(task.config, _tokenizer(task), observations_of(task.config))


def collate(task: TrainingTask, rows: Sequence[Mapping[str, Any]], seed: int) -> Batch:
    """One step's batch: radiographs with drawn sentences, prompts and hard negatives."""
    observations = observations_of(task.config)
    return collate_pretrain(
        rows,
        tokenizer=_tokenizer(task),
        prompts=load_prompts(observations),
        observations=observations,
        config=task.config.pretrain,
        seed=seed,
    )


def finish(task: TrainingTask, state: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """Calibrate perception on `validate`, measure zero-shot AUROC, write the model folder."""
    config, tokenizer, observations = task.config, _tokenizer(task), observations_of(task.config)
    model = build_contrastive(config, tokenizer, observations)
    take_weights(model, state)
    model.eval()
    perception = build_perception(model, tokenizer, observations)
    scores, stated = score_split(task.store, task.shards, "validate", config, model, perception)
    perception.set_calibrations(fit_calibration(scores, stated))
    test = auroc_per_finding(*score_split(task.store, task.shards, "test", config, model, perception), observations)
    with uploaded_model(task.store, task.run_id) as folder:
        save_contrastive_folder(folder, config=config, contrastive=model, perception=perception, tokenizer=tokenizer)
    task.store.write_bytes(f"{task.path}/auroc.json", json.dumps([asdict(auroc) for auroc in test]).encode())
    return _auroc_metrics(test)


def score_split(
    store: Store,
    shards: TableRef,
    split: str,
    config: TrrgConfig,
    model: ContrastiveModel,
    perception: DiseasePerception,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int8]]:
    """Zero-shot scores [N,O] and what the reports state [N,O] of every study of a split."""
    scores, stated = [], []
    for batch in _image_batches(store, shards, split, config):
        scores.append(perceive(model, perception, batch).score_BO.numpy())
        stated.append(batch.stated_BO.numpy())
    if not scores:
        empty = (0, len(perception.observations))
        return np.zeros(empty), np.zeros(empty, dtype=np.int8)
    return np.concatenate(scores).astype(np.float64), np.concatenate(stated)


def _image_batches(store: Store, shards: TableRef, split: str, config: TrrgConfig) -> Iterator[Batch]:
    observations = observations_of(config)
    for rows in read_rows(store, list_row_groups(store, shards, split), config.pretrain.batch_size):
        yield collate_images(rows, observations=observations, config=config.pretrain)


def _auroc_metrics(results: Sequence[Auroc]) -> dict[str, float]:
    macro = macro_auroc(results)
    return {"zero_shot_macro_auroc": macro} if macro is not None else {}


def _tokenizer(task: TrainingTask) -> Any:
    settings = task.config.pretrain
    return corpus_tokenizer(
        task.store,
        task.shards,
        pretrained=settings.text_encoder.pretrained,
        vocabulary_size=settings.vocabulary_size,
        lowercase=True,
    )
