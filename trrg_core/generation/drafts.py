"""Drafts: several versions of each report, the greedy one first and the others sampled at a temperature.

Prompts in; texts and their log probabilities out. `reranking` chooses among them.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from transformers import GenerationConfig

from trrg_core.config.settings import GenerateConfig
from trrg_core.generation.continuous import DecodingLimits, Prompt, continue_prompts, left_padded
from trrg_core.generation.next_token import TokenChoice
from trrg_core.model.generator import ReportGenerator
from trrg_core.training.tokenization import decode_ids


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A version of a report, and its log probability under the model, mean over its tokens with the end token.

    It is NaN after a beam search, whose beams have scores of another kind.
    """

    text: str
    log_probability: float


def write_drafts(
    generator: ReportGenerator, prompts: Iterable[Prompt], config: GenerateConfig
) -> Iterator[list[Draft]]:
    """`config.candidates` drafts of each prompt, in order, the greedy one first; the generator must be in eval mode.

    A sampled draft is seeded by its study and its number: it depends neither on the other studies nor on the number of
    drafts. Tokens that are less likely than `config.min_share` of the likeliest are never sampled: a word from the far
    tail garbles a sentence and does not lead to a useful finding.

    Raises:
        ConfigError: if the LLM has fewer positions than a study and `config.max_new_tokens` take.
    """
    generator.check_positions(config.max_new_tokens, setting="generate.max_new_tokens")
    if config.num_beams > 1:
        yield from _search(generator, prompts, config)
        return
    limits = DecodingLimits(
        num_places=config.batch_size * config.candidates,
        num_drafts=config.candidates,
        max_new_tokens=config.max_new_tokens,
        end_id=generator.tokenizer.eos_token_id,
    )
    choice = TokenChoice(guidance=config.guidance, temperature=config.temperature, min_share=config.min_share)
    ended: dict[int, dict[int, Draft]] = {}
    next_index = 0
    for tokens in continue_prompts(generator.llm, prompts, choice, limits):
        text = decode_ids(generator.tokenizer, tokens.ids)
        ended.setdefault(tokens.index, {})[tokens.draft] = Draft(text=text, log_probability=tokens.log_probability)
        while len(ended.get(next_index, ())) == config.candidates:
            drafts = ended.pop(next_index)
            yield [drafts[number] for number in range(config.candidates)]
            next_index += 1


@torch.no_grad()
def _search(generator: ReportGenerator, prompts: Iterable[Prompt], config: GenerateConfig) -> Iterator[list[Draft]]:
    tokenizer: Any = generator.tokenizer
    waiting = iter(prompts)
    while group := list(islice(waiting, config.batch_size)):
        embeddings_NLH, mask_NL = left_padded([prompt.streams[0] for prompt in group])
        ids_NT = generator.llm.generate(
            inputs_embeds=embeddings_NLH,
            attention_mask=mask_NL.long(),
            generation_config=GenerationConfig(
                do_sample=False,
                num_beams=config.num_beams,
                max_new_tokens=config.max_new_tokens,
                pad_token_id=tokenizer.pad_token_id,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
            ),
        )
        for ids in ids_NT.tolist():
            yield [Draft(text=decode_ids(tokenizer, ids), log_probability=math.nan)]
