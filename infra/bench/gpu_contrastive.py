"""Speed of stage 1 on one GPU, by torch, transformers and what these two require; also runs on a CPU.

`python infra/bench/gpu.py contrastive`, from any folder, trains the project's own stage 1 with the sizes of `base`
(ViT-B/16 at 224 px, 12 text layers) from random weights on invented batches that are on the device already: no input,
no DeepSpeed, no other rank. It needs this checkout, but none of the project's other requirements: without pydantic the
settings are read by `infra.bench.plain_settings`. `--tiny` takes the sizes of `tiny`, to check the script on a CPU.

A pair is one radiograph and one sentence. The second row is a step as `base` trains it: two views and six sentences
per study, a flip of each sentence, the prompts of all findings.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode

from infra.bench.device import device_name, peak_flops, print_profile, synchronize
from infra.bench.gpu_batches import VOCABULARY, Load, invent_batch
from trrg_core.config.load import load_config
from trrg_core.config.settings import TrrgConfig
from trrg_core.labels import load_label_set
from trrg_core.model.compiling import compile_layers
from trrg_core.model.contrastive import ContrastiveModel, build_contrastive
from trrg_core.training.batch import Batch
from trrg_core.training.invented_vocabulary import InventedVocabulary

GOAL_PAIRS_PER_S = 2800  # on one H100
WARM_UP = 5


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One load on one device; FLOPs are those of a step's matrix products, convolutions and attention."""

    step_s: float
    flops: float
    peak_bytes: int
    attention: str


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this bench."""
    parser.add_argument("--batch-size", type=int, default=512, help="pairs per step; a study counts as eight")
    parser.add_argument("--steps", type=int, default=30, help="measured steps, after warming up")
    parser.add_argument("--compile", action="store_true", help="compile the layers with torch.compile")
    parser.add_argument("--profile", action="store_true", help="print where the time of a step goes")
    parser.add_argument(
        "--weights", choices=("bf16", "fp32"), default="bf16", help="fp32: computed in bf16 by autocast"
    )
    parser.add_argument("--tiny", action="store_true", help="the sizes of the preset tiny")
    parser.add_argument("--device", help="by default cuda; without a GPU, and with --tiny, cpu")


def bench_contrastive(options: argparse.Namespace) -> int:
    """Prints the table of stage 1 and its verdict."""
    if options.device is None and not torch.cuda.is_available() and not options.tiny:
        print("torch sees no GPU here: check the script with --tiny, or give --device cpu (minutes per step)")
        return 2
    options.device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    loads = (
        Load(name="pairs", num_studies=options.batch_size, num_views=1, num_sentences=1, has_negatives=False),
        Load(
            name="stage 1",
            num_studies=max(2, options.batch_size // 8),
            num_views=2,
            num_sentences=6,
            has_negatives=True,
        ),
    )
    name = device_name(options.device)
    peak = peak_flops(name)
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
    print(f"{name}, {versions}, weights {options.weights}, compiled: {options.compile}")
    print(
        f"{'':10}{'studies':>8}{'images':>8}{'ms/step':>9}{'images/s':>10}{'TFLOP/s':>9}{'MFU':>6}{'GiB':>7}  attention"
    )
    rates = {}
    for load in loads:
        result = measure(load, options)
        images = load.num_studies * load.num_views
        rates[load.name] = images / result.step_s
        speed = result.flops / result.step_s
        mfu = f"{speed / peak:.0%}" if peak else "-"
        memory = f"{result.peak_bytes / 2**30:.1f}" if result.peak_bytes else "-"
        print(
            f"{load.name:10}{load.num_studies:8}{images:8}{1000 * result.step_s:9.1f}{rates[load.name]:10.0f}"
            f"{speed / 1e12:9.2f}{mfu:>6}{memory:>7}  {result.attention}"
        )
    if options.tiny or not name.startswith(("NVIDIA H100", "NVIDIA H200")):
        print(f"no verdict: the goal, {GOAL_PAIRS_PER_S} pairs/s with the sizes of base, is for one H100")
        return 0
    passed = rates["pairs"] >= GOAL_PAIRS_PER_S
    print(f"{'PASS' if passed else 'FAIL'}: {rates['pairs']:.0f} pairs/s (goal {GOAL_PAIRS_PER_S})")
    return 0 if passed else 1


def measure(load: Load, options: argparse.Namespace) -> Measured:
    """The median time of a training step: forward, backward, clipping, fused AdamW."""
    config = load_config("tiny" if options.tiny else "base", load.settings)
    device = torch.device(options.device)
    torch.manual_seed(config.seed)
    observations = load_label_set(config.parse.label_set).observations
    model = build_contrastive(config, InventedVocabulary(VOCABULARY), observations, weights="random").to(device).train()
    if options.weights == "bf16":
        model.to(torch.bfloat16)
    if options.compile:
        compile_layers(model, "inductor")
    batches = [invent_batch(load, config, len(observations), seed).to(device) for seed in range(4)]
    train_step = _step_function(model, config, autocast=options.weights == "fp32")
    # nothing is compiled under the counter, and it would stay so
    with torch.compiler.set_stance("force_eager"), FlopCounterMode(display=False) as counter:
        train_step(batches[0])
    synchronize(device)
    for batch in batches[:WARM_UP]:
        train_step(batch)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    seconds = []
    for step in range(options.steps):
        synchronize(device)
        before = time.perf_counter()
        train_step(batches[step % len(batches)])
        synchronize(device)
        seconds.append(time.perf_counter() - before)
    if options.profile:
        print_profile(lambda: train_step(batches[0]))
    return Measured(
        step_s=statistics.median(seconds),
        flops=float(counter.get_total_flops()),
        peak_bytes=torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0,
        attention=str(model.text.backbone.config._attn_implementation),
    )


def _step_function(model: ContrastiveModel, config: TrrgConfig, *, autocast: bool) -> Callable[[Batch], None]:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    rate, decay = config.pretrain.optimizer.learning_rate, config.pretrain.optimizer.weight_decay
    optimizer = torch.optim.AdamW(trained, lr=rate, weight_decay=decay, fused=True)
    device = next(model.parameters()).device.type

    def train_step(batch: Batch) -> None:
        with torch.autocast(device, torch.bfloat16, enabled=autocast):
            output: Any = model(batch)
        optimizer.zero_grad(set_to_none=True)
        output.loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, config.engine.clip_norm)
        optimizer.step()

    return train_step
