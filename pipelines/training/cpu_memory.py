"""The memory of the machine: what training on CPUs takes at least, compared with it before a model is built."""

import os
import resource
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import torch.distributed as dist

from trrg_core.config.settings import OptimizerConfig, TrrgConfig
from trrg_core.errors import ConfigError
from trrg_core.model.model_size import IMAGE_TOWER
from trrg_core.training.memory_estimate import GIB, ModelSize, Tower, estimate_memory

# limits of a control group, of version 2 and 1; "max" in the first is none
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def check_cpu_memory(
    config: TrrgConfig,
    size_of_stage: Callable[[TrrgConfig], tuple[ModelSize, Sequence[Tower]]],
    optimizer: OptimizerConfig,
) -> None:
    """Compare the state of a stage, and half of what is kept of its images, with the memory of this machine.

    Texts may be much shorter than their limit in the configuration, and are not counted; images have their size.

    Raises:
        ConfigError: if they do not fit, with what to change. What fits may still be too much.
    """
    size, towers = size_of_stage(config)
    ranks = dist.get_world_size() if dist.is_initialized() else 1  # a model may be built without a training
    images = [tower for tower in towers if tower.name == IMAGE_TOWER]
    has_average = optimizer.ema_decay > 0
    estimate = estimate_memory(size, images, config.engine, world_size=ranks, has_average=has_average)
    one = estimate.state + estimate.activations / 2
    here = ranks_here(config, ranks)
    if here * one <= (available := machine_memory()):
        return
    workers = f" for each of {here} workers" if here > 1 else ""
    raise ConfigError(
        f"training needs at least {one / GIB:.1f} GiB of memory{workers}, {estimate.state / GIB:.1f} for "
        f"{size.trained + size.frozen:,} parameters, of which {size.trained:,} are trained, and the rest for images, "
        f"and this machine has {available / GIB:.1f}: use a smaller model or micro_batch_size, or fewer workers "
        "(engine.num_workers); engine.check_memory=false starts anyway"
    )


def ranks_here(config: TrrgConfig, world_size: int) -> int:
    """How many of the processes of a training share this machine: one at least, where nothing says so."""
    # without a cluster's address all are here
    known = os.environ.get("LOCAL_WORLD_SIZE") or (1 if config.ray.address else world_size)
    return min(int(known), world_size)


def machine_memory() -> float:
    """Bytes that this process may use: the memory of the machine, or less where a limit is set."""
    sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in _LIMITS:
        with suppress(OSError, ValueError):
            sizes.append(int(Path(path).read_text()))
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        sizes.append(soft)
    return float(min(sizes))
