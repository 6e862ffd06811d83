"""Steps of stage 2's LLM alone, on invented sequences: random states as its prefix, then the tokens of a report.

They are made by the project's own packing and loss, with torch and transformers alone, and peft where it is installed.
B sequences, P prefix length, T report tokens, H LLM width.
"""

# ruff: noqa: N815 -- names carry their axes

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from infra.bench.device import synchronize
from trrg_core.config.settings import LoraSettings
from trrg_core.model.llm import attention_cost, read_tokens
from trrg_core.model.packing import pack_tokens, place_apart, place_together
from trrg_core.training.token_loss import num_token_chunks, token_loss

CLIP_NORM = 1.0


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """How long sequences are: a prefix of equal length, and reports of log-normal length, tokens."""

    prefix: int
    median: int
    sigma: float
    longest: int

    def draw(self, number: int, rng: np.random.Generator) -> list[int]:
        """Lengths of reports."""
        drawn = rng.lognormal(np.log(self.median), self.sigma, size=number)
        return [int(length) for length in drawn.clip(4, self.longest)]


@dataclass(frozen=True, kw_only=True)
class Sequences:
    """A batch on the device: states before the reports, and the reports, right-padded."""

    prefix_BPH: Tensor
    ids_BT: Tensor
    mask_BT: Tensor

    @property
    def num_tokens(self) -> int:
        """Tokens without padding, of prefixes and reports."""
        return self.prefix_BPH.shape[0] * self.prefix_BPH.shape[1] + int(self.mask_BT.sum())


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Useful tokens per second (of CPU time on a CPU), share of padding, FLOPs per second, and losses of the steps."""

    tokens_per_s: float
    padding: float
    flops_per_s: float
    losses: tuple[float, ...]


def invent_sequences(corpus: Corpus, llm: Any, *, number: int, batches: int, seed: int = 0) -> list[Sequences]:
    """Batches of `number` sequences each for `llm`, on its device."""
    rng, draw = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    embeddings = llm.get_input_embeddings().weight
    result = []
    for _ in range(batches):
        lengths = torch.tensor(corpus.draw(number, rng))
        ids_BT = torch.randint(3, embeddings.shape[0], (number, int(lengths.max())), generator=draw)
        prefix_BPH = 0.02 * torch.randn(number, corpus.prefix, embeddings.shape[1], generator=draw)
        mask_BT = torch.arange(ids_BT.shape[1]) < lengths[:, None]
        result.append(
            Sequences(
                prefix_BPH=prefix_BPH.to(embeddings),
                ids_BT=ids_BT.to(embeddings.device),
                mask_BT=mask_BT.to(embeddings.device),
            )
        )
    return result


def read_loss(llm: Any, batch: Sequences, *, packing: bool) -> tuple[Tensor, float]:
    """The loss of the reports of a batch, and the share of padding in what the LLM reads."""
    number, prefix = batch.prefix_BPH.shape[:2]
    tokens_BLH = torch.cat((batch.prefix_BPH, llm.get_input_embeddings()(batch.ids_BT)), dim=1)
    mask_BL = torch.cat((batch.mask_BT.new_ones(number, prefix), batch.mask_BT), dim=1)
    lengths: list[int] = mask_BL.sum(1).tolist()
    placement = place_together(lengths, attention_cost=attention_cost(llm)) if packing else place_apart(lengths)
    packed = pack_tokens(tokens_BLH, mask_BL, placement)
    before_BT = packed.first_B[:, None] + prefix - 1 + torch.arange(batch.ids_BT.shape[1], device=mask_BL.device)
    reading = read_tokens(llm, packed).at(before_BT[batch.mask_BT])
    ids_N = batch.ids_BT[batch.mask_BT]
    chunks = num_token_chunks(batch.ids_BT.numel(), int(llm.config.vocab_size))
    loss = token_loss(reading.before_head, ids_N, torch.ones_like(ids_N), reading.head, num_chunks=chunks)
    return loss, 1 - sum(lengths) / placement.num_slots


def measure(llm: Any, batches: Sequence[Sequences], *, packing: bool, rounds: int, rate: float = 1e-4) -> Measured:
    """Steps of forward, backward, clipping and fused AdamW on `batches`, `rounds` times after some to warm up."""
    device = batches[0].ids_BT.device
    trained = [parameter for parameter in llm.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=rate, fused=True)

    def train(batch: Sequences) -> tuple[float, float]:
        loss, padding = read_loss(llm, batch, packing=packing)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # untyped in torch
        nn.utils.clip_grad_norm_(trained, CLIP_NORM)
        optimizer.step()
        return float(loss.detach()), padding

    # nothing is compiled under the counter, and it would stay so
    with torch.compiler.set_stance("force_eager"), FlopCounterMode(display=False) as counter:
        train(batches[0])
    flops_per_token = counter.get_total_flops() / batches[0].num_tokens
    for batch in batches[:2]:  # of two sizes
        train(batch)
    synchronize(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    # on a CPU other work on the machine does not count
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    began = clock()
    results = [train(batch) for batch in _repeated(batches, rounds)]
    synchronize(device)
    speed = rounds * sum(batch.num_tokens for batch in batches) / (clock() - began)
    return Measured(
        tokens_per_s=speed,
        padding=float(np.mean([padding for _, padding in results])),
        flops_per_s=speed * flops_per_token,
        losses=tuple(loss for loss, _ in results),
    )


def _repeated(batches: Sequence[Sequences], rounds: int) -> Iterator[Sequences]:
    for _ in range(rounds):
        yield from batches


class PlainAdapter(nn.Module):
    """A frozen linear layer with a low-rank adapter, as peft's, for machines without peft."""

    def __init__(self, base: nn.Linear, settings: LoraSettings) -> None:
        super().__init__()
        self.base, self.scale = base, settings.alpha / settings.rank
        like: dict[str, Any] = {"device": base.weight.device, "dtype": base.weight.dtype, "bias": False}
        self.down = nn.Linear(base.in_features, settings.rank, **like)
        self.up = nn.Linear(settings.rank, base.out_features, **like)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        """`base(x)` plus the adapter's share."""
        result: Tensor = self.base(x) + self.up(self.down(x)) * self.scale
        return result


def with_adapters(llm: Any, settings: LoraSettings) -> tuple[Any, str]:
    """`llm` with adapters on all linear layers but the output, by peft if it is installed, and whose they are."""
    try:
        from trrg_core.model.adapters import add_adapters
    except ImportError:
        return _with_plain_adapters(llm, settings), "this bench"
    return add_adapters(llm, settings), "peft"


def _with_plain_adapters(llm: Any, settings: LoraSettings) -> Any:
    llm.requires_grad_(False)
    output = llm.get_output_embeddings()
    for module in list(llm.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear) and child is not output and not isinstance(module, PlainAdapter):
                setattr(module, name, PlainAdapter(child, settings))
    llm.get_base_model = lambda: llm  # as of peft
    return llm
