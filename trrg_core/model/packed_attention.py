"""Attention within packed sequences alone: torch's flash kernel on a GPU, one sequence after the other on a CPU.

Masked attention computes all pairs of a row and throws those of different sequences away; this one never computes
them, so that all sequences of a batch share one row without padding. Registered with transformers as `packed`. What is
not packed (generation, rows with padding) is computed as by `sdpa`.

L tokens of all sequences, A heads, K heads of keys and values, D size of a head, B sequences.
"""

import inspect
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from trrg_core.errors import ConfigError

PACKED = "packed"
# torch 2.11 takes as many heads of keys as of queries
_HAS_GROUPS = "enable_gqa" in inspect.signature(varlen_attn).parameters


def packed_inputs(bounds: Sequence[int], device: torch.device) -> dict[str, Any]:
    """What an LLM reads beside a row of packed sequences, given where each starts and where the last ends."""
    starts_B = torch.tensor(bounds, dtype=torch.int32, device=device)
    longest = max(end - start for start, end in pairwise(bounds))
    # a mask of four axes is handed on as it is, so that none is made for all pairs of the row
    return {
        "attention_mask": torch.empty(1, 1, 1, 1, device=device),
        "cu_seq_lens_q": starts_B,
        "cu_seq_lens_k": starts_B,
        "max_length_q": longest,
        "max_length_k": longest,
    }


def packed_attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """The attention function of transformers: `[1,A,L,D]`, `[1,K,L,D]` to `[1,L,A,D]`.

    Raises:
        ConfigError: if the LLM has attention that sees a window only, or caps or adds to its scores.
    """
    starts_B = options.get("cu_seq_lens_q")
    if starts_B is None:
        result: tuple[Tensor, None] = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
        return result
    if any(options.get(name) is not None for name in ("sliding_window", "softcap", "s_aux", "position_bias")):
        raise ConfigError(
            "attention 'packed' knows no windows, capped scores and sinks of this LLM: set finetune.llm.attention=sdpa"
        )
    attend = _attend_on_gpu if query.is_cuda else _attend_one_by_one
    query, key, value = (one[0].transpose(0, 1) for one in (query, key, value))
    return attend(query, key, value, starts_B, options["max_length_q"], options.get("scaling"))[None], None


def _attend_on_gpu(
    query: Tensor, key: Tensor, value: Tensor, starts_B: Tensor, longest: int, scale: float | None
) -> Tensor:
    options: dict[str, Any] = {"scale": scale, "window_size": (-1, 0)}  # causal
    if _HAS_GROUPS:
        options["enable_gqa"] = True
    else:
        group = query.shape[1] // key.shape[1]
        key, value = (one.repeat_interleave(group, dim=1) for one in (key, value))
    attended = varlen_attn(query, key, value, starts_B, starts_B, longest, longest, **options)
    if not isinstance(attended, Tensor):
        raise TypeError("torch returned more than the attended values, which were not asked for")
    return attended


def _attend_one_by_one(
    query: Tensor, key: Tensor, value: Tensor, starts_B: Tensor, longest: int, scale: float | None
) -> Tensor:
    sizes = starts_B.diff().tolist()
    parts = zip(*(torch.split(one.transpose(0, 1), sizes, dim=1) for one in (query, key, value)), strict=True)
    options: dict[str, Any] = {"is_causal": True, "scale": scale, "enable_gqa": key.shape[1] < query.shape[1]}
    attended = [functional.scaled_dot_product_attention(*part, **options) for part in parts]
    return torch.cat(attended, dim=1).transpose(0, 1)


AttentionInterface.register(PACKED, packed_attention)
AttentionMaskInterface.register(PACKED, sdpa_mask)
