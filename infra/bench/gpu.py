"""Speed of training and generation on one GPU, by torch and transformers alone; also runs on a CPU.

`python -m infra.bench.gpu generate` is in `infra.bench.gpu_generate`.

`python -m infra.bench.gpu contrastive` trains the project's own stage 1 with the sizes of `base` (ViT-B/16 at 224 px,
12 text layers) from random weights on invented batches that are on the device already: no input, no DeepSpeed, no
other rank. It needs this checkout, torch, transformers, pydantic, Pillow and pyahocorasick. `--tiny` takes the sizes
of `tiny`, to check the script on a CPU.

`python -m infra.bench.gpu finetune` is in `infra.bench.gpu_finetune`.

A pair is one radiograph and one sentence. The second row is a step as `base` trains it: two views and six sentences
per study, a flip of each sentence, the prompts of all findings.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from infra.bench import gpu_generate
from infra.bench.device import device_name, peak_flops, synchronize
from infra.bench.gpu_finetune import add_finetune_options, bench_finetune
from trrg_core.config.load import load_config
from trrg_core.config.settings import TrrgConfig
from trrg_core.labels import load_label_set
from trrg_core.model.contrastive import ContrastiveModel, build_contrastive
from trrg_core.training.batch import Batch, Sentences
from trrg_core.training.fact_tensors import Facts

GOAL_PAIRS_PER_S = 2800  # on one H100
WARM_UP = 5
VOCABULARY = 30_522  # of PubMedBERT


@dataclass(frozen=True, kw_only=True)
class Load:
    """What a step trains on, per study, and how the loss is made of it."""

    name: str
    num_studies: int
    num_views: int
    num_sentences: int
    has_negatives: bool

    @property
    def settings(self) -> list[str]:
        """The settings that differ from those of the preset."""
        return [] if self.has_negatives else ["pretrain.prompt_supervision=false", "pretrain.hard_negatives=[]"]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One load on one device; FLOPs are those of a step's matrix products, convolutions and attention."""

    step_s: float
    flops: float
    peak_bytes: int
    attention: str


class InventedVocabulary:
    """As much of a tokenizer as building the model needs."""

    pad_token_id = 0

    def __len__(self) -> int:
        return VOCABULARY


def main() -> int:
    """Runs the chosen bench; returns 1 if its goal is not reached on the device that the goal is for."""
    parser = argparse.ArgumentParser(prog="python -m infra.bench.gpu", description=__doc__)
    benches = parser.add_subparsers(dest="bench", required=True)
    contrastive = benches.add_parser("contrastive", help="stage 1: pairs per second")
    contrastive.add_argument("--batch-size", type=int, default=512, help="pairs per step; a study counts as eight")
    contrastive.add_argument("--steps", type=int, default=30, help="measured steps, after warming up")
    contrastive.add_argument("--compile", action="store_true", help="compile both backbones with torch.compile")
    contrastive.add_argument(
        "--weights", choices=("bf16", "fp32"), default="bf16", help="fp32: computed in bf16 by autocast"
    )
    contrastive.add_argument("--tiny", action="store_true", help="the sizes of the preset tiny")
    contrastive.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    gpu_generate.add_options(benches.add_parser("generate", help="stage 2: tokens per second of drafts and reports"))
    add_finetune_options(benches.add_parser("finetune", help="stage 2: tokens per second of the LLM"))
    options = parser.parse_args()
    run = {"generate": gpu_generate.bench_generate, "finetune": bench_finetune}.get(options.bench, bench_contrastive)
    return run(options)


def bench_contrastive(options: argparse.Namespace) -> int:
    """Prints the table of stage 1 and its verdict."""
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
    print(f"{name}, torch {torch.__version__}, weights {options.weights}, compiled: {options.compile}")
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
    model = build_contrastive(config, InventedVocabulary(), observations, weights="random").to(device).train()
    if options.weights == "bf16":
        model.to(torch.bfloat16)
    if options.compile:
        model.image.backbone.compile()
        model.text.backbone.compile()
    batches = [invent_batch(load, config, len(observations), seed).to(device) for seed in range(4)]
    train_step = _step_function(model, config, autocast=options.weights == "fp32")
    with FlopCounterMode(display=False) as counter:
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
    return Measured(
        step_s=statistics.median(seconds),
        flops=float(counter.get_total_flops()),
        peak_bytes=torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0,
        attention=str(model.text.backbone.config._attn_implementation),
    )


def invent_batch(load: Load, config: TrrgConfig, num_observations: int, seed: int) -> Batch:
    """A batch of random pixels, tokens and facts; every text has as many tokens as a sentence may have."""
    stage = config.pretrain
    draw = torch.Generator().manual_seed(seed)

    def integers(high: int, *shape: int, dtype: torch.dtype = torch.int64) -> torch.Tensor:
        return torch.randint(0, high, shape, generator=draw, dtype=dtype)

    def facts(num: int) -> Facts:
        shape = (num, num_observations)
        return Facts(*(integers(high, *shape, dtype=torch.int8) for high in (4, 4, 4)))

    views = (load.num_studies, load.num_views)
    num_slots = load.num_studies * load.num_sentences
    num_negatives = num_slots if load.has_negatives else 0
    num_sided = num_observations // 2
    num_prompts = 2 * num_observations + 2 * num_sided
    texts = {
        name: (integers(VOCABULARY, num, stage.max_sentence_tokens), torch.ones(num, stage.max_sentence_tokens) > 0)
        for name, num in (("sentence", num_slots), ("negative", max(1, num_negatives)), ("prompt", num_prompts))
    }
    # without negatives one stands in, which no loss counts: a text encoder takes no empty batch
    slots = torch.arange(max(1, num_negatives))
    return Batch(
        study_ids=tuple(str(index) for index in range(load.num_studies)),
        has_prior=(None,) * load.num_studies,
        seed=seed,
        pixels_BVHW=integers(256, *views, stage.image_size_px, stage.image_size_px, dtype=torch.uint8),
        view_ids_BV=integers(4, *views),
        view_mask_BV=torch.ones(views, dtype=torch.bool),
        facts=facts(load.num_studies),
        sentences=Sentences(
            ids_ST=texts["sentence"][0],
            mask_ST=texts["sentence"][1],
            study_S=torch.arange(num_slots) // load.num_sentences,
            facts=facts(num_slots),
            valid_S=torch.ones(num_slots, dtype=torch.bool),
            negative_ids_FT=texts["negative"][0],
            negative_mask_FT=texts["negative"][1],
            negative_slot_F=slots,
            negative_kind_F=torch.zeros(len(slots), dtype=torch.int64),
            prompt_ids_PT=texts["prompt"][0],
            prompt_mask_PT=texts["prompt"][1],
            sided_E=torch.arange(num_sided),
            graded_J=torch.arange(0),
        ),
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


if __name__ == "__main__":
    sys.exit(main())
