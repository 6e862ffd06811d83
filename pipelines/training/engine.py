"""The training engine: a model and its optimizer under DeepSpeed, ZeRO stage 0 to 3, on CPU or GPU.

The only module that imports DeepSpeed.
"""

import math
import os
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from trrg_core.config.settings import EngineConfig, OptimizerConfig
from trrg_core.errors import TrainingError
from trrg_core.training.schedule import learning_rate_scale

TAG = "state"


class Engine:
    """A model under training. Every method is collective: all ranks must call it together."""

    def __init__(
        self,
        model: nn.Module,
        *,
        config: EngineConfig,
        optimizer: OptimizerConfig,
        batch_size: int,
        total_steps: int,
    ) -> None:
        deepspeed = _import_deepspeed(use_gpu=config.use_gpu)
        self.config, self.optimizer, self.total_steps = config, optimizer, total_steps
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.engine, *_ = deepspeed.initialize(
            model=model,
            model_parameters=trained,
            optimizer=torch.optim.AdamW(trained, lr=optimizer.learning_rate, weight_decay=optimizer.weight_decay),
            config=deepspeed_config(config, batch_size),
            dist_init_required=False,
        )
        self.bad_steps = 0

    @property
    def device(self) -> torch.device:
        """The device that batches must be on."""
        return torch.device(self.engine.device)

    def train_step(self, batch: Any, step: int) -> dict[str, float]:
        """Loss and its parts, averaged over ranks, after one optimizer step; a non-finite loss is skipped.

        Raises:
            TrainingError: after `max_bad_steps` non-finite losses in a row.
        """
        for group in self.engine.optimizer.param_groups:
            group["lr"] = self.optimizer.learning_rate * learning_rate_scale(step, self.total_steps, self.optimizer)
        output = self.engine(batch)
        parts = {"loss": output.loss.detach(), **{name: part.detach() for name, part in output.parts.items()}}
        losses = _mean_over_ranks(parts)
        if not math.isfinite(losses["loss"]):
            self._skip(step)
            return losses
        self.bad_steps = 0
        self.engine.backward(output.loss)
        self.engine.step()
        return losses

    def save(self, folder: Path) -> None:
        """Write this rank's share of the training state under `folder`."""
        self.engine.save_checkpoint(str(folder), tag=TAG, exclude_frozen_parameters=True, save_latest=False)

    def load(self, folder: Path) -> None:
        """Restore the state that `save` wrote, with the files of all ranks in one folder.

        Raises:
            TrainingError: if the folder holds no state for this ZeRO stage.
        """
        path, _ = self.engine.load_checkpoint(str(folder), tag=TAG, load_module_strict=False)
        if path is None:
            raise TrainingError(f"{folder} holds no training state for ZeRO stage {self.config.zero_stage}")

    def gather_state(self) -> dict[str, torch.Tensor]:
        """The whole model's weights and buffers on CPU, on rank 0; empty elsewhere."""
        module = self.engine.module
        is_first = dist.get_rank() == 0
        state: dict[str, torch.Tensor] = {}
        for name, parameter in module.named_parameters(remove_duplicate=False):
            with _gathered(parameter):
                if is_first:
                    state[name] = parameter.detach().cpu().clone()
        if is_first:
            state |= {name: buffer.detach().cpu().clone() for name, buffer in module.named_buffers()}
        return state

    def close(self) -> None:
        """Release DeepSpeed's hooks and buffers."""
        self.engine.destroy()

    def _skip(self, step: int) -> None:
        self.bad_steps += 1
        self.engine.zero_grad()
        if self.bad_steps >= self.config.max_bad_steps:
            raise TrainingError(
                f"loss was not finite at {self.bad_steps} steps in a row, the last being {step}; "
                "lower the learning rate or look at those batches"
            )


def deepspeed_config(config: EngineConfig, batch_size: int) -> dict[str, Any]:
    """The configuration dict of `deepspeed.initialize`."""
    zero: dict[str, Any] = {"stage": config.zero_stage}
    if config.offload_optimizer:
        zero["offload_optimizer"] = {"device": "cpu"}
    return {
        "train_micro_batch_size_per_gpu": batch_size,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": config.clip_norm,
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
    import deepspeed

    if not use_gpu:
        # its shared-memory collective is compiled at first use; gloo does the same on one machine
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed


def _mean_over_ranks(parts: Mapping[str, torch.Tensor]) -> dict[str, float]:
    stacked = torch.stack([part.float().reshape(()) for part in parts.values()])
    dist.all_reduce(stacked)
    means = (stacked / dist.get_world_size()).tolist()
    return dict(zip(parts, means, strict=True))


def _gathered(parameter: nn.Parameter) -> Any:
    if not hasattr(parameter, "ds_id"):
        return nullcontext()
    import deepspeed

    return deepspeed.zero.GatheredParameters([parameter])
