"""Which elements of which trained parameters this rank's optimizer holds, under ZeRO stage 0 to 3.

DeepSpeed keeps fp32 weights and optimizer state in tensors of its own layout, which depends on the ZeRO stage and the
number of ranks. A `Segment` says where a run of a parameter's elements is, so that the state can be written by
parameter name and restored into any other layout. Nothing here communicates, but for `refresh_weights`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Elements [start, start + size) of the flattened parameter `name`: those at `offset` of `holder`.

    `holder` is the fp32 tensor that the optimizer updates and by which its state is found; it may hold many parameters.
    """

    name: str
    start: int
    size: int
    holder: Tensor
    offset: int

    def view(self, tensor: Tensor) -> Tensor:
        """This segment's elements of `tensor`, which has the layout of `holder`; shares its memory."""
        return tensor.detach().view(-1).narrow(0, self.offset, self.size)


def list_segments(engine: Any) -> tuple[Segment, ...]:
    """The segments that this rank's optimizer updates, in the order of the model's parameters."""
    names = {parameter: name for name, parameter in engine.module.named_parameters() if parameter.requires_grad}
    wrapper = engine.optimizer
    if hasattr(wrapper, "fp32_partitioned_groups_flat"):
        return tuple(_zero_3(wrapper, names))
    if hasattr(wrapper, "single_partition_of_fp32_groups"):
        return tuple(_zero_1_or_2(wrapper, names))
    return tuple(_whole(wrapper, names))


def base_optimizer(engine: Any) -> torch.optim.Optimizer:
    """The torch optimizer inside DeepSpeed's."""
    wrapper = engine.optimizer
    base: torch.optim.Optimizer = getattr(wrapper, "optimizer", wrapper)
    return base


def init_moments(optimizer: torch.optim.Optimizer, segments: tuple[Segment, ...], *, steps: int) -> None:
    """Give every holder the state of an AdamW that did `steps` steps, with zero moments where there are none yet."""
    for segment in segments:
        holder = segment.holder
        state = optimizer.state[holder]
        fused = bool(optimizer.defaults.get("fused"))
        state["step"] = torch.tensor(float(steps), device=holder.device if fused else "cpu")
        for key in MOMENTS:
            state.setdefault(key, torch.zeros_like(holder, memory_format=torch.preserve_format))


def num_steps(optimizer: torch.optim.Optimizer, segments: tuple[Segment, ...]) -> int:
    """Optimizer steps done; 0 before the first."""
    for segment in segments:
        state = optimizer.state.get(segment.holder, {})
        if "step" in state:
            return int(state["step"])
    return 0


@torch.no_grad()
def refresh_weights(engine: Any) -> None:
    """Copy the fp32 weights of the optimizer into the model; collective."""
    wrapper = engine.optimizer
    if hasattr(wrapper, "fp32_partitioned_groups_flat"):
        for index in range(len(wrapper.fp16_groups)):
            wrapper._reassign_or_swap_out_partitioned_parameters(index)
        persistent = wrapper.persistent_parameters
        if persistent:
            persistent[0].partition(persistent)
            persistent[0].all_gather(persistent)
    elif hasattr(wrapper, "single_partition_of_fp32_groups"):
        wrapper.update_lp_params()
    elif hasattr(wrapper, "fp32_groups"):
        for copies, weights in zip(wrapper.fp32_groups, wrapper.fp16_groups, strict=True):
            for copy, weight in zip(copies, weights, strict=True):
                weight.data.copy_(copy.data)


def _whole(wrapper: Any, names: Mapping[Tensor, str]) -> Iterator[Segment]:
    """ZeRO-0: every rank holds everything, in fp32 the parameters themselves and in bf16 their copies."""
    holders = dict(zip(names, names, strict=True))
    if hasattr(wrapper, "fp32_groups"):
        for copies, weights in zip(wrapper.fp32_groups, wrapper.fp16_groups, strict=True):
            holders |= dict(zip(weights, copies, strict=True))
    for parameter, name in names.items():
        yield Segment(name=name, start=0, size=parameter.numel(), holder=holders[parameter], offset=0)


def _zero_1_or_2(wrapper: Any, names: Mapping[Tensor, str]) -> Iterator[Segment]:
    for group, holder in zip(wrapper.bit16_groups, wrapper.single_partition_of_fp32_groups, strict=True):
        for parameter in group:
            mapping = parameter._hp_mapping
            if mapping is not None:
                here, there = mapping.lp_fragment_address, mapping.hp_fragment_address
                yield Segment(
                    name=names[parameter], start=here.start, size=here.numel, holder=holder, offset=there.start
                )


def _zero_3(wrapper: Any, names: Mapping[Tensor, str]) -> Iterator[Segment]:
    for parameter, name in names.items():
        group, offset, size = wrapper.grad_position[wrapper.get_param_id(parameter)]
        start = wrapper._get_param_partition_rank(parameter) * size
        # the last partition is padded
        size = min(size, parameter.ds_numel - start)  # type: ignore[attr-defined]
        if size > 0:
            holder = wrapper.fp32_partitioned_groups_flat[group]
            yield Segment(name=name, start=start, size=size, holder=holder, offset=int(offset))
