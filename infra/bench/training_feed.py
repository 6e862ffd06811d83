"""Input stall: how long a training step that takes 80 ms waits for its batch, at the sizes of `base`."""

import os
import statistics
import time
from collections.abc import Iterator

from infra.bench.process_tree import watch_tree
from infra.bench.training_task import bench_task
from pipelines.jobs import pretrain
from pipelines.ray_data.training_rows import list_row_groups, read_steps
from pipelines.training.feed import Portion, choose_num_workers, feed
from pipelines.training.micro_batches import step_seed
from pipelines.training.stage import TrainingTask
from trrg_core.training.sampling_plan import Plan

STEP_S = 0.08  # of 64 studies on a GPU
STEPS, WARM_UP = 30, 6
FLOOR_STALL = 0.05
# sizes of base; its tokenizer, which would be downloaded, is trained on the shards instead
SETTINGS = (
    "shard.max_side_px=512",
    "ingest.max_side_px=512",
    "pretrain.image_size_px=224",
    "pretrain.batch_size=64",
    "pretrain.micro_batch_size=64",
    "pretrain.max_views=2",
)


def bench_input(rounds: int) -> bool:
    """The share of time that the training thread waits, with each number of processes that make batches."""
    cpus = os.cpu_count() or 1
    print(f"{f'64 studies a step, {cpus} CPUs':28}{'wait per step, ms':>18}{'stall':>8}{'CPU ms per batch':>18}")
    stalls = {}
    with bench_task("tiny", *SETTINGS, num_rows=256) as task:
        chosen = choose_num_workers(on_gpu=True)  # as where a GPU makes the steps
        for num in sorted({-1, 0, 1, cpus, chosen}):
            runs = [_run(task, num) for _ in range(rounds)]
            wait = statistics.median(waiting_s for waiting_s, _ in runs)
            cpu_s = statistics.median(used_s for _, used_s in runs)
            stalls[num] = wait / (wait + STEP_S)
            name = {0: "no reading ahead", -1: "a thread"}.get(num, f"{num} process{'es' * (num > 1)}")
            name += ", as chosen" * (num == chosen)
            print(f"{name:28}{1000 * wait:18.0f}{stalls[num]:8.0%}{1000 * cpu_s:18.0f}")
    best = stalls[chosen]
    passed = best <= FLOOR_STALL
    needed = cpu_s / STEP_S
    print(
        f"{'PASS' if passed else 'FAIL'}: the training thread waits {best:.0%} of the time (floor {FLOOR_STALL:.0%}); "
        f"making a batch in {1000 * STEP_S:.0f} ms needs {needed:.1f} CPUs"
    )
    return passed


def _run(task: TrainingTask, num_workers: int) -> tuple[float, float]:
    """Mean seconds of waiting per step after the first ones, and CPU seconds per batch of all processes."""
    groups = list_row_groups(task.store, task.shards, "train")
    plan = Plan(groups=groups, batch_size=64, seed=0, lane=0, num_lanes=1)

    def portions() -> Iterator[Portion]:
        for step, rows in enumerate(read_steps(task.store, plan, 0, STEPS)):
            yield Portion(step=step, seed=step_seed(0, step, 0), rows=rows)

    collate = pretrain.collate(task)
    with feed(portions, collate, num_workers=num_workers, portions_per_step=1) as batches:
        _steps(batches, WARM_UP)
        with watch_tree() as use:
            waits = _steps(batches, STEPS - WARM_UP)
    return statistics.mean(waits), use.cpu_s / len(waits)


def _steps(batches: Iterator[object], count: int) -> list[float]:
    """Seconds of waiting for each of the next `count` batches, with a sleep in place of each training step."""
    waits = []
    for _ in range(count):
        before = time.perf_counter()
        next(batches)
        waits.append(time.perf_counter() - before)
        time.sleep(STEP_S)
    return waits
