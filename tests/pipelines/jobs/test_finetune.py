"""The model folder of stage 2, from a gathered state and a model without weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from pipelines.jobs import finetune
from pipelines.training import runs
from pipelines.training.stage import Stage, TrainingTask
from tests.core.toy_corpus import OBSERVATIONS, toy_config, toy_rows, toy_texts
from trrg_core.config.load import validate_config
from trrg_core.config.settings import TrrgConfig
from trrg_core.model.contrastive import build_contrastive
from trrg_core.model.model_folder import LoadedContrastive, load_model_folder
from trrg_core.model.perception import build_perception
from trrg_core.runs.results import RunResult
from trrg_core.runs.stored_model import fetched_model
from trrg_core.storage.store import open_store
from trrg_core.training.batch import Batch
from trrg_core.training.collate import collate_images
from trrg_core.training.tokenization import train_tokenizer

OTHER_SHARES = ("hidden", "given", "turned_side", "turned_degree")


def _stage1(config: TrrgConfig) -> LoadedContrastive:
    tokenizer = train_tokenizer(toy_texts(), vocabulary_size=600, lowercase=True)
    torch.manual_seed(0)
    model = build_contrastive(config, tokenizer, OBSERVATIONS).eval()
    perception = build_perception(model, tokenizer, OBSERVATIONS)
    return LoadedContrastive(config=config, contrastive=model, perception=perception, tokenizer=tokenizer)


def _task(tmp_path: Path, *, named: bool) -> TrainingTask:
    tokenizer = train_tokenizer(toy_texts(), vocabulary_size=600)
    values: dict[str, Any] = toy_config("finetune.lora.train_embeddings=false").model_dump(mode="json")
    if named:
        shape = {"hidden_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 96}
        llm = AutoModelForCausalLM.from_config(LlamaConfig(vocab_size=len(tokenizer), **shape))
        llm.save_pretrained(tmp_path / "llm")
        values["finetune"]["llm"] = {"pretrained": str(tmp_path / "llm")}
    return TrainingTask(
        run_id="finetune-1",
        config=validate_config(values),
        store=open_store(str(tmp_path / "store")),
        inputs={"shards": "shards@1", "contrastive": "pretrain-1"},
        code_version="test",
        withdrawals="",
    )


@pytest.mark.parametrize("named", [False, True])
def test_the_saved_model_has_the_weights_of_the_trained_one(
    named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = _task(tmp_path, named=named)
    stage1 = _stage1(task.config)
    monkeypatch.setattr(finetune, "load_stage1", lambda task, **_: stage1)
    monkeypatch.setattr(finetune, "observations_of", lambda config: OBSERVATIONS)
    monkeypatch.setattr(
        finetune, "corpus_tokenizer", lambda *_, **__: train_tokenizer(toy_texts(), vocabulary_size=600)
    )
    trained = finetune.build(task)
    for name, parameter in trained.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    whole = trained.state_dict()
    # as gathered: a named LLM's frozen base is left out
    needed = {name for name, parameter in trained.named_parameters() if parameter.requires_grad}
    state = {name: value for name, value in whole.items() if not (named and name[:4] == "llm." and name not in needed)}
    count = sum(parameter.numel() for parameter in trained.parameters() if parameter.requires_grad)
    assert finetune.save(task, state) == {"trained_parameters": float(count)}
    with fetched_model(task.store, task.run_id) as folder:
        loaded = load_model_folder(folder).generator.state_dict()
    assert loaded.keys() == whole.keys()
    assert all(torch.equal(loaded[name], value) for name, value in whole.items())


def test_the_loss_on_validate_is_of_reports_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = toy_config("finetune.turned_share=1.0", *(f"finetune.{name}_share=0.0" for name in OTHER_SHARES))
    task, rows = replace(_task(tmp_path, named=False), config=values), toy_rows(8)
    stage1 = _stage1(task.config)
    monkeypatch.setattr(finetune, "load_stage1", lambda task, **_: stage1)
    monkeypatch.setattr(finetune, "observations_of", lambda config: OBSERVATIONS)
    monkeypatch.setattr(finetune, "read_table", lambda *_, **__: pa.Table.from_pylist(rows))
    monkeypatch.setattr(
        finetune, "corpus_tokenizer", lambda *_, **__: train_tokenizer(toy_texts(), vocabulary_size=600)
    )
    monkeypatch.setattr(finetune, "check_label_set", lambda *_: None)
    stages: list[Stage] = []

    def find_or_train(stage: Stage, *_: Any) -> tuple[RunResult, bool]:
        stages.append(stage)
        return RunResult(run_id="finetune-1", job="finetune"), True

    monkeypatch.setattr(finetune, "find_or_train", find_or_train)
    finetune.run(task.config, task.store, task.inputs)
    assert stages[0].collate_validation is not None
    makers = (stages[0].collate(task), stages[0].collate_validation(task))
    training, validation = (make(rows, seed=3) for make in makers)
    own = collate_images(rows, observations=OBSERVATIONS, config=task.config.pretrain)
    assert isinstance(training, Batch)
    assert isinstance(validation, Batch)
    assert torch.equal(validation.stated_BO, own.stated_BO)
    assert not torch.equal(training.stated_BO, own.stated_BO)


def test_stage_1_is_loaded_anew_for_a_model_that_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = _task(tmp_path, named=False)

    @contextmanager
    def fetched(*_: Any, **__: Any) -> Iterator[Path]:
        yield tmp_path

    monkeypatch.setattr(runs, "fetched_model", fetched)
    monkeypatch.setattr(runs, "load_contrastive_folder", lambda folder: object())
    first = runs.load_stage1(task, anew=True)
    assert runs.load_stage1(task) is first
    assert runs.load_stage1(task, anew=True) is not first
