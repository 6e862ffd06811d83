"""Training state as files: fp32 weights and optimizer state by parameter name, for any number of ranks and ZeRO stage.

    state.json                        steps, ZeRO stage and number of ranks that wrote it, the trained parameters
    buffers.safetensors               the model's buffers, of rank 0
    state-00001-of-00002.safetensors  one per rank: its share, as `weight/<parameter>@<first element>`

The share likewise has `exp_avg`, `exp_avg_sq` and `average` (EMA). Each element of each parameter is in exactly one
file. A rank need not have all files: each file is read by one of the ranks that have it, and sent to the others.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from pipelines.training.agreement import agreed
from pipelines.training.partitions import Segment
from trrg_core.errors import TrainingError

INDEX, BUFFERS = "state.json", "buffers.safetensors"
FORMAT = 1
_CHUNK_ELEMENTS = 16 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Elements [start, start + size) of a flattened parameter, of one kind (`weight`, `exp_avg`...), in a file."""

    kind: str
    name: str
    start: int
    size: int

    @property
    def key(self) -> str:
        """The name of its tensor in the file."""
        return f"{self.kind}/{self.name}@{self.start}"

    @classmethod
    def of(cls, key: str, size: int) -> "Piece":
        """The piece with this key."""
        kind, _, rest = key.partition("/")
        name, _, start = rest.rpartition("@")
        return cls(kind=kind, name=name, start=int(start), size=size)


class CopiedState:
    """A rank's share of the training state in CPU memory, to be written while training goes on."""

    def __init__(
        self, *, tensors: Mapping[str, Tensor], buffers: Mapping[str, Tensor], index: Mapping[str, Any]
    ) -> None:
        self.tensors, self.buffers, self.index = tensors, buffers, index
        self.rank, self.world_size = dist.get_rank(), dist.get_world_size()

    def write(self, folder: Path) -> None:
        """Write the files of this rank; not collective."""
        write_share(folder, self.tensors, rank=self.rank, world_size=self.world_size)
        if self.rank == 0:
            write_common(folder, self.index, self.buffers)


def share_file(rank: int, world_size: int) -> str:
    """The name of the file with the share of a rank."""
    return f"state-{rank:05d}-of-{world_size:05d}.safetensors"


def my_share(segments: Sequence[Segment], *, replicated: bool) -> tuple[Segment, ...]:
    """The segments that this rank writes: its own or, where all ranks hold all of them, an equal part of them."""
    if not replicated:
        return tuple(segments)
    rank, world = dist.get_rank(), dist.get_world_size()
    total = sum(segment.size for segment in segments)
    first, last = total * rank // world, total * (rank + 1) // world
    share, at = [], 0
    for segment in segments:
        begin, end = max(first - at, 0), min(last - at, segment.size)
        if begin < end:
            share.append(replace(segment, start=segment.start + begin, offset=segment.offset + begin, size=end - begin))
        at += segment.size
    return tuple(share)


def copy_to_host(share: Sequence[Segment], kinds: Mapping[str, Mapping[Tensor, Tensor]]) -> dict[str, Tensor]:
    """CPU copies of the pieces of `share`, by key; `kinds` maps, for each kind, a holder to the tensor of that kind."""
    copies: dict[str, Tensor] = {}
    for segment in share:
        for kind, by_holder in kinds.items():
            piece = Piece(kind=kind, name=segment.name, start=segment.start, size=segment.size)
            copies[piece.key] = segment.view(by_holder[segment.holder]).float().to("cpu", copy=True)
    return copies


def write_share(folder: Path, tensors: Mapping[str, Tensor], *, rank: int, world_size: int) -> None:
    """Write the file of one rank."""
    save_file(dict(tensors), folder / share_file(rank, world_size))


def write_common(folder: Path, index: Mapping[str, Any], buffers: Mapping[str, Tensor]) -> None:
    """Write what rank 0 writes for all."""
    save_file({name: buffer.contiguous() for name, buffer in buffers.items()}, folder / BUFFERS)
    (folder / INDEX).write_text(json.dumps({"format": FORMAT, **index}, sort_keys=True))


def read_common(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The index and the buffers that rank 0 wrote.

    Raises:
        TrainingError: if they are missing or damaged.
    """
    try:
        index = json.loads((folder / INDEX).read_text())
        if index["format"] != FORMAT:
            raise TrainingError(f"{folder}: training state has format {index['format']}, expected {FORMAT}")
        return index, load_file(folder / BUFFERS)
    except (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError) as error:
        raise TrainingError(f"{folder} holds no training state: {error}") from error


def restore(
    folder: Path,
    segments: Sequence[Segment],
    kinds: Mapping[str, Mapping[Tensor, Tensor]],
    *,
    num_files: int,
    device: torch.device,
) -> None:
    """Fill this rank's tensors from the files that the ranks have between them; collective.

    Args:
        folder: local folder with those files that this rank has.
        segments: what this rank holds.
        kinds: for each kind, holder -> the tensor to fill.
        num_files: how many files the state consists of.
        device: where tensors are exchanged between ranks.

    Raises:
        TrainingError: on every rank, if a file or part of a parameter is missing on any.
    """
    with agreed("the training state cannot be read"):
        pieces_by_file = {path.name: _list_pieces(path) for path in sorted(folder.glob("state-*.safetensors"))}
    listed: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(listed, pieces_by_file)
    readers = {file: rank for rank in reversed(range(len(listed))) for file in listed[rank]}
    by_name: dict[str, list[Segment]] = defaultdict(list)
    for segment in segments:
        by_name[segment.name].append(segment)
    restored: dict[tuple[str, str], int] = defaultdict(int)
    for file, reader in sorted(readers.items()):
        pieces = [piece for piece in listed[reader][file] if piece.kind in kinds]
        for chunk in _chunks(pieces):
            flat = _receive(folder / file, chunk, reader, device)
            for piece, values in zip(chunk, torch.split(flat, [piece.size for piece in chunk]), strict=True):
                for segment in by_name.get(piece.name, ()):
                    restored[piece.kind, piece.name] += _copy_overlap(piece, values, segment, kinds[piece.kind])
    with agreed("the training state is not complete"):
        if len(readers) != num_files:
            raise TrainingError(f"{len(readers)} of {num_files} files of the training state are there")
        for name, of_name in by_name.items():
            expected = sum(segment.size for segment in of_name)
            for kind in kinds:
                if restored[kind, name] != expected:
                    raise TrainingError(f"{kind} of {name}: {restored[kind, name]} of {expected} elements are there")


def _list_pieces(path: Path) -> list[Piece]:
    try:
        with safe_open(path, "pt") as file:
            return [Piece.of(key, file.get_slice(key).get_shape()[0]) for key in sorted(file.keys())]
    except (OSError, ValueError, IndexError, SafetensorError) as error:
        raise TrainingError(f"{path.name} cannot be read: {error}") from error


def _chunks(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """Runs of pieces of about `_CHUNK_ELEMENTS` together, so that few messages are sent and little memory is used."""
    ends = _running_sum([piece.size for piece in pieces])
    for _, group in groupby(zip(pieces, ends, strict=True), key=lambda one: one[1] // _CHUNK_ELEMENTS):
        yield [piece for piece, _ in group]


def _running_sum(sizes: Sequence[int]) -> list[int]:
    return torch.tensor(sizes, dtype=torch.int64).cumsum(0).tolist() if sizes else []


def _receive(path: Path, pieces: Sequence[Piece], reader: int, device: torch.device) -> Tensor:
    if dist.get_rank() == reader:
        with safe_open(path, "pt") as file:
            flat = torch.cat([file.get_tensor(piece.key).float() for piece in pieces]).to(device)
    else:
        flat = torch.empty(sum(piece.size for piece in pieces), device=device)
    if dist.get_world_size() > 1:
        dist.broadcast(flat, src=reader)
    return flat


def _copy_overlap(piece: Piece, values: Tensor, segment: Segment, by_holder: Mapping[Tensor, Tensor]) -> int:
    """Copy what the piece and the segment have in common; returns the number of elements."""
    first = max(piece.start, segment.start)
    last = min(piece.start + piece.size, segment.start + segment.size)
    if first >= last:
        return 0
    target = segment.view(by_holder[segment.holder])
    target[first - segment.start : last - segment.start].copy_(values[first - piece.start : last - piece.start])
    return last - first
