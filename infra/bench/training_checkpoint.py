"""Checkpoint stall: how long training stands still for a checkpoint that is written in the background.

A model of 29 million parameters trains with AdamW; a checkpoint, weights and two moments in fp32, has 353 MB.
"""

import statistics
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn

from pipelines.training.checkpoint_writer import CheckpointWriter
from pipelines.training.engine import Engine
from pipelines.training.single_rank import single_rank
from trrg_core.config.settings import EngineConfig, OptimizerConfig
from trrg_core.storage.store import open_store
from trrg_core.training.losses import LossOutput

WIDTH, LAYERS, ROWS = 1024, 28, 256
STEPS = 12
FLOOR_STALL = 0.2


class Layers(nn.Module):
    """A stack of linear layers that learns to return its input."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(LAYERS)))

    def forward(self, rows: torch.Tensor) -> LossOutput:
        """The mean squared distance from the input."""
        return LossOutput((self.layers(rows) - rows).square().mean(), {})


def bench_checkpoint(rounds: int) -> bool:
    """Seconds that a checkpoint adds to training, written in the background and waited for."""
    with TemporaryDirectory(prefix="trrg-bench-") as folder, single_rank("gloo", timedelta(seconds=600)):
        engine = Engine(
            Layers(),
            config=EngineConfig(zero_stage=0, num_workers=1),
            optimizer=OptimizerConfig(learning_rate=1e-4),
            batch_size=ROWS,
            total_steps=10**6,
        )
        batch = torch.randn(ROWS, WIDTH)
        engine.train_step([batch], 0)
        writer = CheckpointWriter(open_store(folder), "checkpoints", keep=1)
        number = 0

        def save(wait: bool) -> None:
            nonlocal number
            number += 1
            writer.save(engine.copy_state(), step=number, files={})
            if wait:
                writer.wait()

        def train(save_first: Callable[[], None]) -> float:
            """Seconds of STEPS training steps after `save_first`."""
            began = time.perf_counter()
            save_first()
            for _ in range(STEPS):
                engine.train_step([batch], 1)
            taken = time.perf_counter() - began
            writer.wait()
            return taken

        ways: dict[str, Callable[[], None]] = {
            "no checkpoint": lambda: None,
            "waited for": lambda: save(True),
            "in the background": lambda: save(False),
        }
        train(ways["waited for"])
        # in turns, so that what else the machine does meets all ways
        taken = [{name: train(way) for name, way in ways.items()} for _ in range(rounds)]
        seconds = {name: [of_round[name] for of_round in taken] for name in ways}
        size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
        writer.close()
        engine.close()
    return _print_verdict(seconds, size)


def _print_verdict(seconds: dict[str, list[float]], size: int) -> bool:
    plain = seconds["no checkpoint"]
    more = {
        name: statistics.median(one - beside for one, beside in zip(own, plain, strict=True))
        for name, own in seconds.items()
    }
    waited = more["waited for"]
    print(f"{f'{STEPS} steps, {size / 1e6:.0f} MB':24}{'seconds':>9}{'more':>7}{'of waiting':>12}")
    for name, own in seconds.items():
        print(f"{name:24}{statistics.median(own):9.2f}{more[name]:7.2f}{more[name] / waited:12.0%}")
    share = more["in the background"] / waited
    passed = share <= FLOOR_STALL
    print(f"{'PASS' if passed else 'FAIL'}: the stall is {share:.0%} of a synchronous save (floor {FLOOR_STALL:.0%})")
    return passed
