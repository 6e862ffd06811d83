"""An exponential moving average (EMA) of the trained weights, in fp32 and partitioned as the optimizer's own."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


class WeightAverage:
    """The average of each of the optimizer's fp32 tensors, `by_holder`."""

    def __init__(self, holders: Sequence[Tensor], decay: float) -> None:
        self.decay = decay
        self.by_holder = {holder: holder.detach().clone() for holder in holders}

    @torch.no_grad()
    def update(self, num_steps: int) -> None:
        """Move the average towards the weights after `num_steps` optimizer steps.

        Early on the decay is lower, (1 + n) / (10 + n), so that random initial weights are soon forgotten (as in
        TensorFlow's ExponentialMovingAverage).
        """
        decay = min(self.decay, (1 + num_steps) / (10 + num_steps))
        weights = [holder.detach() for holder in self.by_holder]
        torch._foreach_lerp_(list(self.by_holder.values()), weights, 1 - decay)

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Within the block the optimizer's tensors hold the average, and `by_holder` the weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for holder, average in self.by_holder.items():
            weights = holder.detach().clone()
            holder.data.copy_(average)
            average.copy_(weights)
