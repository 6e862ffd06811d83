"""The numbers of a run every few steps: losses, learning rate, speed, stall and memory, in one file of its folder.

An attempt that resumes keeps the points of the steps before it, and writes the later ones again.
"""

import math
import time
from collections.abc import Callable, Mapping

from pipelines.records.metric_points import METRICS_FILE, STEP, TIME, read_points, write_points
from pipelines.training.stage import TrainingTask
from pipelines.training.validation import VALIDATE_LOSS
from trrg_core.config.settings import OptimizerConfig
from trrg_core.training.schedule import learning_rate_scale

_MAX_POINTS = 10_000  # of a run, but for those with a loss on `validate`: a few MB
_WRITE_EVERY_S = 10.0
_WRITE_SHARE = 0.01  # or this share of the time so far, if that is longer: the file grows, and is written as a whole


class MetricLog:
    """Collects the points of one attempt, and writes them with those of earlier attempts.

    Args:
        task: the run.
        start: steps that earlier attempts did.
        total: steps of the whole run.
        optimizer: whose learning rate is recorded.
    """

    def __init__(self, task: TrainingTask, start: int, total: int, optimizer: OptimizerConfig) -> None:
        self._store, self._path = task.store, f"{task.path}/{METRICS_FILE}"
        self._total, self._optimizer = total, optimizer
        interval = task.config.engine.log_every_steps
        self._interval = interval * max(1, math.ceil(total / interval / _MAX_POINTS))
        earlier = read_points(task.store, self._path) if start else []
        self._points: list[dict[str, float]] = [point for point in earlier if point[STEP] <= start]
        self._began = self._written = time.monotonic()

    def add(
        self, step: int, losses: Mapping[str, float], speed: Callable[[int], Mapping[str, float]], *, is_last: bool
    ) -> None:
        """Add the numbers of a step, counted from 1, if it is due: the first, the last, every few, or a validated one.

        Args:
            step: the step.
            losses: its losses; one that is not finite is left out.
            speed: gives the other numbers of a step, asked only if it is due.
            is_last: whether training ends with it.
        """
        if not (is_last or step % self._interval == 0 or VALIDATE_LOSS in losses or not self._points):
            return
        rate = self._optimizer.learning_rate * learning_rate_scale(step - 1, self._total, self._optimizer)
        numbers = {**losses, "learning_rate": rate, **speed(step)}
        finite = {name: value for name, value in numbers.items() if math.isfinite(value)}
        self._points.append({STEP: step, TIME: round(1000 * time.time()), **finite})
        now = time.monotonic()
        if is_last or now - self._written >= max(_WRITE_EVERY_S, _WRITE_SHARE * (now - self._began)):
            self.write()

    def write(self) -> None:
        """Write all points so far."""
        self._written = time.monotonic()
        write_points(self._store, self._path, self._points)
