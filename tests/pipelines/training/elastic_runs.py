"""Training runs of the toy stage and of stage 1 that stop, and go on with another number of ranks."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from pipelines.training.engine import Engine
from pipelines.training.loop import train_rank
from pipelines.training.micro_batches import SeededBatches, step_seed
from tests.core.toy_corpus import OBSERVATIONS, toy_config, toy_rows, toy_texts
from tests.pipelines.training import toy_stage as toy
from trrg_core.model.contrastive import build_contrastive
from trrg_core.storage.store import open_store
from trrg_core.training.collate import collate_pretrain
from trrg_core.training.prompts import load_prompts
from trrg_core.training.sampling_plan import share_lanes
from trrg_core.training.tokenization import train_tokenizer

NUM_MICRO_BATCHES = 6


class StoppedError(Exception):
    """The run was stopped on purpose."""


def _toy_run(folder: Path, run_id: str, stop_at: int) -> dict[str, Any]:
    settings = ("engine.checkpoint_every_steps=1", "engine.validate_every_steps=2")
    task = toy.toy_task(open_store(str(folder)), "shards@0", run_id, 2, *settings)
    reached = 0

    def report(metrics: dict[str, Any]) -> None:
        nonlocal reached
        reached = metrics["step"]
        if reached == stop_at:
            raise StoppedError

    with suppress(StoppedError):
        train_rank(toy.toy_stage(num_micro_batches=NUM_MICRO_BATCHES), task, report)
    return {"reached": reached}


def toy_without_a_stop(folder: Path) -> dict[str, Any]:
    return _toy_run(folder, "one-go", 0)


def toy_to_step_3(folder: Path) -> dict[str, Any]:
    return _toy_run(folder, "elastic", 3)


def toy_to_step_6(folder: Path) -> dict[str, Any]:
    return _toy_run(folder, "elastic", 6)


def toy_to_the_end(folder: Path) -> dict[str, Any]:
    return _toy_run(folder, "elastic", 0)


def stage1_losses(folder: Path) -> dict[str, Any]:
    """Losses of three steps of stage 1 with four micro-batches, and the running mean of a batch norm on rank 0."""
    config = toy_config("engine.zero_stage=0", "pretrain.augment=true")
    tokenizer, num_lanes = train_tokenizer(toy_texts(), vocabulary_size=300), 4
    torch.manual_seed(3)
    model = build_contrastive(config, tokenizer, OBSERVATIONS)
    engine = Engine(model, config=config.engine, optimizer=config.pretrain.optimizer, batch_size=4, total_steps=5)
    share = share_lanes(num_lanes, rank=dist.get_rank(), world_size=dist.get_world_size())
    rows = toy_rows(16 * 3)
    losses = []
    for step in range(3):
        seeds = tuple(step_seed(1, step, lane) for lane in share.lanes)
        batches = tuple(
            collate_pretrain(
                rows[16 * step + 4 * lane : 16 * step + 4 * lane + 4],
                tokenizer=tokenizer,
                prompts=load_prompts(OBSERVATIONS),
                observations=OBSERVATIONS,
                config=config.pretrain,
                seed=seed,
            )
            for lane, seed in zip(share.lanes, seeds, strict=True)
        )
        losses.append(engine.train_step(SeededBatches(batches=batches, seeds=seeds).joined(), step))
    state = engine.gather_state()
    statistics = [value.tolist() for name, value in state.items() if name.endswith("running_mean")]
    return {"losses": losses, "statistics": statistics}
