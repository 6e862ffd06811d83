"""Batches of numbers, some of which fail; run as a script it makes them in processes until it is killed."""

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from pipelines.training.feed import Portion, feed

SECRET = "a sentence of the report"


@dataclass(frozen=True)
class Numbers:
    values: torch.Tensor
    pid: int

    def to(self, device: torch.device) -> "Numbers":
        return self

    def pin_memory(self) -> "Numbers":
        return self


def collate_numbers(rows: Sequence[Mapping[str, Any]], *, seed: int) -> Numbers:
    if any(row["study_id"] == "bad" for row in rows):
        raise ValueError(SECRET)
    if any(row["study_id"] == "kill" for row in rows):
        os.kill(os.getpid(), 9)
    return Numbers(torch.tensor([len(row["study_id"]) + seed for row in rows]), os.getpid())


def make_portions(steps: Sequence[Sequence[str]]) -> Iterator[Portion]:
    for step, ids in enumerate(steps):
        yield Portion(step=step, seed=step, rows=pa.table({"study_id": list(ids)}))


if __name__ == "__main__":
    with feed(lambda: make_portions([["a"]] * 10_000), collate_numbers, num_workers=2, portions_per_step=1) as batches:
        pids = {next(batches).pid for _ in range(4)}
        Path(sys.argv[1]).write_text(" ".join(map(str, pids)))
        time.sleep(300)
