"""The memory of training: an estimate before it starts, and what to change when it is exhausted."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any

import torch
import torch.distributed as dist

from pipelines.training.cpu_memory import check_cpu_memory, machine_memory, ranks_here
from trrg_core.config.settings import EngineConfig, OptimizerConfig, TrrgConfig
from trrg_core.errors import TrainingError
from trrg_core.training.memory_estimate import Machine, ModelSize, Tower, check_memory

logger = logging.getLogger(__name__)


def check_memory_of_stage(
    config: TrrgConfig,
    size_of_stage: Callable[[TrrgConfig], tuple[ModelSize, Sequence[Tower]]],
    optimizer: OptimizerConfig,
) -> None:
    """Compare the estimate for a stage with the memory of this rank's GPU, and log it; on a CPU see `cpu_memory`.

    What is offloaded to the CPU is compared, for all ranks of this machine, with the memory of the machine.

    Raises:
        ConfigError: if it does not fit, with what to change.
    """
    if not config.engine.check_memory:
        return
    if not config.engine.use_gpu:
        check_cpu_memory(config, size_of_stage, optimizer)
        return
    # of a group that is smaller than configured, each rank has more micro-batches in memory
    engine = config.engine.model_copy(update={"num_workers": dist.get_world_size()})
    size, towers = size_of_stage(config.model_copy(update={"engine": engine}))
    available = float(torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory)
    world_size = dist.get_world_size()
    machine = Machine(memory=machine_memory(), num_ranks=ranks_here(config, world_size))
    estimate = check_memory(
        size,
        towers,
        config.engine,
        world_size=world_size,
        available=available,
        machine=machine,
        has_average=optimizer.ema_decay > 0,
    )
    if dist.get_rank() == 0:
        logger.info("training %s", estimate.describe(available, machine))


@contextmanager
def explained_out_of_memory(batch: Any, engine: EngineConfig) -> Iterator[None]:
    """Turn the error of exhausted memory in the body into one that says what was in it and what to change.

    Raises:
        TrainingError: with the shapes of the batch's tensors, the precision, and settings that save memory.
    """
    try:
        yield
    except RuntimeError as error:
        # that of a GPU has a class of its own
        if not isinstance(error, torch.OutOfMemoryError) and "DefaultCPUAllocator" not in str(error):
            raise
        first_line = str(error).splitlines()[0] if str(error) else "out of memory"
        raise TrainingError(
            f"{first_line} {_micro_batch(batch)}, in {engine.precision} with engine.zero_stage={engine.zero_stage}. "
            f"To save memory: {', '.join(_advice(engine))}"
        ) from error


def _micro_batch(batch: Any) -> str:
    if batch is None:
        return "That was while the model was built"
    return f"The micro-batch was {', '.join(_shapes(batch)) or 'unknown'}"


def _advice(engine: EngineConfig) -> Iterator[str]:
    """Settings that save memory and are not yet used."""
    yield "a smaller micro_batch_size or, in stage 1, more workers"
    yield "fewer tokens (finetune.max_report_tokens, pretrain.max_sentence_tokens)"
    if engine.precision == "fp32":
        yield "engine.precision=bf16"
    if not engine.gradient_checkpointing:
        yield "engine.gradient_checkpointing=true"
    if engine.zero_stage < 3:
        yield f"engine.zero_stage={engine.zero_stage + 1}"
    if engine.use_gpu and engine.zero_stage > 0 and engine.offload_optimizer == "none":
        yield "engine.offload_optimizer=cpu, where the machine has memory for it"


def _shapes(value: Any, prefix: str = "") -> Iterator[str]:
    """The name and shape of each tensor in a dataclass, also nested, e.g. "reports.ids_BT 8x160".

    Of a tuple, such as micro-batches that are compared with each other, the first is described.
    """
    if isinstance(value, tuple) and value and is_dataclass(value[0]):
        yield f"{prefix.rstrip('.')} {len(value)} times"
        yield from _shapes(value[0], prefix)
    if not is_dataclass(value):
        return
    for field in fields(value):
        item, name = getattr(value, field.name), f"{prefix}{field.name}"
        if isinstance(item, torch.Tensor):
            yield f"{name} {'x'.join(map(str, item.shape)) or 'scalar'}"
        else:
            yield from _shapes(item, f"{name}.")
