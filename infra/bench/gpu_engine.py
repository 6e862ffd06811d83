"""The training engine of both stages on one GPU: speed, memory beside its estimate, and exact resume, by ZeRO stage.

`python -m infra.bench.gpu engine` trains the models of `base` with random weights on invented batches that are on the
device already, under DeepSpeed, as a training run does: stage 1, and stage 2 with adapters on a 7B LLM. Each case
trains, writes its state, goes on, and then a new engine reads the state and takes the same steps again: its losses must
be those of the first. It needs this checkout, torch, transformers, peft, deepspeed and pydantic. `--tiny` takes the
sizes of `tiny`, to check the script on a CPU.
"""

import argparse
import gc
import statistics
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
from torch import nn

from infra.bench.device import device_name, synchronize
from infra.bench.gpu_batches import VOCABULARY, Load, invent_batch, with_reports
from pipelines.training.engine import Engine
from pipelines.training.single_rank import single_rank
from trrg_core.config.load import load_config
from trrg_core.config.settings import TrrgConfig
from trrg_core.labels import load_label_set
from trrg_core.model.contrastive import build_contrastive
from trrg_core.model.generator import build_generator
from trrg_core.model.model_size import finetune_size, pretrain_size
from trrg_core.model.perception import DiseasePerception
from trrg_core.training.batch import Batch
from trrg_core.training.invented_vocabulary import InventedVocabulary
from trrg_core.training.memory_estimate import GIB, estimate_memory

_STEPS, _AFTER = 6, 3  # steps before the state is written, the first of them to warm up, and after
_TIMEOUT = timedelta(minutes=10)
_NEAR = 0.02  # of the loss: between ZeRO stages the order of sums differs, and bf16 has three digits
_RESUMED = 1e-3  # of the loss: on a GPU the order of some sums changes from run to run


@dataclass(frozen=True, kw_only=True)
class Case:
    """A stage and the settings of its engine."""

    stage: str
    settings: tuple[str, ...]

    @property
    def name(self) -> str:
        """As it stands in the table."""
        return ", ".join((self.stage, *(setting.removeprefix("engine.") for setting in self.settings)))


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Of one case: seconds of a step, peak and estimate in bytes, losses, and how far resumed ones are apart."""

    step_s: float
    peak_bytes: int
    estimate_bytes: float
    losses: Sequence[float]
    apart: float


CASES = (
    Case(stage="stage 1", settings=("engine.zero_stage=0", "engine.precision=fp32")),
    *(Case(stage="stage 1", settings=(f"engine.zero_stage={zero}", "engine.precision=bf16")) for zero in range(4)),
    Case(
        stage="stage 1",
        settings=("engine.zero_stage=2", "engine.precision=bf16", "engine.offload_optimizer=cpu"),
    ),
    *(Case(stage="stage 2", settings=(f"engine.zero_stage={zero}", "engine.precision=bf16")) for zero in (2, 3)),
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this bench."""
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose name has this text")
    parser.add_argument("--tiny", action="store_true", help="the sizes of the preset tiny")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")


def bench_engine(options: argparse.Namespace) -> int:
    """Prints the table; returns 1 if a case failed, needs more memory than estimated, or does not resume exactly."""
    on_gpu = options.device.startswith("cuda")
    print(f"{device_name(options.device)}, torch {torch.__version__}")
    print(f"{'':58}{'ms/step':>9}{'GiB':>7}{'estimate':>10}{'first loss':>12}{'resumed':>9}")
    faults, first_losses = [], dict[str, float]()
    with single_rank("nccl" if on_gpu else "gloo", _TIMEOUT):
        for case in CASES:
            if options.only not in case.name:
                continue
            if not on_gpu and "offload_optimizer" in case.name:
                continue
            try:
                result = measure(case, options)
            except Exception as error:  # the cases after it are measured all the same
                traceback.print_exc()
                print(f"{case.name:58} {type(error).__name__}: {str(error).splitlines()[0][:200]}", flush=True)
                faults.append(f"{case.name} failed")
                continue
            memory = f"{result.peak_bytes / GIB:.1f}" if on_gpu else "-"
            print(
                f"{case.name:58}{1000 * result.step_s:9.1f}{memory:>7}{result.estimate_bytes / GIB:10.1f}"
                f"{result.losses[0]:12.4f}{result.apart:9.0e}",
                flush=True,
            )
            if not result.apart <= _RESUMED:
                faults.append(f"{case.name}: a loss after resuming is {result.apart:.0e} apart")
            if on_gpu and result.peak_bytes > result.estimate_bytes:
                faults.append(f"{case.name} needs more memory than estimated")
            first = first_losses.setdefault(case.stage, result.losses[0])
            if abs(result.losses[0] - first) > _NEAR * abs(first):
                faults.append(f"{case.name}: its first loss is not that of the first case")
    print("\n".join(f"FAIL: {fault}" for fault in faults) or "PASS: all cases train, fit their estimate and resume")
    return 1 if faults else 0


def measure(case: Case, options: argparse.Namespace) -> Measured:
    """Trains the case, and resumes it in a new engine."""
    on_gpu = options.device.startswith("cuda")
    common = ("engine.num_workers=1", f"engine.use_gpu={str(on_gpu).lower()}", "engine.local=true")
    # stage 1 of a run with one worker would join all micro-batches of a step
    one_step = ("pretrain.batch_size=64", "pretrain.micro_batch_size=64")
    config = load_config("tiny" if options.tiny else "base", [*common, *one_step, *case.settings])
    is_first = case.stage == "stage 1"
    size, towers = (pretrain_size if is_first else finetune_size)(config)
    batches = _invent_batches(config, options.device, is_first=is_first)
    before = 0
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_reserved()  # what earlier cases did not give back
    with tempfile.TemporaryDirectory() as folder:
        engine = _engine(config, options.device, is_first=is_first)
        losses, seconds = _train(engine, batches, range(_STEPS))
        engine.save(Path(folder))
        wanted, _ = _train(engine, batches, range(_STEPS, _STEPS + _AFTER))
        peak = torch.cuda.max_memory_reserved() - before if on_gpu else 0
        _release(engine)
        del engine
        resumed = _engine(config, options.device, is_first=is_first)
        resumed.load(Path(folder))
        found, _ = _train(resumed, batches, range(_STEPS, _STEPS + _AFTER))
        _release(resumed)
    return Measured(
        step_s=statistics.median(seconds[1:]),
        peak_bytes=peak,
        estimate_bytes=estimate_memory(size, towers, config.engine, world_size=1).total,
        losses=losses,
        apart=max(abs(one - other) / abs(one) for one, other in zip(wanted, found, strict=True)),
    )


def _invent_batches(config: TrrgConfig, device: str, *, is_first: bool) -> list[Batch]:
    num_observations = len(load_label_set(config.parse.label_set).observations)
    num_studies = config.pretrain.micro_batch_size if is_first else config.finetune.micro_batch_size
    load = Load(name="engine", num_studies=num_studies, num_views=2, num_sentences=6, has_negatives=is_first)
    batches = [invent_batch(load, config, num_observations, seed) for seed in range(3)]
    if not is_first:
        batches = [with_reports(batch, config, seed) for seed, batch in enumerate(batches)]
    return [batch.to(device) for batch in batches]


def _engine(config: TrrgConfig, device: str, *, is_first: bool) -> Engine:
    stage = config.pretrain if is_first else config.finetune
    torch.manual_seed(config.seed)
    with torch.device(device):
        model = _build(config, is_first=is_first)
    return Engine(
        model.train(),
        config=config.engine,
        optimizer=stage.optimizer,
        batch_size=stage.micro_batch_size,
        total_steps=10**6,
    )


def _build(config: TrrgConfig, *, is_first: bool) -> nn.Module:
    observations = load_label_set(config.parse.label_set).observations
    contrastive = build_contrastive(config, InventedVocabulary(VOCABULARY), observations, weights="random")
    if is_first:
        return contrastive
    perception = DiseasePerception(observations, joint_size=config.pretrain.joint_size)
    vocabulary = InventedVocabulary(config.finetune.vocabulary_size)
    return build_generator(config, contrastive, perception, vocabulary, observations, weights="random")


def _train(engine: Engine, batches: Sequence[Batch], steps: range) -> tuple[list[float], list[float]]:
    """Losses and seconds of the steps; the random numbers of a step depend on its number alone."""
    losses, seconds = [], []
    for step in steps:
        torch.manual_seed(step)
        synchronize(engine.device)
        before = time.perf_counter()
        losses.append(engine.train_step([batches[step % len(batches)]], step)["loss"])
        synchronize(engine.device)
        seconds.append(time.perf_counter() - before)
    return losses, seconds


def _release(engine: Engine) -> None:
    """Give back the memory of an engine, so that the peak of the next is its own."""
    engine.close()
    engine.engine = None
    engine.segments = ()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
