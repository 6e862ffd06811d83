"""The training engine: a model and its optimizer under DeepSpeed, ZeRO stage 0 to 3, on CPU or GPU.

DeepSpeed itself is set up in `deepspeed_setup`.
"""

import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pipelines.training import state_files
from pipelines.training.agreement import agreed
from pipelines.training.bad_steps import BadStep, BadStepRecord
from pipelines.training.deepspeed_setup import gathered, initialize, only_runs_model
from pipelines.training.gpu_memory import explained_out_of_memory
from pipelines.training.partitions import (
    MOMENTS,
    base_optimizer,
    init_moments,
    list_segments,
    num_steps,
    refresh_weights,
)
from pipelines.training.state_files import CopiedState
from pipelines.training.weight_average import WeightAverage
from pipelines.training.whole_gradient import WholeGradient
from trrg_core.config.settings import EngineConfig, OptimizerConfig
from trrg_core.errors import TrainingError
from trrg_core.model.compiling import compile_layers
from trrg_core.training.parameter_groups import RATE, pretrained_modules
from trrg_core.training.schedule import learning_rate_scale

logger = logging.getLogger(__name__)

NEVER_CHANGED = (
    "no weight has changed yet, so that it is not the learning rate: look at what else was set, such as the weights of "
    "losses and noise"
)


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
        bad_step_record: BadStepRecord | None = None,
    ) -> None:
        self.config, self.optimizer, self.total_steps = config, optimizer, total_steps
        self.engine = initialize(model, config, optimizer, batch_size=batch_size)
        if config.compile_backend:
            compile_layers(self.engine.module, config.compile_backend)
        self.segments = list_segments(self.engine)
        holders = list({segment.holder: None for segment in self.segments})
        self.average = WeightAverage(holders, optimizer.ema_decay) if optimizer.ema_decay else None
        self.bad_steps: list[BadStep] = []
        self._bad_in_a_row = 0
        self._record = bad_step_record
        self._buffer_versions = {name: buffer._version for name, buffer in self.engine.module.named_buffers()}
        self._statistics = [buffer for norm in _batch_norms(self.engine.module) for buffer in norm.buffers()]
        trained = [parameter for parameter in self.engine.module.parameters() if parameter.requires_grad]
        self._gradient = WholeGradient(trained, num_ranks=dist.get_world_size()) if only_runs_model(config) else None

    @property
    def device(self) -> torch.device:
        """The device that batches must be on."""
        return torch.device(self.engine.device)

    def train_step(
        self, micro_batches: Sequence[Any], step: int, *, weights: Sequence[float] | None = None
    ) -> dict[str, float]:
        """Loss and its parts, averaged over all micro-batches of all ranks, after one optimizer step.

        If the loss or the gradient is not finite on any rank, no rank changes its weights or the statistics of its
        batch norms, and the step is recorded.

        Args:
            micro_batches: this rank's; all ranks must give the same number.
            step: optimizer steps before this one, from 0, by which the learning rate is set.
            weights: how much each micro-batch counts in the mean, 0 for padding; None for all the same. Either all
                ranks give weights or none.

        Raises:
            TrainingError: after `max_bad_steps` bad steps in a row.
        """
        own = list(weights) if weights is not None else [1.0] * len(micro_batches)
        mean_weight = self._mean_weight(own) if weights is not None else float(len(own))
        self._set_learning_rate(step)
        statistics = [buffer.clone() for buffer in self._statistics]
        if self._gradient is not None:
            self._gradient.clear()
        sums: dict[str, Tensor] = {}
        for index, (batch, weight) in enumerate(zip(micro_batches, own, strict=True)):
            self.engine.set_gradient_accumulation_boundary(index + 1 == len(own))
            share = weight / mean_weight
            with explained_out_of_memory(batch, self.config):
                output = self.engine(batch)
                # a factor of 1, or of NaN when the loss is not finite: then all gradients of the step are NaN too,
                # also where only a constant part of the loss is, and one test of the gradient covers both
                loss = output.loss * (share * (1 + 0 * output.loss.detach()))
                self.engine.backward(loss, scale_wrt_gas=False)
            for name, part in {"loss": output.loss, **output.parts}.items():
                value = part.detach().float().reshape(()) * share
                sums[name] = sums[name] + value if name in sums else value
        losses, is_good = self._update_weights(sums)
        if is_good:
            self._bad_in_a_row = 0
            if self.average is not None:
                self.average.update(num_steps(base_optimizer(self.engine), self.segments))
        else:
            # they are averages: one value that is not finite would stay in them to the end of the run
            for buffer, before in zip(self._statistics, statistics, strict=True):
                buffer.copy_(before)
            self._skip(step, losses, micro_batches)
        return losses

    @torch.no_grad()
    def evaluate(self, steps: Iterable[Sequence[Any]], *, weights: Sequence[float] | None = None) -> dict[str, float]:
        """Loss and its parts in evaluation mode, of the averaged weights if there are any: the mean over the steps.

        Args:
            steps: the micro-batches of this rank in each step; all ranks must give the same number of steps.
            weights: as in `train_step`, the same for every step.
        """
        module = self.engine.module
        modes = [(part, part.training) for part in module.modules()]
        module.eval()
        _share_statistics(module)
        try:
            with self.averaged_weights():
                results = [self._evaluate_step(micro_batches, weights) for micro_batches in steps]
        finally:
            for part, mode in modes:
                part.training = mode
        return {name: math.fsum(one[name] for one in results) / len(results) for name in results[0]}

    def _evaluate_step(self, micro_batches: Sequence[Any], weights: Sequence[float] | None) -> dict[str, float]:
        own = list(weights) if weights is not None else [1.0] * len(micro_batches)
        mean_weight = self._mean_weight(own) if weights is not None else float(len(own))
        sums: dict[str, Tensor] = {}
        for batch, weight in zip(micro_batches, own, strict=True):
            output = self.engine(batch)
            for name, part in {"loss": output.loss, **output.parts}.items():
                value = part.detach().float().reshape(()) * (weight / mean_weight)
                sums[name] = sums[name] + value if name in sums else value
        return self._mean_over_ranks(sums)

    def save(self, folder: Path) -> None:
        """Write this rank's share of the training state under `folder`; see `state_files`."""
        self.copy_state().write(folder)

    def copy_state(self) -> CopiedState:
        """A copy in CPU memory of this rank's share of the training state, which later steps do not change."""
        return CopiedState(
            tensors=state_files.copy_to_host(
                state_files.my_share(self.segments, replicated=self._is_replicated), self._kinds()
            ),
            buffers=self._changed_buffers(),
            index={
                "optimizer_steps": num_steps(base_optimizer(self.engine), self.segments),
                "zero_stage": self.config.zero_stage,
                "world_size": dist.get_world_size(),
                "parameters": sorted({name for name, _ in self._trained()}),
            },
        )

    def load(self, folder: Path) -> None:
        """Restore the state that `save` wrote with any number of ranks and any ZeRO stage; see `state_files`.

        `folder` holds the common files, on every rank, and those shares that this rank has: between them the ranks
        must have all.

        Raises:
            TrainingError: on every rank, if the state is incomplete or of another model.
        """
        with agreed(f"the state in {folder.name} cannot be restored"):
            index, buffers = state_files.read_common(folder)
            names = sorted({name for name, _ in self._trained()})
            if index["parameters"] != names:
                different = sorted(set(index["parameters"]) ^ set(names))
                raise TrainingError(f"{len(different)} trained parameters differ, the first being {different[0]}")
            steps, num_files = int(index["optimizer_steps"]), int(index["world_size"])
            own = dict(self.engine.module.named_buffers())
            for name, buffer in buffers.items():
                if name not in own or own[name].shape != buffer.shape:
                    raise TrainingError(f"buffer {name} of shape {tuple(buffer.shape)} is none of this model")
        if steps:
            init_moments(base_optimizer(self.engine), self.segments, steps=steps)
        state_files.restore(folder, self.segments, self._kinds(), num_files=num_files, device=self.device)
        refresh_weights(self.engine)
        for name, buffer in buffers.items():
            own[name].copy_(buffer)

    def recall_bad_steps(self, start: int) -> None:
        """Take over the record of the attempts before this one, which begins after `start` steps."""
        found: list[Any] = [[]]
        with agreed("the record of skipped steps cannot be read"):
            if dist.get_rank() == 0 and self._record is not None:
                found = [self._record.read(before=start)]
        dist.broadcast_object_list(found, src=0)
        self.bad_steps = found[0]
        numbers = {one.step for one in self.bad_steps}
        self._bad_in_a_row = next(count for count in range(start + 1) if start - 1 - count not in numbers)

    def gather_state(self) -> dict[str, Tensor]:
        """The model's weights and buffers on CPU, on rank 0; empty elsewhere.

        Left out is what a pretrained backbone, such as an LLM with adapters, still has as it was loaded: its frozen
        weights and unchanged buffers, which are neither gathered nor copied.
        """
        module = self.engine.module
        is_first = dist.get_rank() == 0
        bases = tuple(pretrained_modules(module))
        state = self._changed_buffers() if is_first else {}
        with self.averaged_weights():
            for name, parameter in module.named_parameters(remove_duplicate=False):
                if parameter.requires_grad or not name.startswith(bases):
                    with gathered(parameter):
                        if is_first:
                            state[name] = parameter.detach().to("cpu", copy=True)
        for name, buffer in module.named_buffers():
            if is_first and name not in state and not name.startswith(bases):
                state[name] = buffer.detach().to("cpu", copy=True)
        return state

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Within the block the model has the averaged weights, if there is an average; collective."""
        if self.average is None:
            yield
            return
        with self.average.swapped_in():
            refresh_weights(self.engine)
            yield
        refresh_weights(self.engine)

    def close(self) -> None:
        """Release DeepSpeed's hooks and buffers."""
        self.engine.destroy()

    @property
    def _is_replicated(self) -> bool:
        """Whether each rank holds the whole optimizer state."""
        return self.config.zero_stage == 0

    def _trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        named = self.engine.module.named_parameters(remove_duplicate=False)
        return ((name, parameter) for name, parameter in named if parameter.requires_grad)

    def _changed_buffers(self) -> dict[str, Tensor]:
        """Copies of the buffers of modules that wrote to one of theirs since the start, such as batch norms.

        Not of the written ones alone: torch counts no new version of the mean and variance of a batch norm, only of
        its number of batches.
        """
        buffers = dict(self.engine.module.named_buffers())
        written = [name for name, value in buffers.items() if value._version != self._buffer_versions[name]]
        modules = {name.rpartition(".")[0] for name in written}
        return {
            name: value.detach().to("cpu", copy=True)
            for name, value in buffers.items()
            if name.rpartition(".")[0] in modules
        }

    def _kinds(self) -> dict[str, dict[Tensor, Tensor]]:
        """For each kind of state, holder -> the tensor of that kind."""
        holders = {segment.holder for segment in self.segments}
        kinds: dict[str, dict[Tensor, Tensor]] = {"weight": {holder: holder for holder in holders}}
        state = base_optimizer(self.engine).state
        if any(MOMENTS[0] in state.get(holder, {}) for holder in holders):
            kinds |= {key: {holder: state[holder][key] for holder in holders} for key in MOMENTS}
        if self.average is not None:
            kinds["average"] = dict(self.average.by_holder)
        return kinds

    def _set_learning_rate(self, step: int) -> None:
        for group in self.engine.optimizer.param_groups:
            scale = learning_rate_scale(step, self.total_steps, self.optimizer)
            group["lr"] = self.optimizer.learning_rate * scale * group[RATE]

    def _mean_weight(self, own: Sequence[float]) -> float:
        """The weights of all ranks together, per rank."""
        total = torch.tensor(math.fsum(own), dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return float(total) / dist.get_world_size()

    def _update_weights(self, sums: Mapping[str, Tensor]) -> tuple[dict[str, float], bool]:
        """The mean of each entry over the ranks, and whether the weights were changed: if the gradient is finite."""
        if self._gradient is None:
            losses = self._mean_over_ranks(sums)
            self.engine.step()
            is_good = bool(self.engine.was_step_applied())
            if not is_good:
                self.engine.zero_grad()
            return losses, is_good
        means = self._gradient.average(torch.stack([*sums.values()]))
        norm = self._gradient.clip(self.config.clip_norm)
        *values, is_finite = torch.cat([means, norm.isfinite().float().reshape(1)]).tolist()
        if is_finite:
            base_optimizer(self.engine).step()
        return dict(zip(sums, values, strict=True)), bool(is_finite)

    def _mean_over_ranks(self, sums: Mapping[str, Tensor]) -> dict[str, float]:
        """The mean of each entry over the ranks."""
        stacked = torch.stack([*sums.values()])
        dist.all_reduce(stacked)
        return dict(zip(sums, (stacked / dist.get_world_size()).tolist(), strict=True))

    def _skip(self, step: int, losses: Mapping[str, float], micro_batches: Sequence[Any]) -> None:
        self._bad_in_a_row += 1
        gathered: list[Any] = [None] * dist.get_world_size()
        ids = tuple(chain.from_iterable(getattr(batch, "study_ids", ()) for batch in micro_batches))
        dist.all_gather_object(gathered, ids)
        what = "gradient" if math.isfinite(losses["loss"]) else "loss"
        self.bad_steps.append(BadStep(step=step, what=what, study_ids=tuple(chain.from_iterable(gathered))))
        last_good = ""
        if dist.get_rank() == 0:
            studies = ", ".join(self.bad_steps[-1].study_ids)
            logger.warning("step %d skipped: its %s is not finite; studies %s", step, what, studies)
            if self._record is not None:
                self._record.write(self.bad_steps)
                last_good = f"; {self._record.last_good()}"
        if self._bad_in_a_row >= self.config.max_bad_steps:
            cause = NEVER_CHANGED if self._bad_in_a_row > step else "lower the learning rate"
            message = [
                f"loss or gradient was not finite at {self._bad_in_a_row} steps in a row, the last being {step}"
                f"{last_good}; {cause}, and look at the studies of these steps, in bad_steps.json"
            ]
            dist.broadcast_object_list(message, src=0)
            raise TrainingError(message[0])


def _share_statistics(module: nn.Module) -> None:
    """Give the running statistics of rank 0's batch norms, those of the saved model, to all ranks."""
    for norm in _batch_norms(module):
        for buffer in norm.buffers():
            dist.broadcast(buffer, src=0)


def _batch_norms(module: nn.Module) -> list[nn.Module]:
    return [norm for norm in module.modules() if isinstance(norm, nn.modules.batchnorm._BatchNorm)]
