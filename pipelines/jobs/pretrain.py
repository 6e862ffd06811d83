"""`shards` -> a contrastive run: stage 1 trained, its disease perception calibrated on `validate`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import nn

from pipelines.ray_data.map_split import map_split
from pipelines.records.job_result import JobResult
from pipelines.training.runs import corpus_tokenizer, find_or_train, observations_of
from pipelines.training.stage import UNSCORED, Collate, Stage, TrainingTask
from trrg_core.config.settings import TrrgConfig
from trrg_core.model.calibration import Auroc, auroc_per_finding, fit_calibration, macro_auroc
from trrg_core.model.contrastive import build_contrastive
from trrg_core.model.model_folder import (
    LoadedContrastive,
    load_contrastive_folder,
    save_contrastive_folder,
    take_weights,
)
from trrg_core.model.perception import build_perception, perceive
from trrg_core.runs.stored_model import fetched_model, uploaded_model
from trrg_core.storage.store import Store
from trrg_core.training.collate import collate_images, collate_pretrain
from trrg_core.training.prompts import load_prompts


@dataclass(frozen=True, kw_only=True)
class ScoredModel:
    """The run whose uncalibrated model a task loads, and the device it runs on."""

    store: Store
    run_id: str
    device: str


def run(config: TrrgConfig, store: Store, inputs: Mapping[str, str]) -> JobResult:
    """Train stage 1 on a version of `shards`."""
    stage = Stage(name="pretrain", schedule=config.pretrain, build=build, collate=collate, save=save, score=score)
    result, reused = find_or_train(stage, config, [config.pretrain, config.parse.label_set], store, inputs)
    return JobResult.of_run(result, reused=reused)


def build(task: TrainingTask) -> nn.Module:
    """The contrastive model, with a tokenizer that is the same on every rank."""
    return build_contrastive(task.config, _tokenizer(task), observations_of(task.config))


def collate(task: TrainingTask) -> Collate:
    """Makes a step's batch: radiographs with drawn sentences, prompts and hard negatives."""
    observations = observations_of(task.config)
    return partial(
        collate_pretrain,
        tokenizer=_tokenizer(task),
        prompts=load_prompts(observations),
        observations=observations,
        config=task.config.pretrain,
    )


def save(task: TrainingTask, state: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """Write the model folder with perception as it is before calibration; no numbers."""
    config, tokenizer, observations = task.config, _tokenizer(task), observations_of(task.config)
    model = build_contrastive(config, tokenizer, observations)
    take_weights(model, state)
    perception = build_perception(model.eval(), tokenizer, observations)
    with uploaded_model(task.store, task.run_id, UNSCORED) as folder:
        save_contrastive_folder(folder, config=config, contrastive=model, perception=perception, tokenizer=tokenizer)
    return {}


def score(task: TrainingTask) -> dict[str, float]:
    """Calibrate perception on `validate`, measure zero-shot AUROC on `test`, write the final model folder."""
    with fetched_model(task.store, task.run_id, UNSCORED) as folder:
        model = load_contrastive_folder(folder)
    model.perception.set_calibrations(fit_calibration(*score_split(task, "validate")))
    test = auroc_per_finding(*score_split(task, "test"), observations_of(task.config))
    with uploaded_model(task.store, task.run_id) as folder:
        save_contrastive_folder(
            folder,
            config=task.config,
            contrastive=model.contrastive,
            perception=model.perception,
            tokenizer=model.tokenizer,
        )
    task.store.write_bytes(f"{task.path}/auroc.json", json.dumps([asdict(auroc) for auroc in test]).encode())
    return _auroc_metrics(test)


def score_split(task: TrainingTask, split: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int8]]:
    """Zero-shot scores [N,O] and what the reports state [N,O] of every study of a split, in order of study ids."""
    engine = task.config.engine
    source = ScoredModel(store=task.store, run_id=task.run_id, device="cuda" if engine.use_gpu else "cpu")
    table = map_split(
        task.store,
        task.shards,
        split,
        score_batch,
        {"source": source},
        num_workers=engine.num_workers,
        num_gpus=float(engine.use_gpu),
        in_process=task.local,
    )
    num_findings = len(observations_of(task.config))
    if table is None:
        return np.zeros((0, num_findings)), np.zeros((0, num_findings), dtype=np.int8)
    scores, stated = (np.array(table[name].to_pylist()) for name in ("score", "stated"))
    return scores.astype(np.float64), stated.astype(np.int8)


def score_batch(shards: pa.Table, *, source: ScoredModel) -> pa.Table:
    """Study ids, zero-shot scores [N,O] and what the reports state [N,O] of a table of shard rows."""
    model = _load_scored(source)
    settings, observations = model.config.pretrain, model.perception.observations
    scores, stated = [], []
    rows = shards.to_pylist()
    for at in range(0, len(rows), settings.batch_size):
        batch = collate_images(rows[at : at + settings.batch_size], observations=observations, config=settings)
        scores += perceive(model.contrastive, model.perception, batch.to(source.device)).score_BO.tolist()
        stated += batch.stated_BO.tolist()
    return pa.table({"study_id": shards["study_id"], "score": scores, "stated": stated})


@lru_cache(maxsize=1)
def _load_scored(source: ScoredModel) -> LoadedContrastive:
    """The model that is scored, once per process."""
    with fetched_model(source.store, source.run_id, UNSCORED) as folder:
        loaded = load_contrastive_folder(folder)
    loaded.contrastive.to(source.device)
    loaded.perception.to(source.device)
    return loaded


def _auroc_metrics(results: Sequence[Auroc]) -> dict[str, float]:
    macro = macro_auroc(results)
    return {"zero_shot_macro_auroc": macro} if macro is not None else {}


def _tokenizer(task: TrainingTask) -> Any:
    settings = task.config.pretrain
    return corpus_tokenizer(
        task.store,
        task.shards,
        pretrained=settings.text_encoder.pretrained,
        revision=settings.text_encoder.revision,
        vocabulary_size=settings.vocabulary_size,
        lowercase=True,
    )
