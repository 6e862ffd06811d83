"""Setting up DeepSpeed: its configuration, optimizer and engine, and models partitioned while they are loaded.

The only module that imports DeepSpeed.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import Any

import torch
from torch import nn

from trrg_core.config.settings import EngineConfig, OptimizerConfig
from trrg_core.errors import ConfigError
from trrg_core.training.parameter_groups import parameter_groups


def initialize(model: nn.Module, config: EngineConfig, optimizer: OptimizerConfig, *, batch_size: int) -> Any:
    """DeepSpeed's engine for a model, in the process group that exists; collective.

    Raises:
        ConfigError: if weights are to be kept in files, and DeepSpeed cannot write them here.
    """
    deepspeed = _import_deepspeed(use_gpu=config.use_gpu)
    _check_files(config)
    if config.precision == "bf16":
        _cast_beside_partitioned(model)
    if not config.use_gpu:
        # DeepSpeed makes a copy of the group of all ranks; gloo has a thread for each, which wakes every 10 ms
        deepspeed.utils.groups._WORLD_GROUP = torch.distributed.group.WORLD
    adamw = build_optimizer(model, optimizer)
    with _without_steps(adamw):
        engine, *_ = deepspeed.initialize(
            model=model,
            model_parameters=[parameter for parameter in model.parameters() if parameter.requires_grad],
            optimizer=adamw,
            config=deepspeed_config(config, batch_size),
            dist_init_required=False,
        )
    _limit_collectives(engine, config.collective_timeout_s)
    if only_runs_model(config):  # `WholeGradient` averages it
        engine.enable_backward_allreduce = False
    return engine


@contextmanager
def partitioned_build(config: EngineConfig) -> Iterator[None]:
    """Within the block, ZeRO-3 partitions a named backbone while it is loaded; other stages load it as ever.

    Each weight file is read in turn, and each rank keeps its share alone, so that a model larger than the memory of a
    GPU, or than that of the machine divided by its ranks, can be loaded. Collective: all ranks build the same model.
    What is built in the block beside backbones of the transformers library is partitioned by `Engine` only.
    """
    if config.zero_stage != 3:
        yield
        return
    _import_deepspeed(use_gpu=config.use_gpu)
    _check_files(config)
    from transformers.integrations.deepspeed import HfDeepSpeedConfig, unset_hf_deepspeed_config

    # the library has a weak reference to it
    active = HfDeepSpeedConfig(deepspeed_config(config, 1))
    try:
        yield
    finally:
        unset_hf_deepspeed_config()
        del active


def build_optimizer(model: nn.Module, settings: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW on the groups of `parameter_groups`, in torch's fused form, which on a CPU takes a quarter of the time.

    Its results differ from those of the other forms in the last digit of single weights.
    """
    return torch.optim.AdamW(
        parameter_groups(model, settings),
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        fused=True,
    )


@contextmanager
def _without_steps(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Within the block the optimizer takes no step.

    DeepSpeed's wrapper for bf16 without ZeRO takes one while it is built, with zero gradients, so that state exists:
    it would decay the weights, at the full learning rate, and count as the first.
    """
    vars(optimizer)["step"] = lambda: None
    try:
        yield
    finally:
        del vars(optimizer)["step"]


def only_runs_model(config: EngineConfig) -> bool:
    """Whether `Engine` averages, tests and clips the gradient, rather than DeepSpeed: in fp32 without ZeRO."""
    return config.zero_stage == 0 and config.precision == "fp32"


def deepspeed_config(config: EngineConfig, batch_size: int) -> dict[str, Any]:
    """The configuration dict of `deepspeed.initialize`."""
    zero: dict[str, Any] = {"stage": config.zero_stage}
    offloads = {"offload_optimizer": config.offload_optimizer, "offload_param": config.offload_parameters}
    for part, device in offloads.items():
        if device != "none":
            zero[part] = {"device": device, "pin_memory": config.use_gpu}
        if device == "nvme":
            zero[part]["nvme_path"] = config.offload_folder
    return {
        "train_micro_batch_size_per_gpu": batch_size,
        # the boundary is set at each micro-batch instead, so that their number may change from step to step
        "gradient_accumulation_steps": 1,
        "gradient_clipping": 0.0 if only_runs_model(config) else config.clip_norm,
        "bf16": {"enabled": config.precision == "bf16"},
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 10**9,
    }


def _import_deepspeed(*, use_gpu: bool) -> Any:
    """The deepspeed module; without `use_gpu` it runs on the CPU even where there is a GPU."""
    if not use_gpu:
        os.environ["DS_ACCELERATOR"] = "cpu"
    # its autotuner imports MLflow if it can, which takes four fifths of the time of this import
    hidden = [name for name in ("mlflow",) if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None makes an import fail
    try:
        import deepspeed
    finally:
        for name in hidden:
            del sys.modules[name]

    if not use_gpu:
        # its shared-memory collective is compiled at first use; gloo does the same on one machine
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed


def _check_files(config: EngineConfig) -> None:
    if config.offload_parameters != "nvme":
        return
    from deepspeed.ops.op_builder import AsyncIOBuilder

    if not AsyncIOBuilder().is_compatible(verbose=False):
        raise ConfigError(
            "engine.offload_parameters=nvme: DeepSpeed cannot build its access to files on this machine; install "
            "libaio with its headers and a C++ compiler (Debian: libaio-dev, g++), or set engine.offload_parameters=cpu"
        )


def _limit_collectives(engine: Any, timeout_s: float) -> None:
    """Give DeepSpeed's process groups the time limit of ours: it makes them with torch's, 10 (NCCL) or 30 minutes."""
    for group in {engine.data_parallel_group, engine.seq_data_parallel_group}:
        torch.distributed.distributed_c10d._set_pg_timeout(timedelta(seconds=timeout_s), group)


@torch.no_grad()
def _cast_beside_partitioned(model: nn.Module) -> None:
    """Cast the weights that were built beside a partitioned backbone to bf16, which DeepSpeed does in other models."""
    parameters = list(model.parameters())
    if not any(hasattr(parameter, "ds_id") for parameter in parameters):
        return
    for parameter in parameters:
        if not hasattr(parameter, "ds_id") and parameter.is_floating_point():
            parameter.data = parameter.data.to(torch.bfloat16)


def gathered(parameter: nn.Parameter) -> Any:
    """A context in which a parameter is whole, also under ZeRO-3; collective."""
    if not hasattr(parameter, "ds_id"):
        return nullcontext()
    import deepspeed

    return deepspeed.zero.GatheredParameters([parameter])
