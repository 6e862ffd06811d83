"""The gradient of all trained parameters in one buffer, averaged over the ranks together with the losses of a step.

For fp32 without ZeRO. DeepSpeed copies each gradient into a new buffer and back in each step, and averages it in a
process group of its own, whose thread wakes a hundred times a second; in a small model all that costs more than the
averaging itself.
"""

from collections.abc import Sequence
from itertools import accumulate

import torch
import torch.distributed as dist
from torch import Tensor, nn

_ALIGNMENT = 16  # elements, so that each gradient begins at a cache line
_MAX_NUMBERS = 64  # averaged beside the gradient


class WholeGradient:
    """The buffer; the gradient of each parameter is a part of it, to which backward passes add.

    A rank that is alone has none: its gradients are those that the backward pass makes.

    Args:
        parameters: without duplicates, in fp32, on one device, and in the same order on all ranks.
        num_ranks: among which it is averaged.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], *, num_ranks: int) -> None:
        self._parameters, self._is_alone = tuple(parameters), num_ranks == 1
        if self._is_alone:
            return
        padded = (-(-parameter.numel() // _ALIGNMENT) * _ALIGNMENT for parameter in parameters)
        *starts, self._size = accumulate(padded, initial=0)
        self._buffer = torch.zeros(self._size + _MAX_NUMBERS, device=parameters[0].device)
        # with the strides of the parameter, e.g. channels last, as the gradients of torch have
        self._parts = [
            self._buffer.as_strided(parameter.shape, parameter.stride(), start)
            for parameter, start in zip(parameters, starts, strict=True)
        ]
        for parameter, part in zip(parameters, self._parts, strict=True):
            parameter.grad = part

    def clear(self) -> None:
        """Set the gradient to 0."""
        if not self._is_alone:
            self._buffer.zero_()
            return
        for parameter in self._parameters:
            parameter.grad = None

    def average(self, numbers: Tensor) -> Tensor:
        """Average the gradient over the ranks, and `numbers`, at most 64, whose means are returned; collective."""
        if self._is_alone:
            # else the optimizer leaves out what a step did not use, and makes no state for it, unlike with more ranks
            for parameter in self._parameters:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
            return numbers
        used = self._buffer[: self._size + len(numbers)]
        used[self._size :] = numbers
        dist.all_reduce(used)
        used.mul_(1 / dist.get_world_size())
        return used[self._size :]

    def clip(self, max_norm: float) -> Tensor:
        """Scale the gradient to a norm of at most `max_norm`, as `torch.nn.utils.clip_grad_norm_`; the norm before.

        After `average` it is the same on all ranks.
        """
        if self._is_alone:
            return nn.utils.clip_grad_norm_(self._parameters, max_norm)
        norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(self._parts)))
        self._buffer[: self._size].mul_((max_norm / (norm + 1e-6)).clamp_(max=1.0))
        return norm
