"""Drafts: several versions of each report, the greedy one first and the others sampled at a temperature.

The generator and the prefixes of a batch in; texts and their log probabilities out. `reranking` chooses among them.
N rows, Y vocabulary.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from trrg_core.model.generator import Prefix, ReportGenerator
from trrg_core.training.tokenization import decode_ids


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A version of a report, and its log probability under the model, mean over its tokens with the end token."""

    text: str
    log_probability: float


@torch.no_grad()
def write_drafts(
    generator: ReportGenerator,
    prefix: Prefix,
    study_ids: Sequence[str],
    *,
    count: int,
    temperature: float,
    min_share: float,
    max_new_tokens: int,
    guides: Sequence[LogitsProcessor] = (),
) -> list[list[Draft]]:
    """`count` drafts of each study, the greedy one first; the generator must be in eval mode.

    `guides` change the logits before a token is chosen; they see the rows of all drafts.

    Tokens that are less likely than `min_share` of the likeliest are never sampled: a word from the far tail garbles a
    sentence and does not lead to a useful finding. A sampled draft is seeded by its study and its number: it depends
    neither on the other studies of the batch nor on the number of drafts.
    """
    tokenizer = generator.tokenizer
    seeds = [zlib.crc32(f"{study_id}/{number}".encode()) for study_id in study_ids for number in range(count)]
    sampler = _SampleRows(
        [seed if row % count else None for row, seed in enumerate(seeds)],
        temperature=temperature,
        min_share=min_share,
        end_id=tokenizer.eos_token_id,
        device=prefix.mask_BL.device,
    )
    ids_NT = generator.llm.generate(
        inputs_embeds=prefix.embeddings_BLH.repeat_interleave(count, dim=0),
        attention_mask=prefix.mask_BL.repeat_interleave(count, dim=0).long(),
        logits_processor=LogitsProcessorList([*guides, sampler]),
        generation_config=GenerationConfig(
            do_sample=False,
            max_new_tokens=max_new_tokens,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        ),
    )
    drafts = [
        Draft(text=decode_ids(tokenizer, ids), log_probability=log_probability)
        for ids, log_probability in zip(ids_NT.tolist(), sampler.mean_log_probability(), strict=True)
    ]
    return [drafts[at : at + count] for at in range(0, len(drafts), count)]


class _SampleRows:
    """A logits processor: samples in the rows that have a seed, greedy in others; sums the log probabilities of tokens.

    The largest of logits plus Gumbel noise is a sample of their softmax. Each row has its own generator, so that
    it does not depend on the other rows.
    """

    def __init__(
        self, seeds: Sequence[int | None], *, temperature: float, min_share: float, end_id: int, device: torch.device
    ) -> None:
        self.generators = [None if seed is None else torch.Generator(device=device).manual_seed(seed) for seed in seeds]
        self.temperature, self.min_share, self.end_id = temperature, min_share, end_id
        self.unfinished_N = torch.ones(len(seeds), dtype=torch.bool, device=device)
        self.log_probability_N = torch.zeros(len(seeds), device=device)
        self.num_tokens_N = torch.zeros(len(seeds), device=device)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        log_share_NY = scores.float().log_softmax(-1)
        unlikely_NY = log_share_NY.exp() < self.min_share * log_share_NY.amax(-1, keepdim=True).exp()
        noisy_NY = (log_share_NY / self.temperature).masked_fill(unlikely_NY, -torch.inf)
        for row, (generator, is_unfinished) in enumerate(zip(self.generators, self.unfinished_N.tolist(), strict=True)):
            if generator is not None and is_unfinished:
                exponential_Y = torch.empty_like(noisy_NY[row]).exponential_(generator=generator)
                noisy_NY[row] -= exponential_Y.log()
        chosen_N1 = noisy_NY.argmax(-1, keepdim=True)
        self.log_probability_N += log_share_NY.gather(1, chosen_N1)[:, 0] * self.unfinished_N
        self.num_tokens_N += self.unfinished_N
        self.unfinished_N &= chosen_N1[:, 0] != self.end_id
        return noisy_NY

    def mean_log_probability(self) -> list[float]:
        """The mean log probability of each row's tokens."""
        means: list[float] = (self.log_probability_N / self.num_tokens_N.clamp(min=1)).tolist()
        return means
