"""`shards` + contrastive run -> a generator run: stage 2, the LLM with injected clues, as a model folder."""

from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch

from pipelines.records.job_result import JobResult
from pipelines.training.deepspeed_setup import partitioned_build
from pipelines.training.gpu_memory import check_memory_of_stage
from pipelines.training.runs import check_label_set, corpus_tokenizer, find_or_train, load_stage1, observations_of
from pipelines.training.stage import Collate, Stage, TrainingTask
from trrg_core.config.settings import TrrgConfig
from trrg_core.errors import ConfigError
from trrg_core.model.backbones import Weights, check_values
from trrg_core.model.folder_content import by_content, check_folder_exists
from trrg_core.model.generator import ReportGenerator, build_generator
from trrg_core.model.instruction import instruction_text
from trrg_core.model.model_folder import save_model_folder
from trrg_core.model.model_size import finetune_size
from trrg_core.model.weight_origin import warn_of_moving_weights
from trrg_core.runs.stored_model import uploaded_model
from trrg_core.storage.store import Store
from trrg_core.tables.delta import read_table
from trrg_core.training.collate import collate_finetune
from trrg_core.training.counterfactuals import ReportEditor
from trrg_core.training.prompts import load_prompts


def run(config: TrrgConfig, store: Store, inputs: Mapping[str, str]) -> JobResult:
    """Train stage 2 on a version of `shards`, with the frozen image encoder and the perception of a pretrain run.

    Raises:
        ConfigError: if `shards`, or what stage 1 was trained on, has the labels of another label set, or the
            LLM does not know a value or is missing.
    """
    check_values(config.finetune.llm, "finetune.llm")
    if not config.ray.address:  # the workers are on this machine
        check_folder_exists(config.finetune.llm, "finetune.llm")
    warn_of_moving_weights(config.finetune.llm, "finetune.llm")
    check_label_set(config, store, inputs["shards"])
    stage = Stage(
        name="finetune",
        schedule=config.finetune,
        build=build,
        collate=collate,
        save=save,
        score=score,
        collate_validation=collate_validation,
    )
    identity = config.finetune.model_copy(update={"llm": by_content(config.finetune.llm)})
    result, reused = find_or_train(stage, config, [identity, instruction_text(config)], store, inputs)
    return JobResult.of_run(result, reused=reused)


def build(task: TrainingTask, *, weights: Weights = "pretrained") -> ReportGenerator:
    """The generator on top of the trained stage 1, the same on every rank; see `build_generator` for `weights`."""
    stage1 = load_stage1(task, anew=weights == "pretrained")
    config = _with_stage1_settings(task.config, stage1.config)
    if weights == "pretrained":
        check_memory_of_stage(config, finetune_size, config.finetune.optimizer)
    observations = observations_of(task.config)
    if observations != stage1.perception.observations:
        raise ConfigError(
            f"{task.inputs['contrastive']} was trained with another label set than parse.label_set="
            f"{task.config.parse.label_set}: train stage 1 on {task.inputs['shards']}"
        )
    is_loaded = bool(config.finetune.llm.pretrained) and weights == "pretrained"
    with partitioned_build(config.engine) if is_loaded else nullcontext():
        return build_generator(
            config, stage1.contrastive, stage1.perception, _tokenizer(task), observations, weights=weights
        )


def collate(task: TrainingTask) -> Collate:
    """Makes a step's batch: radiographs, labels and reference reports, some of them counterfactual."""
    observations = observations_of(task.config)
    reports = read_table(task.store, task.shards, columns=["split", "report", "sentences"], split="train").to_pylist()
    editor = ReportEditor(reports, prompts=load_prompts(observations), observations=observations)
    return _collate(task, editor)


def collate_validation(task: TrainingTask) -> Collate:
    """As `collate`, of the reports as they are.

    In evaluation mode clues are as perceived, so that a counterfactual report
    would contradict them, and the loss would rise with a model that follows its clues.
    """
    return _collate(task, None)


def _collate(task: TrainingTask, editor: ReportEditor | None) -> Collate:
    return partial(
        collate_finetune,
        tokenizer=_tokenizer(task),
        observations=observations_of(task.config),
        config=_with_stage1_settings(task.config, load_stage1(task).config),
        editor=editor,
    )


def save(task: TrainingTask, state: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """Write the model folder, which holds all that generation needs; returns the number of trained parameters."""
    stage1 = load_stage1(task)
    # its weights are those in `state`, so that a named LLM is not loaded again
    with torch.device("meta"):
        generator = build(task, weights="random")
    trained = sum(parameter.numel() for parameter in generator.parameters() if parameter.requires_grad)
    with uploaded_model(task.store, task.run_id, key=task.manifest_key) as folder:
        save_model_folder(
            folder,
            config=_with_stage1_settings(task.config, stage1.config),
            generator=generator,
            text_tokenizer=stage1.tokenizer,
            state=state,
        )
    return {"trained_parameters": float(trained)}


def score(task: TrainingTask) -> dict[str, float]:
    """Nothing: the generator is scored by the reports it writes, in the jobs `generate` and `evaluate`."""
    return {}


def _with_stage1_settings(config: TrrgConfig, stage1: TrrgConfig) -> TrrgConfig:
    """`config` with the pretrain section that its stage 1 was built with."""
    return config.model_copy(update={"pretrain": stage1.pretrain})


def _tokenizer(task: TrainingTask) -> Any:
    settings = task.config.finetune
    return corpus_tokenizer(
        task.store,
        task.shards,
        pretrained=settings.llm.pretrained,
        revision=settings.llm.revision,
        vocabulary_size=settings.vocabulary_size,
    )
