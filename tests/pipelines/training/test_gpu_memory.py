from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch

from pipelines.training import cpu_memory, gpu_memory
from pipelines.training.gpu_memory import check_memory_of_stage, explained_out_of_memory
from trrg_core.config.load import load_config
from trrg_core.config.settings import EngineConfig
from trrg_core.errors import ConfigError, TrainingError
from trrg_core.model.model_size import pretrain_size
from trrg_core.training.memory_estimate import GIB


@dataclass
class Texts:
    ids_BT: torch.Tensor  # noqa: N815


@dataclass
class Studies:
    study_ids: tuple[str, ...]
    pixels_BVHW: torch.Tensor  # noqa: N815
    reports: Texts


def test_an_exhausted_gpu_names_the_batch_and_what_to_change() -> None:
    batch = Studies(("a", "b"), torch.zeros(2, 1, 4, 4), Texts(torch.zeros(2, 160)))
    engine = EngineConfig(precision="fp32", zero_stage=2, use_gpu=True)
    with pytest.raises(TrainingError) as caught, explained_out_of_memory(batch, engine):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has ...")
    message = str(caught.value)
    assert message.startswith("CUDA out of memory. Tried to allocate 2.00 GiB. The micro-batch was ")
    assert "pixels_BVHW 2x1x4x4, reports.ids_BT 2x160, in fp32 with engine.zero_stage=2" in message
    for advice in (
        "a smaller micro_batch_size",
        "max_report_tokens",
        "engine.precision=bf16",
        "engine.zero_stage=3",
        "offload",
    ):
        assert advice in message
    assert "\n" not in message


@dataclass
class Joined:
    parts: tuple[Texts, ...]


def test_micro_batches_that_are_handled_together_are_described_once() -> None:
    joined = Joined((Texts(torch.zeros(2, 5)), Texts(torch.zeros(2, 5))))
    with pytest.raises(TrainingError) as caught, explained_out_of_memory(joined, EngineConfig()):
        raise torch.OutOfMemoryError("CUDA out of memory.")
    assert "The micro-batch was parts 2 times, parts.ids_BT 2x5, in fp32" in str(caught.value)


def test_what_is_used_already_is_not_advised() -> None:
    engine = EngineConfig(precision="bf16", zero_stage=3, offload_optimizer="cpu", gradient_checkpointing=True)
    with pytest.raises(TrainingError) as caught, explained_out_of_memory(object(), engine):
        raise torch.OutOfMemoryError("CUDA out of memory.")
    assert "engine.zero_stage=3. To save memory: a smaller micro_batch_size" in str(caught.value)
    assert "offload" not in str(caught.value)
    assert "checkpointing" not in str(caught.value)


def test_memory_that_the_cpu_does_not_have_is_told_with_what_to_change() -> None:
    with pytest.raises(TrainingError) as caught, explained_out_of_memory(None, EngineConfig()):
        torch.empty(2**60)
    assert "you tried to allocate" in str(caught.value)
    assert "That was while the model was built, in fp32 with engine.zero_stage=2. To save memory: " in str(caught.value)


def test_other_errors_are_left_alone() -> None:
    with pytest.raises(RuntimeError, match="other"), explained_out_of_memory(object(), EngineConfig()):
        raise RuntimeError("other")


def test_training_that_does_not_fit_the_gpu_is_refused_before_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config("base", [])
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=8 * GIB))
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 8)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 0)
    with pytest.raises(ConfigError, match=r"needs .* GiB per GPU of 8\.0: .*it fits with|use more GPUs"):
        check_memory_of_stage(config, pretrain_size, config.pretrain.optimizer)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=40 * GIB))
    check_memory_of_stage(config, pretrain_size, config.pretrain.optimizer)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 1)
    with pytest.raises(ConfigError, match=r"needs 6\d\.\d GiB per GPU of 40\.0"):
        check_memory_of_stage(config, pretrain_size, config.pretrain.optimizer)
    offloaded = load_config("base", ["engine.offload_optimizer=cpu"])
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 8)
    monkeypatch.setattr(gpu_memory, "machine_memory", lambda: GIB)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    with pytest.raises(ConfigError, match=r"GiB of CPU memory per process, \d\.\d for the 4 of a machine, of 1\.0; "):
        check_memory_of_stage(offloaded, pretrain_size, config.pretrain.optimizer)
    monkeypatch.setattr(gpu_memory, "machine_memory", lambda: 64 * GIB)
    check_memory_of_stage(offloaded, pretrain_size, config.pretrain.optimizer)
    unchecked = load_config("base", ["engine.check_memory=false"])
    check_memory_of_stage(unchecked, pretrain_size, unchecked.pretrain.optimizer)


def test_weights_that_the_machine_has_no_memory_for_are_refused_before_they_are_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = load_config("tiny", [])
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    check_memory_of_stage(config, pretrain_size, config.pretrain.optimizer)
    # in fp32: a weight, its gradient and two moments of 4 bytes for each of 491,586 parameters; of 32 images in three
    # towers half of 17 numbers of 4 bytes per layer, position and unit of width; in each of two workers
    needed = 2.0 * (16 * 491_586 + 32 * 34 * (32**2 * 24 + 16**2 * 48 + 8**2 * 96))
    monkeypatch.setattr(cpu_memory, "machine_memory", lambda: needed - 1)
    with pytest.raises(ConfigError, match=r"at least 0\.1 GiB of memory for each of 2 workers, 0\.0 for 491,586 param"):
        check_memory_of_stage(config, pretrain_size, config.pretrain.optimizer)
    monkeypatch.setattr(cpu_memory, "machine_memory", lambda: needed)
    check_memory_of_stage(config, pretrain_size, config.pretrain.optimizer)
