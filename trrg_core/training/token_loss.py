"""The loss of report tokens from the states of an LLM, without the logits of all positions at once.

N tokens with a target, H LLM width, Y vocabulary.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

_MAX_LOGITS = 2**25  # that exist at a time: 128 MiB in fp32


def num_token_chunks(max_tokens: int, vocabulary_size: int) -> int:
    """In how many parts to compute the logits of at most `max_tokens` tokens.

    It must not depend on the tokens of a batch: under ZeRO-3 all ranks gather the output layer equally often.
    """
    return -(-max_tokens * vocabulary_size // _MAX_LOGITS)


def token_loss(
    states_NH: Tensor, ids_N: Tensor, weights_N: Tensor, to_logits: Callable[[Tensor], Tensor], *, num_chunks: int = 1
) -> Tensor:
    """Weighted mean cross entropy of tokens.

    Args:
        states_NH: the state from which each token is predicted.
        ids_N: the tokens.
        weights_N: how much each counts; of those at 0 no logits are computed.
        to_logits: the output layer, `[n,H]` to `[n,Y]`.
        num_chunks: parts that are computed one after the other, and again for the gradient. The loss and its gradient
            are the same for any number.
    """
    counted = weights_N > 0
    states_NH, ids_N, weights_N = states_NH[counted], ids_N[counted], weights_N[counted]
    total = weights_N.sum().clamp(min=1)
    if num_chunks == 1:
        return _sum_of_losses(to_logits, states_NH, ids_N, weights_N) / total
    chunks = zip(*(part.tensor_split(num_chunks) for part in (states_NH, ids_N, weights_N)), strict=True)
    sums = [checkpoint(_sum_of_losses, to_logits, *chunk, use_reentrant=False) for chunk in chunks]
    return torch.stack(sums).sum() / total


def _sum_of_losses(
    to_logits: Callable[[Tensor], Tensor], states_NH: Tensor, ids_N: Tensor, weights_N: Tensor
) -> Tensor:
    losses = functional.cross_entropy(to_logits(states_NH).float(), ids_N, reduction="none")
    return (losses * weights_N.to(losses.dtype)).sum()
