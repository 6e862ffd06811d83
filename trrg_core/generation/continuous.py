"""Continuous batching: texts leave the batch when they end, and waiting prompts take their places.

Prompts as embeddings in; the tokens of their drafts out, in the order in which they end. The drafts of a prompt share
one prefill: its key-value cache is computed once and copied. `generate` of transformers keeps ended rows to the end of
the batch and computes each draft's prefix anew; its own continuous batching takes token ids only, and the prefix of a
report is embeddings. Beam search stays with the library.
N rows, S streams of a row, L length, H LLM width.
"""

# ruff: noqa: N815 -- names carry their axes

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers.cache_utils import DynamicLayer

from trrg_core.generation.next_token import TokenChoice, draw_uniform

_REFILL_SHARE = 4  # a prefill waits until a quarter of the places is free: a small one costs as much as a step


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """What the drafts of a study go on from: embeddings `[L,H]`, and with guidance those with the clues hidden."""

    study_id: str
    streams: tuple[Tensor, ...]


@dataclass(frozen=True, kw_only=True)
class DraftTokens:
    """The tokens of draft number `draft` of the prompt at `index`, with the end token if it was reached.

    `log_probability` is the mean over its tokens.
    """

    index: int
    draft: int
    ids: tuple[int, ...]
    log_probability: float


@dataclass(frozen=True, kw_only=True)
class DecodingLimits:
    """`num_places` texts are written at once, each of at most `max_new_tokens`; every prompt gets `num_drafts`."""

    num_places: int
    num_drafts: int
    max_new_tokens: int
    end_id: int


@dataclass(kw_only=True)
class _Row:
    index: int
    draft: int
    uniform_T: Tensor
    ids: list[int] = field(default_factory=list)


@torch.no_grad()
def continue_prompts(
    llm: Any, prompts: Iterable[Prompt], choice: TokenChoice, limits: DecodingLimits
) -> Iterator[DraftTokens]:
    """The drafts of each prompt as they end; a draft does not depend on the other prompts.

    Prompts are taken from the iterable when there is room for them. An LLM with other than plain key-value caches
    (sliding windows, recurrent states) takes new ones only when all texts have ended.
    """
    waiting = enumerate(prompts)
    batch = _Batch(llm, choice, limits)
    while True:
        if batch.num_takes and (new := list(islice(waiting, batch.num_takes))):
            batch.join(new)
        if not batch.rows:
            return
        yield from batch.step()


class _Batch:
    """The rows being written: their last logits, caches and masks; a row has one cache entry per stream."""

    def __init__(self, llm: Any, choice: TokenChoice, limits: DecodingLimits) -> None:
        self.llm, self.choice, self.limits = llm, choice, limits
        self.rows: list[_Row] = []
        self.num_streams = 1
        self.cache: Any = None
        self.mask_NL: Tensor
        self.logits_NSY: Tensor
        self.log_probability_N: Tensor

    @property
    def num_takes(self) -> int:
        """The number of prompts that there is room for now; 0 until a prefill is worth its cost."""
        limits = self.limits
        free = limits.num_places - len(self.rows)
        if self.rows and (free * _REFILL_SHARE < limits.num_places or not _is_plain(self.cache)):
            return 0
        return max(free // limits.num_drafts, int(not self.rows))

    def join(self, prompts: Sequence[tuple[int, Prompt]]) -> None:
        """Read the prompts, one row for each of their drafts."""
        limits = self.limits
        self.num_streams = len(prompts[0][1].streams)
        streams = [stream for _, prompt in prompts for stream in prompt.streams]
        embeddings_NLH, mask_NL = left_padded(streams)
        output = self.llm(
            inputs_embeds=embeddings_NLH,
            attention_mask=mask_NL.long(),
            position_ids=(mask_NL.cumsum(1) - 1).clamp(min=0),
            use_cache=True,
            logits_to_keep=1,
        )
        rows = [
            _Row(index=index, draft=draft, uniform_T=draw_uniform(prompt.study_id, draft, limits.max_new_tokens))
            for index, prompt in prompts
            for draft in range(limits.num_drafts)
        ]
        place_N = torch.arange(len(prompts), device=mask_NL.device).repeat_interleave(limits.num_drafts)
        entry_N = self._entries(place_N)
        cache, mask_NL = output.past_key_values, mask_NL[entry_N]
        if limits.num_drafts > 1:
            cache.reorder_cache(entry_N)
        logits_NSY = output.logits[:, -1].float().unflatten(0, (-1, self.num_streams))[place_N]
        log_probability_N = logits_NSY.new_zeros(len(rows))
        if self.rows:
            cache, mask_NL = _joined((self.cache, self.mask_NL), (cache, mask_NL))
            logits_NSY = torch.cat((self.logits_NSY, logits_NSY))
            log_probability_N = torch.cat((self.log_probability_N, log_probability_N))
        self.rows += rows
        self.cache, self.mask_NL, self.logits_NSY, self.log_probability_N = (
            cache,
            mask_NL,
            logits_NSY,
            log_probability_N,
        )

    def step(self) -> list[DraftTokens]:
        """Write one token of each row; the rows that end leave the batch."""
        uniform_N = torch.stack([row.uniform_T[len(row.ids)] for row in self.rows]).to(self.logits_NSY.device)
        chosen = self.choice.choose(self.logits_NSY, uniform_N)
        self.log_probability_N = self.log_probability_N + chosen.log_probability_N
        ended: list[int] = []
        for place, (row, token) in enumerate(zip(self.rows, chosen.ids_N.tolist(), strict=True)):
            row.ids.append(token)
            if token == self.limits.end_id or len(row.ids) == self.limits.max_new_tokens:
                ended.append(place)
        results = self._results(ended)
        last_N = chosen.ids_N
        if ended:
            last_N = last_N[self._drop(ended)]
        if self.rows:
            self._read(last_N)
        return results

    def _results(self, places: Sequence[int]) -> list[DraftTokens]:
        totals: list[float] = self.log_probability_N.tolist() if places else []
        ended = [(self.rows[place], totals[place]) for place in places]
        return [
            DraftTokens(index=row.index, draft=row.draft, ids=tuple(row.ids), log_probability=total / len(row.ids))
            for row, total in ended
        ]

    def _drop(self, places: Sequence[int]) -> Tensor:
        """Remove the rows at `places`; returns the places of the others, as they were."""
        gone = set(places)
        kept = [place for place in range(len(self.rows)) if place not in gone]
        self.rows = [self.rows[place] for place in kept]
        kept_N = torch.tensor(kept, dtype=torch.int64, device=self.mask_NL.device)
        if kept:
            self.cache.reorder_cache(self._entries(kept_N))
            self.mask_NL = self.mask_NL[self._entries(kept_N)]
            self.log_probability_N = self.log_probability_N[kept_N]
            self._trim()
        return kept_N

    def _trim(self) -> None:
        """Cut the columns at the left that no row uses any more."""
        unused = self.mask_NL.shape[1] - int(self.mask_NL.sum(1).max())
        if unused and _is_plain(self.cache):
            self.mask_NL = self.mask_NL[:, unused:]
            for layer in self.cache.layers:
                layer.keys, layer.values = layer.keys[:, :, unused:], layer.values[:, :, unused:]

    def _read(self, last_N: Tensor) -> None:
        """The logits after the last token of each row."""
        self.mask_NL = functional.pad(self.mask_NL, (0, 1), value=True)
        output = self.llm(
            input_ids=last_N.repeat_interleave(self.num_streams)[:, None],
            attention_mask=self.mask_NL.long(),
            position_ids=self.mask_NL.sum(1, keepdim=True) - 1,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self.cache = output.past_key_values
        self.logits_NSY = output.logits[:, -1].float().unflatten(0, (-1, self.num_streams))

    def _entries(self, places_N: Tensor) -> Tensor:
        """The cache entries of rows: one for each of their streams."""
        streams = torch.arange(self.num_streams, device=places_N.device)
        return (places_N[:, None] * self.num_streams + streams).flatten()


def _is_plain(cache: Any) -> bool:
    return all(type(layer) is DynamicLayer for layer in cache.layers)


def left_padded(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Embeddings `[N,L,H]` of rows `[L,H]`, and their mask `[N,L]`."""
    length = max(len(row) for row in rows)
    embeddings = torch.stack([functional.pad(row, (0, 0, length - len(row), 0)) for row in rows])
    missing_N = torch.tensor([length - len(row) for row in rows], device=embeddings.device)
    return embeddings, torch.arange(length, device=embeddings.device) >= missing_N[:, None]


def _joined(first: tuple[Any, Tensor], second: tuple[Any, Tensor]) -> tuple[Any, Tensor]:
    """The rows of two caches and masks in one, padded at the left to the same length."""
    (cache, mask_NL), (other, other_mask_NL) = first, second
    length = max(mask_NL.shape[1], other_mask_NL.shape[1])
    for layer, more in zip(cache.layers, other.layers, strict=True):
        layer.keys = torch.cat([_pad_length(one.keys, length) for one in (layer, more)])
        layer.values = torch.cat([_pad_length(one.values, length) for one in (layer, more)])
    masks = [functional.pad(mask, (length - mask.shape[1], 0)) for mask in (mask_NL, other_mask_NL)]
    return cache, torch.cat(masks)


def _pad_length(states_NALH: Tensor, length: int) -> Tensor:
    return functional.pad(states_NALH, (0, 0, length - states_NALH.shape[2], 0))
