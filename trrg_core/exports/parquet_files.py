"""Exported studies -> Parquet files of one split each, closed when they reach a size."""

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from trrg_core.exports.export_folder import ExportFolder

_ROWS_PER_GROUP = 1024


class ParquetFiles:
    """Files `SPLIT-00000.parquet`, or one of a fixed name; at most one row group of each split is in memory."""

    def __init__(self, folder: ExportFolder, schema: pa.Schema, *, max_bytes: int = 0, name: str = "") -> None:
        self._folder, self._schema, self._max_bytes, self._name = folder, schema, max_bytes, name
        self._open: dict[str, _File] = {}
        self._numbers: dict[str, int] = {}

    def add(self, split: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append rows to the file of a split."""
        file = self._open.get(split)
        if file is None:
            number = self._numbers.setdefault(split, 0)
            file = self._open[split] = _File(self._folder, self._name_of(split, number), self._schema)
        file.rows += rows
        if len(file.rows) >= _ROWS_PER_GROUP:
            file.flush()
            if self._max_bytes and file.num_bytes >= self._max_bytes:
                self._close(split)

    def close(self) -> None:
        """Finish all files."""
        for split in list(self._open):
            self._close(split)

    def _name_of(self, split: str, number: int) -> str:
        return f"{split}/{self._name}" if self._name else f"{split}-{number:05d}.parquet"

    def _close(self, split: str) -> None:
        file = self._open.pop(split)
        file.close()
        self._folder.add_file(file.name)
        self._numbers[split] += 1


class _File:
    def __init__(self, folder: ExportFolder, name: str, schema: pa.Schema) -> None:
        self.name, self.rows = name, list[Mapping[str, Any]]()
        self._place, self._schema = folder.path / name, schema
        self._place.parent.mkdir(parents=True, exist_ok=True)
        self._writer = pq.ParquetWriter(self._place, schema, compression="zstd", write_page_checksum=True)

    @property
    def num_bytes(self) -> int:
        return self._place.stat().st_size

    def flush(self) -> None:
        if self.rows:
            self._writer.write_table(pa.Table.from_pylist([dict(row) for row in self.rows], schema=self._schema))
            self.rows = []

    def close(self) -> None:
        self.flush()
        self._writer.close()
