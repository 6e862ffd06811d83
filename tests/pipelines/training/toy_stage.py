"""A stage small enough to see through: a linear model on numbers, through the real loop and engine."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import torch
from torch import nn

from pipelines.training.stage import UNSCORED, Collate, Stage, TrainingTask
from trrg_core.config.load import load_config
from trrg_core.config.settings import OptimizerConfig
from trrg_core.runs.checkpoints import list_checkpoints
from trrg_core.storage.store import Store
from trrg_core.storage.withdrawal_lock import withdrawal_state
from trrg_core.tables.commit_history import CommitMetadata
from trrg_core.tables.delta import commit_parts
from trrg_core.tables.parquet import write_part

# for workers: under ZeRO DeepSpeed imports Muon, which no run uses, and that Inductor to compile it, for five seconds
NO_COMPILER = ("TORCHDYNAMO_DISABLE", "1")
SCHEMA = pa.schema(
    [("study_id", pa.string()), ("split", pa.string()), ("x", pa.list_(pa.float32())), ("y", pa.float32())]
)


@dataclass(frozen=True)
class ToyBatch:
    x: torch.Tensor
    y: torch.Tensor
    rows: float

    @property
    def num_pairs(self) -> int:
        return 3 * len(self.x)

    def to(self, device: torch.device) -> "ToyBatch":
        return replace(self, x=self.x.to(device), y=self.y.to(device))

    def pin_memory(self) -> "ToyBatch":
        return replace(self, x=self.x.pin_memory(), y=self.y.pin_memory())


class ToyOutput(NamedTuple):
    loss: torch.Tensor
    parts: dict[str, torch.Tensor]


class ToyModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Linear(4, 4)
        self.frozen.requires_grad_(False)
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 1))

    def forward(self, batch: ToyBatch) -> ToyOutput:
        error = (self.layers(self.frozen(batch.x)).squeeze(-1) - batch.y).square().mean()
        return ToyOutput(loss=error, parts={"noise": torch.rand(()), "rows": torch.tensor(batch.rows)})


def write_toy_shards(store: Store, num_rows: int = 96) -> str:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(num_rows, 4, generator=generator)
    rows = pa.table(
        {
            "study_id": [str(i) for i in range(num_rows)],
            "split": ["train"] * num_rows,
            "x": x.tolist(),
            "y": x.sum(1).tolist(),
        },
        schema=SCHEMA,
    )
    parts = [
        write_part(store, "shards", f"parts/toy/{at}.parquet", rows.slice(at, 24), split="train")
        for at in range(0, num_rows, 24)
    ]
    x = torch.randn(24, 4, generator=generator)
    columns = {
        "study_id": [f"{1000 + i}" for i in range(24)],
        "split": ["validate"] * 24,
        "x": x.tolist(),
        "y": x.sum(1).tolist(),
    }
    validate = pa.table(columns, schema=SCHEMA)
    parts.append(write_part(store, "shards", "parts/toy/validate.parquet", validate, split="validate"))
    return str(commit_parts(store, "shards", parts, SCHEMA, CommitMetadata(fingerprint="toy")))


def build(task: TrainingTask) -> nn.Module:
    return ToyModel()


def collate(task: TrainingTask) -> Collate:
    return partial(collate_rows, task)


def collate_rows(task: TrainingTask, rows: Sequence[Mapping[str, Any]], *, seed: int) -> ToyBatch:
    _die_once(task)
    _stop_once(task)
    _fail_always(task)
    # another number for any other rows, or order of rows
    hashed = sum((position + 1) * (int(row["study_id"]) + 1) for position, row in enumerate(rows)) / 1000
    return ToyBatch(torch.tensor([row["x"] for row in rows]), torch.tensor([row["y"] for row in rows]), hashed)


def save(task: TrainingTask, state: Mapping[str, torch.Tensor]) -> Mapping[str, float]:
    task.store.write_bytes(f"{task.path}/{UNSCORED}/model", b"weights")
    return {"num_weights": float(sum(value.numel() for value in state.values()))}


def score(task: TrainingTask) -> Mapping[str, float]:
    """Scoring in the driver, which lasts as long as the file `scoring-s` says; `fail-scoring` stops it."""
    folder = Path(task.store.uri)
    if (folder / "fail-scoring").exists():
        raise RuntimeError("scoring was stopped")
    seconds = folder / "scoring-s"
    time.sleep(float(seconds.read_text()) if seconds.exists() else 0)
    num_bytes = len(task.store.read_bytes(f"{task.path}/{UNSCORED}/model"))
    return {"score": float(num_bytes), "scored_by": float(os.getpid())}


def _die_once(task: TrainingTask) -> None:
    """Kill this worker the moment step checkpoints exist, if the test asked for it and it did not happen yet."""
    order = Path(task.store.uri) / "die-once"
    if order.exists() and has_checkpoint(task) and torch.distributed.get_rank() == 1:
        order.unlink()
        os.kill(os.getpid(), 9)


def _stop_once(task: TrainingTask) -> None:
    """Raise what a key press raises, under the same conditions as `_die_once`."""
    order = Path(task.store.uri) / "stop-once"
    if order.exists() and has_checkpoint(task):
        order.unlink()
        raise KeyboardInterrupt


def _fail_always(task: TrainingTask) -> None:
    """Fail whenever there is a checkpoint, as long as the file `fail-always` exists; counts how often."""
    order = Path(task.store.uri) / "fail-always"
    if order.exists() and has_checkpoint(task):
        with order.open("a") as file:
            file.write("x")
        raise RuntimeError("the disk of this worker is broken")


def has_checkpoint(task: TrainingTask) -> bool:
    """Whether the run has a finished checkpoint."""
    return bool(list_checkpoints(task.store, f"{task.path}/checkpoints"))


@dataclass(frozen=True)
class ToySchedule:
    epochs: float
    num_micro_batches: int
    optimizer: OptimizerConfig
    micro_batch_size: int = 4


def toy_stage(epochs: float = 3, num_micro_batches: int = 2, learning_rate: float = 0.01) -> Stage:
    optimizer = OptimizerConfig(learning_rate=learning_rate)
    return Stage(
        name="pretrain",
        schedule=ToySchedule(epochs=epochs, num_micro_batches=num_micro_batches, optimizer=optimizer),
        build=build,
        collate=collate,
        save=save,
        score=score,
    )


def toy_task(store: Store, shards: str, run_id: str, zero_stage: int, *settings: str) -> TrainingTask:
    overrides = [
        "ray.local_cpus=2",  # as many as the workers need
        f"engine.zero_stage={zero_stage}",
        "engine.checkpoint_every_steps=8",
        "engine.log_every_steps=100",
        *settings,
    ]
    return TrainingTask(
        run_id=run_id,
        config=load_config("tiny", overrides),
        store=store,
        inputs={"shards": shards},
        code_version="toy",
        withdrawals=withdrawal_state(store),
    )
