"""Speed of stage 2's LLM on one GPU: useful tokens per second with adapters, packed and padded.

`python -m infra.bench.gpu finetune` trains the LLM of `base` (the shape of Qwen2.5-7B, random weights in bf16, LoRA of
rank 16) on invented sequences of mixed lengths: a prefix as long as `base` makes it, and reports of log-normal length.
It needs this checkout, torch, transformers, pydantic and numpy. `--tiny` takes the LLM of `tiny`, to check the script
on a CPU.

Useful tokens are those that are not padding, of prefix and report.
"""

import argparse

import torch

from infra.bench.device import device_name, peak_flops, print_profile
from infra.bench.llm_steps import Corpus, invent_sequences, measure, read_loss, with_adapters
from trrg_core.config.load import load_config
from trrg_core.model.backbones import build_backbone
from trrg_core.model.compiling import compile_layers
from trrg_core.model.llm import recompute_activations

GOAL_TOKENS_PER_S = 15_000  # on one H100
MAX_PADDING = 0.05
# two views of 17 tokens, 14 clues, an instruction in a chat template; reports with the spread of IU X-ray's impressions
CORPUS = Corpus(prefix=100, median=90, sigma=0.8, longest=256)
_BATCHES = 4
_KINDS = ("packed", "padded")


def add_finetune_options(parser: argparse.ArgumentParser) -> None:
    """The options of the bench."""
    parser.add_argument("--batch-size", type=int, default=64, help="sequences per step")
    parser.add_argument("--rounds", type=int, default=3, help=f"how often {_BATCHES} batches are trained on")
    parser.add_argument("--attention", choices=("packed", "sdpa", "flash_attention_2", "eager"), default="packed")
    parser.add_argument("--kinds", nargs="+", choices=_KINDS, default=_KINDS, help="how sequences are placed")
    parser.add_argument("--compile", action="store_true", help="compile the layers with torch.compile")
    parser.add_argument("--profile", action="store_true", help="print where the time of a step goes")
    parser.add_argument("--checkpoint", action="store_true", help="recompute activations, which saves memory")
    parser.add_argument("--tiny", action="store_true", help="the LLM of the preset tiny")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")


def bench_finetune(options: argparse.Namespace) -> int:
    """Prints the table of stage 2 and its verdict; returns 1 if its goal is not reached on the device it is for."""
    stage = load_config("tiny" if options.tiny else "base").finetune
    torch.manual_seed(0)
    on_gpu = options.device.startswith("cuda")
    encoder = stage.llm.model_copy(update={"attention": options.attention})
    with torch.device(options.device):
        llm = build_backbone(
            encoder,
            role="causal",
            vocabulary_size=4000,
            weights="random",
            dtype=torch.bfloat16 if on_gpu else torch.float32,
        )
        llm, adapters = with_adapters(llm, stage.lora.model_copy(update={"dropout": 0.0, "train_embeddings": False}))
    llm.train()
    if options.checkpoint:
        recompute_activations(llm)
    if options.compile:
        compile_layers(llm, "inductor", has_fixed_sizes=False)
    name = device_name(options.device)
    size = sum(parameter.numel() for parameter in llm.parameters())
    print(
        f"{name}, torch {torch.__version__}, {size / 1e9:.2f} B parameters, {options.attention}, adapters by "
        f"{adapters}, {options.batch_size} reports a step, compiled: {options.compile}, recomputed: "
        f"{options.checkpoint}"
    )
    print(f"{'':10}{'useful tokens/s':>16}{'padding':>9}{'TFLOP/s':>9}{'MFU':>6}{'GiB':>7}")
    batches = invent_sequences(CORPUS, llm, number=options.batch_size, batches=_BATCHES)
    results = {}
    for kind in options.kinds:
        result = results[kind] = measure(llm, batches, packing=kind == "packed", rounds=options.rounds)
        peak = peak_flops(name)
        mfu = f"{result.flops_per_s / peak:.0%}" if peak else "-"
        memory = f"{torch.cuda.max_memory_allocated(options.device) / 2**30:.1f}" if on_gpu else "-"
        print(
            f"{kind:10}{result.tokens_per_s:16,.0f}{result.padding:9.1%}{result.flops_per_s / 1e12:9.2f}"
            f"{mfu:>6}{memory:>7}  losses {result.losses[0]:.4f} to {result.losses[-1]:.4f}",
            flush=True,
        )
    if options.profile:
        print_profile(lambda: torch.autograd.backward(read_loss(llm, batches[0], packing=True)[0]))
    packed = results.get("packed")
    if packed is None or options.tiny or not name.startswith(("NVIDIA H100", "NVIDIA H200")):
        print(f"no verdict: the goal, {GOAL_TOKENS_PER_S:,} useful tokens/s with the LLM of base, is for one H100")
        return 0
    passed = packed.tokens_per_s >= GOAL_TOKENS_PER_S and packed.padding < MAX_PADDING
    print(
        f"{'PASS' if passed else 'FAIL'}: {packed.tokens_per_s:,.0f} useful tokens/s (goal {GOAL_TOKENS_PER_S:,}), "
        f"padding {packed.padding:.1%} (goal below {MAX_PADDING:.0%})"
    )
    return 0 if passed else 1
