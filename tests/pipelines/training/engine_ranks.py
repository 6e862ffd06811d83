"""Runs a function on several ranks, one process each, without Ray; and small models to train there."""

import json
import os
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import nn

from pipelines.training.engine import Engine
from trrg_core.config.settings import EngineConfig, OptimizerConfig

# The imports take longer than the training: they are done once, and the ranks are forked. The first optimizer of a
# process imports Dynamo; DeepSpeed's check of it under ZeRO imports Muon, which imports Inductor.
PRELOADED = [
    "deepspeed",
    "torch._dynamo",
    "deepspeed.runtime.zero.muon.muon_optimizer",
    "tests.pipelines.training.elastic_runs",
    "tests.pipelines.training.test_engine",
]

Scenario = Callable[[Path], dict[str, Any]]


def run_ranks(
    scenario: Scenario,
    folder: Path,
    world_size: int,
    *,
    exit_codes: Collection[int] = (0,),
    has_result: bool = True,
    timeout_s: float = 1800,
) -> list[dict[str, Any]]:
    """What `scenario(folder)` returns on each rank, as JSON; nothing where it ends otherwise, or has no result.

    `timeout_s` is that of a collective operation.
    """
    folder.mkdir(parents=True, exist_ok=True)
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    arguments = [(scenario, folder, rank, world_size, timeout_s) for rank in range(world_size)]
    ranks = [context.Process(target=_run_rank, args=own) for own in arguments]
    for process in ranks:
        process.start()
    _join(ranks, time.monotonic() + 300)
    assert {process.exitcode for process in ranks} <= set(exit_codes)
    if not has_result or 0 not in exit_codes:
        return []
    return [json.loads((folder / f"result-{rank}-of-{world_size}.json").read_text()) for rank in range(world_size)]


def _join(ranks: Sequence[Any], deadline: float) -> None:
    """Wait for all; when one fails, or time is up, kill the others, which would wait for it."""
    while any(process.is_alive() for process in ranks):
        if time.monotonic() > deadline or any(process.exitcode for process in ranks):
            for process in ranks:
                process.kill()
        for process in ranks:
            process.join(0.1)


def _run_rank(scenario: Scenario, folder: Path, rank: int, world_size: int, timeout_s: float) -> None:
    torch.set_num_threads(1)
    os.environ["LOCAL_RANK"] = str(rank)
    address = f"file://{folder}/meet-{world_size}-{scenario.__name__}"
    timeout = timedelta(seconds=timeout_s)
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=world_size, timeout=timeout)
    result = scenario(folder)
    (folder / f"result-{rank}-of-{world_size}.json").write_text(json.dumps(result))
    dist.barrier()


@dataclass(frozen=True)
class NumberBatch:
    x: torch.Tensor
    y: torch.Tensor
    study_ids: tuple[str, ...] = ()
    fault: str = ""

    def to(self, device: torch.device) -> "NumberBatch":
        return replace(self, x=self.x.to(device), y=self.y.to(device))


class NumberOutput(NamedTuple):
    loss: torch.Tensor
    parts: dict[str, torch.Tensor]


class NumberModel(nn.Module):
    """Odd sizes, so that partitions cut through parameters; one layer is used twice, one is frozen, one has buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Linear(5, 5)
        self.frozen.requires_grad_(False)
        self.twice = nn.Linear(5, 5)
        self.wide = nn.Linear(5, 13)
        self.norm = nn.LayerNorm(13)
        self.register_buffer("num_seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("constant", torch.ones(3), persistent=False)
        self.last = nn.Linear(13, 1)
        self.log_scale = nn.Parameter(torch.tensor([0.1]))

    def forward(self, batch: NumberBatch) -> NumberOutput:
        self.num_seen += len(batch.x)
        hidden = torch.tanh(self.twice(torch.tanh(self.twice(self.frozen(batch.x.to(self.last.weight.dtype))))))
        value = self.last(self.norm(self.wide(hidden))).squeeze(-1).float() * self.log_scale.float().exp()
        loss = (value - batch.y).square().mean()
        if batch.fault == "gradient":
            loss = loss + _zero(self.last.bias).sqrt() * _zero(self.last.bias)
        if batch.fault == "infinite gradient":
            loss = loss + _zero(self.last.bias).sqrt()
        if batch.fault == "loss":
            loss = loss + float("inf")
        return NumberOutput(loss=loss, parts={"value": value.mean()})


def _zero(value: torch.Tensor) -> torch.Tensor:
    """0, with gradient 1; so the gradient of its square root is infinite, and of that times 0, not a number."""
    return (value - value.detach()).float().sum()


def number_batch(step: int, index: int, *, size: int = 4, fault: str = "") -> NumberBatch:
    """The micro-batch `index` of a step, the same whichever rank makes it."""
    generator = torch.Generator().manual_seed(1000 * step + index)
    x = torch.randn(size, 5, generator=generator)
    ids = tuple(f"s{step}-{index}-{row}" for row in range(size))
    return NumberBatch(x=x, y=x.sum(1), study_ids=ids, fault=fault)


def own_batches(step: int, count: int, **values: Any) -> list[NumberBatch]:
    """This rank's micro-batches of `count` of a step."""
    return [number_batch(step, index, **values) for index in range(dist.get_rank(), count, dist.get_world_size())]


def number_engine(stage: int, precision: str = "fp32", *, model: nn.Module | None = None, **values: Any) -> Engine:
    """An engine on a seeded model; `values` are arguments of `Engine`, or settings: `engine_...`, `optimizer_...`."""
    torch.manual_seed(3)
    engine_settings = {key.removeprefix("engine_"): values.pop(key) for key in list(values) if "engine_" in key}
    optimizer = {key.removeprefix("optimizer_"): values.pop(key) for key in list(values) if "optimizer_" in key}
    config = EngineConfig.model_validate({"zero_stage": stage, "precision": precision, **engine_settings})
    rates = OptimizerConfig.model_validate({"learning_rate": 0.02, "warmup_share": 0, **optimizer})
    model = model or NumberModel()
    return Engine(model, config=config, optimizer=rates, batch_size=4, total_steps=20, **values)


def read_state(folder: Path) -> dict[str, torch.Tensor]:
    """The whole flattened tensors of a saved state, by kind and parameter, from the files of all ranks."""
    pieces: dict[str, list[tuple[int, torch.Tensor]]] = {}
    for path in sorted(folder.glob("state-*.safetensors")):
        for key, tensor in load_file(path).items():
            name, _, start = key.rpartition("@")
            pieces.setdefault(name, []).append((int(start), tensor))
    return {name: _joined(sorted(of_name, key=lambda one: one[0])) for name, of_name in pieces.items()}


def _joined(pieces: Sequence[tuple[int, torch.Tensor]]) -> torch.Tensor:
    end = 0
    for start, tensor in pieces:
        assert start == end, "a gap or an overlap"
        end += tensor.numel()
    return torch.cat([tensor for _, tensor in pieces])
