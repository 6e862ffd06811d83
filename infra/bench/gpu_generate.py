"""Speed of generation on one GPU: our continuous batch beside `generate()` of transformers, with the same LLM.

`python -m infra.bench.gpu generate` builds the LLM of `base` (7B) with random weights in bf16, and invented prefixes of
the length of real ones. Random weights end no text, so that every text has the full length: the gain of places that
ended texts leave to others is not in these numbers. `--tiny` takes the LLM of `tiny`, to check the script on a CPU.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import GenerationConfig

from trrg_core.config.load import load_config
from trrg_core.generation.continuous import DecodingLimits, Prompt, continue_prompts, left_padded
from trrg_core.generation.next_token import TokenChoice
from trrg_core.model.backbones import build_backbone

_NO_TOKEN = -1  # no text ends
_VOCABULARY = 4000  # of a tokenizer trained on the corpus; a named LLM has its own


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this bench."""
    parser.add_argument("--studies", type=int, default=64, help="studies, all decoded at once")
    parser.add_argument("--drafts", type=int, default=16, help="drafts of each of a quarter of the studies")
    parser.add_argument("--prefix", type=int, default=72, help="length of a prefix, tokens")
    parser.add_argument("--tokens", type=int, default=128, help="length of a text, tokens")
    parser.add_argument("--tiny", action="store_true", help="the LLM of the preset tiny")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")


def bench_generate(options: argparse.Namespace) -> int:
    """Prints tokens per second of each way to decode; there is no goal yet that could fail."""
    device = torch.device(options.device)
    config = load_config("tiny" if options.tiny else "base").finetune.llm
    torch.manual_seed(0)
    with device:
        llm: Any = build_backbone(
            config, role="causal", vocabulary_size=_VOCABULARY, weights="random", dtype=torch.bfloat16
        )
        llm.eval()
        size = (options.prefix, int(llm.config.hidden_size))
        prompts = [
            Prompt(study_id=str(number), streams=(torch.randn(size, dtype=torch.bfloat16),))
            for number in range(options.studies)
        ]
    few = prompts[: max(1, options.studies // 4)]
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    weights = sum(parameter.numel() for parameter in llm.parameters())
    print(f"{name}, torch {torch.__version__}, {weights / 1e9:.2f}e9 weights, {options.tokens} tokens of each text")
    print(f"{'':40}{'texts':>7}{'s':>9}{'tokens/s':>10}{'GiB':>7}")
    cases: list[tuple[str, int, Callable[[], object]]] = [
        ("reports: generate()", len(prompts), lambda: _library(llm, prompts, options.tokens)),
        ("reports: continuous batch", len(prompts), lambda: _ours(llm, prompts, options.tokens)),
        (
            f"{options.drafts} drafts: generate()",
            len(few) * options.drafts,
            lambda: _library(llm, few, options.tokens, drafts=options.drafts),
        ),
        (
            f"{options.drafts} drafts: shared prefix",
            len(few) * options.drafts,
            lambda: _ours(llm, few, options.tokens, drafts=options.drafts),
        ),
    ]
    for label, num_texts, work in cases:
        work()
        seconds, peak_bytes = _measure(work, device)
        memory = f"{peak_bytes / 2**30:.1f}" if peak_bytes else "-"
        rate = num_texts * options.tokens / seconds
        print(f"{label:40}{num_texts:7}{seconds:9.2f}{rate:10.0f}{memory:>7}", flush=True)
    return 0


def _ours(llm: Any, prompts: Sequence[Prompt], num_tokens: int, *, drafts: int = 1) -> None:
    limits = DecodingLimits(
        num_places=len(prompts) * drafts, num_drafts=drafts, max_new_tokens=num_tokens, end_id=_NO_TOKEN
    )
    for text in continue_prompts(llm, prompts, TokenChoice(min_share=0.05), limits):
        assert len(text.ids) == num_tokens


@torch.no_grad()
def _library(llm: Any, prompts: Sequence[Prompt], num_tokens: int, *, drafts: int = 1) -> None:
    embeddings_NLH, mask_NL = left_padded([prompt.streams[0] for prompt in prompts])
    settings = GenerationConfig(
        do_sample=drafts > 1,
        num_return_sequences=drafts,
        min_new_tokens=num_tokens,
        max_new_tokens=num_tokens,
        pad_token_id=0,
    )
    llm.generate(inputs_embeds=embeddings_NLH, attention_mask=mask_NL.long(), generation_config=settings)


def _measure(work: Callable[[], object], device: torch.device) -> tuple[float, int]:
    """Seconds, and the peak of memory on a GPU, else 0."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
    before = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    seconds = time.perf_counter() - before
    return seconds, torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
