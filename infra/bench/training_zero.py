"""ZeRO-2 beside torch's DistributedDataParallel: two processes train both on the same batches, step by step in turn."""

import json
import os
import statistics
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.distributed as dist
from torch import nn

from infra.bench.training_task import bench_task, largest_difference, one_thread, run_processes
from pipelines.jobs import pretrain
from pipelines.ray_data.training_rows import list_row_groups, read_steps
from pipelines.training.deepspeed_setup import build_optimizer
from pipelines.training.engine import Engine
from pipelines.training.micro_batches import step_seed
from pipelines.training.stage import DeviceBatch, TrainingTask
from trrg_core.training.sampling_plan import Plan

STEPS, WARM_UP = 20, 4
STAGES = (0, 1, 2)
# so small that differences of rounding do not grow from step to step
LEARNING_RATE = 1e-4
FLOOR_LOSS = 1e-4

Step = Callable[[DeviceBatch, int], float]


def bench_zero(rounds: int) -> bool:
    """CPU seconds of a step under ZeRO stages 0 to 2 over those under DDP, and how far the losses are apart."""
    settings = [
        f"pretrain.optimizer.learning_rate={LEARNING_RATE}",
        "pretrain.optimizer.warmup_share=0",
        "engine.num_workers=2",
        "pretrain.epochs=1000",
    ]
    with bench_task("tiny", *settings, num_rows=32 * STEPS) as task, TemporaryDirectory() as folder:
        seconds: dict[str, list[float]] = {}
        losses: dict[str, list[float]] = {}
        for _ in range(rounds):
            run_processes(train_in_turn, task, Path(folder), number=2)
            found = json.loads((Path(folder) / "steps.json").read_text())
            (Path(folder) / "rendezvous").unlink(missing_ok=True)
            for name, own in found["cpu_s"].items():
                seconds.setdefault(name, []).extend(own[WARM_UP:])
            losses = found["losses"]
    return _print_verdict(seconds, losses)


def _print_verdict(seconds: dict[str, list[float]], losses: dict[str, list[float]]) -> bool:
    print(f"{f'{STEPS} steps of tiny, 2 processes':32}{'ms CPU per step':>16}{'of DDP':>9}{'losses within':>15}")
    ddp = seconds["DDP"]
    apart = {}
    for name, own in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(own, ddp, strict=True))
        apart[name] = largest_difference(losses[name], losses["DDP"])
        print(f"{name:32}{1000 * statistics.median(own):16.1f}{ratio:9.2f}{apart[name]:15.1e}")
    passed = max(apart.values()) <= FLOOR_LOSS
    print(f"{'PASS' if passed else 'FAIL'}: losses within {max(apart.values()):.1e} of DDP's (floor {FLOOR_LOSS})")
    return passed


def train_in_turn(rank: int, task: TrainingTask, folder: Path) -> None:
    """Each step once by every method, from equal weights; rank 0 writes the CPU seconds and losses."""
    one_thread()
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2")  # DeepSpeed reads them
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    torch.manual_seed(task.config.seed)
    model = pretrain.build(task).train()
    methods = {"DDP": _ddp_step(task, deepcopy(model))}
    methods |= {f"ZeRO-{stage}": _engine_step(task, deepcopy(model), stage) for stage in STAGES}
    cpu_s: dict[str, list[float]] = {name: [] for name in methods}
    losses: dict[str, list[float]] = {name: [] for name in methods}
    collate = pretrain.collate(task)
    groups = list_row_groups(task.store, task.shards, "train")
    plan = Plan(groups=groups, batch_size=task.config.pretrain.micro_batch_size, seed=0, lane=rank, num_lanes=2)
    for step, rows in enumerate(read_steps(task.store, plan, 0, STEPS)):
        batch = collate(rows.to_pylist(), seed=step_seed(0, step, rank))
        for name, method in methods.items():
            before = time.process_time()
            loss = method(batch, step)
            cpu_s[name].append(time.process_time() - before)
            losses[name].append(loss)
    if rank == 0:
        (folder / "steps.json").write_text(json.dumps({"cpu_s": cpu_s, "losses": losses}))


def _engine_step(task: TrainingTask, model: nn.Module, stage: int) -> Step:
    engine = Engine(
        model,
        config=task.config.engine.model_copy(update={"zero_stage": stage}),
        optimizer=task.config.pretrain.optimizer,
        batch_size=task.config.pretrain.micro_batch_size,
        total_steps=10**6,  # the learning rate stays as it is
    )
    return lambda batch, step: engine.train_step([batch], step)["loss"]


def _ddp_step(task: TrainingTask, model: nn.Module) -> Step:
    optimizer = build_optimizer(model, task.config.pretrain.optimizer)
    joined = nn.parallel.DistributedDataParallel(model, broadcast_buffers=False)

    def train_step(batch: DeviceBatch, step: int) -> float:
        loss = joined(batch).loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(list(model.parameters()), task.config.engine.clip_norm)
        optimizer.step()
        value = loss.detach().clone()
        dist.all_reduce(value)
        return float(value) / dist.get_world_size()

    return train_step
