"""Drafts: several tellings of each report, the greedy one first and the others drawn at a temperature.

Comes in: the generator and the prefixes of a batch. Goes out: texts, and how likely the model holds each. Which draft
is kept is decided elsewhere (`candidates`).
N rows, Y vocabulary.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessorList

from trrg_core.model.generator import Prefix, ReportGenerator
from trrg_core.training.tokenization import decode_ids


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A telling of a report, and the model's log probability of it, mean over its tokens (the end token is one)."""

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
) -> list[list[Draft]]:
    """`count` drafts of each study, the greedy one first; the generator must be in eval mode.

    Tokens that are less likely than `min_share` of the likeliest are never drawn: a word from the far tail garbles a
    sentence, and opens no new finding that is worth a draft.
    A drawn draft is seeded by its study and its number: it does not depend on the study's neighbours in the batch,
    nor on how many drafts there are.
    """
    tokenizer = generator.tokenizer
    seeds = [zlib.crc32(f"{study_id}/{number}".encode()) for study_id in study_ids for number in range(count)]
    draw = _DrawRows(
        [seed if row % count else None for row, seed in enumerate(seeds)],
        temperature=temperature,
        min_share=min_share,
        end_id=tokenizer.eos_token_id,
        device=prefix.mask_BL.device,
    )
    ids_NT = generator.llm.generate(
        inputs_embeds=prefix.embeddings_BLH.repeat_interleave(count, dim=0),
        attention_mask=prefix.mask_BL.repeat_interleave(count, dim=0).long(),
        logits_processor=LogitsProcessorList([draw]),
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
        for ids, log_probability in zip(ids_NT.tolist(), draw.mean_log_probability(), strict=True)
    ]
    return [drafts[at : at + count] for at in range(0, len(drafts), count)]


class _DrawRows:
    """A logits processor: greedy search becomes a draw in the rows that have a seed; adds up what tokens cost.

    The largest of logits plus Gumbel noise is a draw from their softmax. Noise of a row's own keeps rows apart,
    which drawing them all from one generator would not.
    """

    def __init__(
        self, seeds: Sequence[int | None], *, temperature: float, min_share: float, end_id: int, device: torch.device
    ) -> None:
        self.generators = [None if seed is None else torch.Generator(device=device).manual_seed(seed) for seed in seeds]
        self.temperature, self.min_share, self.end_id = temperature, min_share, end_id
        self.writing_N = torch.ones(len(seeds), dtype=torch.bool, device=device)
        self.log_probability_N = torch.zeros(len(seeds), device=device)
        self.num_tokens_N = torch.zeros(len(seeds), device=device)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        log_share_NY = scores.float().log_softmax(-1)
        far_off_NY = log_share_NY.exp() < self.min_share * log_share_NY.amax(-1, keepdim=True).exp()
        noisy_NY = (log_share_NY / self.temperature).masked_fill(far_off_NY, -torch.inf)
        for row, (generator, is_writing) in enumerate(zip(self.generators, self.writing_N.tolist(), strict=True)):
            if generator is not None and is_writing:
                waiting_Y = torch.empty_like(noisy_NY[row]).exponential_(generator=generator)
                noisy_NY[row] -= waiting_Y.log()
        chosen_N1 = noisy_NY.argmax(-1, keepdim=True)
        self.log_probability_N += log_share_NY.gather(1, chosen_N1)[:, 0] * self.writing_N
        self.num_tokens_N += self.writing_N
        self.writing_N &= chosen_N1[:, 0] != self.end_id
        return noisy_NY

    def mean_log_probability(self) -> list[float]:
        """Of each row, over the tokens it has written."""
        means: list[float] = (self.log_probability_N / self.num_tokens_N.clamp(min=1)).tolist()
        return means
