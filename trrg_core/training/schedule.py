"""The learning-rate schedule of both training stages."""

import math

from trrg_core.config.settings import OptimizerConfig


def learning_rate_scale(step: int, total_steps: int, optimizer: OptimizerConfig) -> float:
    """Share of the peak learning rate at `step`, 0 to 1: linear warm-up, then cosine decay to zero.

    Args:
        step: optimizer steps done before this one, from 0.
        total_steps: optimizer steps of the whole run.
        optimizer: its `warmup_share` is the share of the steps that warm up, at least one step.
    """
    warmup_steps = max(1, round(optimizer.warmup_share * total_steps))
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
