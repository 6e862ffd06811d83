"""What a rank measures of its own training: time spent waiting for batches, speed, memory; and the progress file."""

import math
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

from pipelines.records.progress import ProgressRecord, write_progress
from pipelines.training.stage import TrainingTask

_LONGEST_SILENCE_S = 20.0  # with slow steps


class StepLog:
    """Measures the steps of one attempt, and writes after the first, every few steps and every 20 s how far it is.

    The clock starts with the first batch: until then processes start.

    Args:
        task: the run.
        start: steps that earlier attempts did.
        total: steps of the whole run.
        studies_per_step: over all ranks.
    """

    def __init__(self, task: TrainingTask, start: int, total: int, *, studies_per_step: int) -> None:
        self.task, self.start, self.total, self.studies_per_step = task, start, total, studies_per_step
        self.stalled_s = 0.0
        self.num_pairs = 0.0
        self._has_begun = False
        self.began = time.monotonic()
        self._written = -math.inf

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Counts the time in the block as waiting for a batch."""
        began = time.monotonic()
        yield
        now = time.monotonic()
        if self._has_begun:
            self.stalled_s += now - began
        else:
            self.began, self._has_begun = now, True

    def count_pairs(self, num_pairs: float) -> None:
        """Count the pairs of a step, of all ranks, each a study and one of its sentences."""
        self.num_pairs += num_pairs

    def measure(self, step: int) -> dict[str, float]:
        """Numbers of this attempt up to `step`: seconds per step, studies per second, stall as % of time, memory.

        And pairs per second in stage 1.
        """
        seconds = max(time.monotonic() - self.began, 1e-9)
        done = max(1, step - self.start)
        return {
            "step_s": seconds / done,
            "studies_per_s": done * self.studies_per_step / seconds,
            **({"pairs_per_s": self.num_pairs / seconds} if self.num_pairs else {}),
            "stall_percent": 100 * self.stalled_s / seconds,
            "memory_gib": peak_memory_gib(),
        }

    def write(self, step: int, losses: Mapping[str, float], *, is_last: bool) -> None:
        """Write the progress file, if it is due after `step`."""
        now = time.monotonic()
        is_due = is_last or step % self.task.config.engine.log_every_steps == 0
        if not is_due and now - self._written < _LONGEST_SILENCE_S:
            return
        self._written = now
        parts = " ".join(f"{name} {value:.3f}" for name, value in losses.items())
        speed = self.measure(step)
        pairs = f"{speed['pairs_per_s']:.1f} pairs/s, " if "pairs_per_s" in speed else ""
        text = (
            f"{parts}, {speed['step_s']:.2f} s/step, {speed['studies_per_s']:.1f} studies/s, {pairs}"
            f"input stall {speed['stall_percent']:.0f} %, {speed['memory_gib']:.1f} GiB, "
            f"{speed['step_s'] * (self.total - step):.0f} s left"
        )
        numbers = {**speed, **{f"loss.{name}": value for name, value in losses.items() if math.isfinite(value)}}
        progress = ProgressRecord(done=step, total=self.total, text=text, numbers=numbers)
        write_progress(self.task.store, self.task.progress, progress)


def peak_memory_gib() -> float:
    """Peak memory of this process, GiB: that of its GPU if it uses one, else its resident memory."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return float(torch.cuda.max_memory_allocated() / 2**30)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak) / (2**30 if sys.platform == "darwin" else 2**20)
