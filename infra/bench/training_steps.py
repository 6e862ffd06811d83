"""CPU seconds of a training step: the whole pipeline against a bare loop with the same number of processes.

The bare loop reads, collates and trains in one thread, with nothing but torch; two processes are joined by torch's
DistributedDataParallel. The pipeline adds reading ahead, DeepSpeed, seeds, progress and, in two processes, Ray Train.
"""

import json
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.distributed as dist
from torch import nn

from infra.bench.training_task import (
    again,
    bench_task,
    build_marked,
    cpu_s_per_step,
    largest_difference,
    one_thread,
    pretrain_stage,
    run_processes,
)
from pipelines.jobs import pretrain
from pipelines.ray_data.training_rows import list_row_groups, read_chunk
from pipelines.training.deepspeed_setup import build_optimizer
from pipelines.training.loop import LOSSES
from pipelines.training.micro_batches import step_seed
from pipelines.training.stage import DeviceBatch, TrainingTask
from trrg_core.training.parameter_groups import RATE
from trrg_core.training.sampling_plan import Plan
from trrg_core.training.schedule import learning_rate_scale

STEPS, WARM_UP = 40, 8
FLOOR_OVERHEAD = 0.03


@dataclass(frozen=True, kw_only=True)
class Measured:
    """CPU seconds of one step of one process, and the losses of all steps."""

    cpu_s: float
    losses: list[float]


def bench_steps(rounds: int) -> bool:
    """The pipeline with one process without Ray, and with two under Ray, against bare loops."""
    with bench_task("tiny", "engine.log_every_steps=10", num_rows=512) as task:
        runs: dict[tuple[str, int], list[Measured]] = {}
        for number in range(rounds):
            for world in (1, 2):
                sized = _with_steps(again(task, 10 * number + world), world)
                runs.setdefault(("bare", world), []).append(_run_bare(sized, world))
                runs.setdefault(("pipeline", world), []).append(_run_pipeline(sized, world))
    return _print_verdict(runs)


def _with_steps(task: TrainingTask, world: int) -> TrainingTask:
    """`task` with `world` workers and as many epochs as give STEPS steps."""
    groups = list_row_groups(task.store, task.shards, "train")
    size = task.config.pretrain.micro_batch_size
    per_epoch = Plan(groups=groups, batch_size=size, seed=0, lane=0, num_lanes=world).steps_per_epoch
    pretrain_settings = task.config.pretrain.model_copy(
        update={"epochs": STEPS / per_epoch, "batch_size": size * world}
    )
    engine = task.config.engine.model_copy(update={"num_workers": world, "local": world == 1})
    return replace(task, config=task.config.model_copy(update={"pretrain": pretrain_settings, "engine": engine}))


def _print_verdict(runs: dict[tuple[str, int], list[Measured]]) -> bool:
    print(f"{f'{STEPS} steps of tiny':34}{'ms CPU per step and process':>28}{'overhead':>10}{'losses within':>15}")
    overheads = []
    for world, where in ((1, "1 process"), (2, "2 processes")):
        bare, ours = runs["bare", world], runs["pipeline", world]
        ratios = [mine.cpu_s / other.cpu_s for mine, other in zip(ours, bare, strict=True)]
        overheads.append(statistics.median(ratios) - 1)
        apart = max(largest_difference(m.losses[:10], b.losses[:10]) for m, b in zip(ours, bare, strict=True))
        print(f"{f'bare loop, {where}':34}{1000 * statistics.median(run.cpu_s for run in bare):28.1f}")
        name = f"pipeline, {where}{', Ray' if world > 1 else ''}"
        cpu = 1000 * statistics.median(run.cpu_s for run in ours)
        print(f"{name:34}{cpu:28.1f}{overheads[-1]:+10.1%}{apart:15.1e}")
    passed = max(overheads) <= FLOOR_OVERHEAD
    print(f"{'PASS' if passed else 'FAIL'}: overhead {max(overheads):+.1%} (floor {FLOOR_OVERHEAD:.0%})")
    return passed


def _run_bare(task: TrainingTask, world: int) -> Measured:
    with TemporaryDirectory() as folder:
        run_processes(bare_loop, world, task, Path(folder), number=world)
        losses = json.loads((Path(folder) / LOSSES).read_text())
        (Path(folder) / LOSSES).unlink()
        (Path(folder) / "rendezvous").unlink(missing_ok=True)
        return Measured(cpu_s=statistics.mean(cpu_s_per_step(Path(folder), warm_up=WARM_UP)), losses=losses)


def _run_pipeline(task: TrainingTask, world: int) -> Measured:
    with TemporaryDirectory() as folder:
        run_processes(pipeline_run, task, Path(folder))
        losses = [part["loss"] for part in json.loads(task.store.read_bytes(f"{task.path}/{LOSSES}"))]
        return Measured(cpu_s=statistics.mean(cpu_s_per_step(Path(folder), warm_up=WARM_UP)), losses=losses)


def pipeline_run(_: int, task: TrainingTask, marks: Path) -> None:
    """Train `task` by the pipeline, in this process or by Ray Train workers."""
    from pipelines.training.train import train

    train(pretrain_stage(task, marks), task)


def bare_loop(rank: int, world: int, task: TrainingTask, marks: Path) -> None:
    """Train `task` with torch alone; rank 0 writes the losses."""
    one_thread()
    config = task.config.pretrain
    if world > 1:
        dist.init_process_group("gloo", init_method=f"file://{marks}/rendezvous", rank=rank, world_size=world)
    torch.manual_seed(task.config.seed)
    model = build_marked(marks, task).train()
    optimizer = build_optimizer(model, config.optimizer)
    trained = list(model.parameters())
    joined = _joined(model) if world > 1 else model
    losses = []
    for step, batch in enumerate(_batches(task, rank, world)):
        torch.manual_seed(step_seed(task.config.seed, step, rank))
        for group in optimizer.param_groups:
            scale = learning_rate_scale(step, STEPS, config.optimizer)
            group["lr"] = config.optimizer.learning_rate * scale * group[RATE]
        loss = joined(batch).loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(trained, task.config.engine.clip_norm)
        optimizer.step()
        losses.append(_mean(loss))
    if rank == 0:
        (marks / LOSSES).write_text(json.dumps(losses))


def _joined(model: nn.Module) -> nn.Module:
    joined = nn.parallel.DistributedDataParallel(model)
    # the batch norms of the other ranks keep their own statistics, as under DeepSpeed; not as an argument, whose name
    # depends on the version of torch. All processes begin with the same statistics
    joined.broadcast_buffers = False
    return joined


def _batches(task: TrainingTask, rank: int, world: int) -> Iterator[DeviceBatch]:
    """The batches of this rank, read and collated when they are asked for."""
    size, seed = task.config.pretrain.micro_batch_size, task.config.seed
    groups = list_row_groups(task.store, task.shards, "train")
    plan = Plan(groups=groups, batch_size=size, seed=seed, lane=rank, num_lanes=world)
    collate = pretrain.collate(task)
    rest: list[dict[str, object]] = []
    step = 0
    for chunk in plan.chunks(0, STEPS):
        rest += read_chunk(task.store, chunk).to_pylist()
        while len(rest) >= size:
            yield collate(rest[:size], seed=step_seed(seed, step, rank))
            rest, step = rest[size:], step + 1


def _mean(loss: torch.Tensor) -> float:
    """The mean over the processes."""
    value = loss.detach().clone()
    if dist.is_initialized():
        dist.all_reduce(value)
        value /= dist.get_world_size()
    return float(value)
