"""Exported studies -> WebDataset tars of bounded size: one JSON and the JPEGs of each study, in turn.

A sample is `000000012.json`, `000000012.0.jpg`, `000000012.1.jpg`; its key is a number, because ids may hold dots and
slashes. Owner, mode and time of every member are fixed, so that the same version gives the same bytes.
"""

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trrg_core.exports.export_folder import ExportFolder

_BLOCK = tarfile.BLOCKSIZE
_END = 2 * tarfile.RECORDSIZE  # what the end of a tar takes, at most


class WebDatasetTars:
    """Files `SPLIT-000000.tar`; a sample that alone is larger than `max_bytes` has one of its own."""

    def __init__(self, folder: ExportFolder, *, max_bytes: int) -> None:
        self._folder, self._max_bytes = folder, max_bytes
        self._open: dict[str, tuple[str, tarfile.TarFile]] = {}
        self._numbers: dict[str, int] = {}
        self._num_samples = 0

    def add(self, split: str, values: Mapping[str, Any], jpegs: Sequence[bytes]) -> None:
        """Append a study to the tar of its split."""
        key = f"{self._num_samples:09d}"
        files = {f"{key}.json": json.dumps(values, ensure_ascii=False).encode()}
        files |= {f"{key}.{number}.jpg": jpeg for number, jpeg in enumerate(jpegs)}
        needed = sum(_BLOCK + -(-len(data) // _BLOCK) * _BLOCK for data in files.values())
        if split in self._open:
            offset = self._open[split][1].offset
            if offset and offset + needed + _END > self._max_bytes:
                self._close(split)
        if split not in self._open:
            name = f"{split}-{self._numbers.setdefault(split, 0):06d}.tar"
            self._open[split] = (name, _new_tar(self._folder.path / name))
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o644
            self._open[split][1].addfile(member, io.BytesIO(data))
        self._num_samples += 1

    def close(self) -> None:
        """Finish all files."""
        for split in list(self._open):
            self._close(split)

    def _close(self, split: str) -> None:
        name, tar = self._open.pop(split)
        tar.close()
        self._folder.add_file(name)
        self._numbers[split] += 1


def _new_tar(place: Path) -> tarfile.TarFile:
    return tarfile.open(place, "w", format=tarfile.USTAR_FORMAT)
