"""The training loader against torch's DataLoader: the same shard rows, the same collate function, one epoch per round.

The consumer of the batches has one CPU, like a training worker, and one CPU is left for loading, by Ray or by one
worker process of torch. The DataLoader has its rows in memory as Arrow and takes one batch of them at a time, its
fastest mode; the training loader reads them from Parquet, with checksums, in every epoch.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import torch

from infra.bench.process_tree import watch_tree
from pipelines.jobs.parse import parse_batch
from pipelines.ray_data.cluster import connect
from pipelines.ray_data.read_ahead import ReadAhead
from pipelines.ray_data.training_rows import list_row_groups, read_steps
from trrg_core.config.load import load_config
from trrg_core.config.settings import TrrgConfig
from trrg_core.errors import DataError
from trrg_core.imaging.decode import encode_jpeg, resize_long_side
from trrg_core.labels import load_label_set
from trrg_core.report.flips import SentenceFlipper
from trrg_core.report.parser import ReportParser
from trrg_core.sources.sample.layout import SampleStudy, generate_studies
from trrg_core.sources.sample.radiograph import render_radiograph
from trrg_core.storage.store import Store, open_store
from trrg_core.tables.commit_history import CommitMetadata
from trrg_core.tables.delta import commit_parts, read_table
from trrg_core.tables.parquet import write_part
from trrg_core.tables.rows.shard_row import shard_row
from trrg_core.tables.schema import shards_schema
from trrg_core.tables.table_ref import TableRef
from trrg_core.training.batch import Batch
from trrg_core.training.collate import collate_images
from trrg_core.training.sampling_plan import Plan

ROWS = 8192
POOL = 128
SEED = 5
FLOOR_OVER_TORCH = 1.0


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One epoch of a loader: rows and seconds of the consumer, CPU seconds of all processes."""

    rows: int
    wall_s: float
    first_s: float
    cpu_s: float


class ArrowRows(torch.utils.data.Dataset[dict[str, Any]]):
    """Shard rows in memory as Arrow, read one batch at a time."""

    def __init__(self, rows: pa.Table) -> None:
        self.rows = rows.combine_chunks()

    def __len__(self) -> int:
        return self.rows.num_rows

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[dict[str, Any]]:
        return self.rows.take(pa.array(indices)).to_pylist()


@ray.remote(num_cpus=1)
class ReservedCpu:
    """Reserves the CPU of a training worker."""

    def is_reserved(self) -> bool:
        """True; the CPU is reserved once this returns."""
        return True


def bench_loader(rounds: int) -> bool:
    """Rows per second of both loaders, over `rounds` interleaved rounds after one warm-up round."""
    config = load_config("tiny", ["ray.local_cpus=2"])
    with TemporaryDirectory(prefix="trrg-bench-") as folder:
        store = open_store(folder)
        shards = write_invented_shards(store, config)
        connect(config.ray)
        reserved = ReservedCpu.remote()  # type: ignore[attr-defined]  # Ray's decorator adds it
        ray.get(reserved.is_reserved.remote())
        collate = partial(collate_images, observations=_observations(config), config=config.pretrain)
        groups = list_row_groups(store, shards, "train")
        plan = Plan(groups=groups, batch_size=config.pretrain.micro_batch_size, seed=config.seed, lane=0, num_lanes=1)
        rows = ArrowRows(read_table(store, shards))
        loaders: dict[str, Callable[[], Iterator[Batch]]] = {
            "ours": lambda: _read_epoch(store, plan, collate),
            **{f"DataLoader, {num} worker{'s' * (num > 1)}": _torch_loader(rows, plan, collate, num) for num in (1, 2)},
        }
        epochs: dict[str, list[Epoch]] = {name: [] for name in loaders}
        for _ in range(rounds + 1):
            for name, loader in loaders.items():
                epochs[name].append(_run_epoch(loader))
        ray.shutdown()
    return _print_verdict({name: rounds[1:] for name, rounds in epochs.items()})


def _read_epoch(store: Store, plan: Plan, collate: Callable[..., Batch]) -> Iterator[Batch]:
    with ReadAhead(lambda: read_steps(store, plan, 0, plan.steps_per_epoch), depth=2) as steps:
        yield from (collate(rows.to_pylist()) for rows in steps)


def _print_verdict(epochs: dict[str, list[Epoch]]) -> bool:
    num = {epoch.rows for rounds in epochs.values() for epoch in rounds}
    assert len(num) == 1, f"the loaders gave different numbers of rows: {sorted(num)}"
    rates = {name: statistics.median(epoch.rows / epoch.wall_s for epoch in rounds) for name, rounds in epochs.items()}
    print(f"{f'{num.pop()} rows per epoch':24}{'rows/s':>8}{'first batch, ms':>17}{'ms CPU per 1,000 rows':>23}")
    for name, rounds in epochs.items():
        first = statistics.median(epoch.first_s for epoch in rounds)
        cpu = statistics.median(epoch.cpu_s / epoch.rows for epoch in rounds)
        print(f"{name:24}{rates[name]:8.0f}{1000 * first:17.0f}{1e6 * cpu:23.0f}")
    ours, one_worker, two_workers = rates.values()
    passed = ours >= FLOOR_OVER_TORCH * one_worker
    print(
        f"{'PASS' if passed else 'FAIL'}: {ours:.0f} rows/s, {ours / one_worker:.2f}x torch's DataLoader with the same "
        f"CPU (floor {FLOOR_OVER_TORCH}), {ours / two_workers:.2f}x with one more worker"
    )
    return passed


def write_invented_shards(store: Store, config: TrrgConfig, *, num_rows: int = ROWS, num_drawn: int = POOL) -> TableRef:
    """Writes shard rows in files as the shard job does: `num_drawn` invented studies, repeated under new ids."""
    schema = shards_schema(load_label_set(config.parse.label_set))
    pool = list(make_shard_rows(list(generate_studies(num_drawn, SEED)), config))
    size = min(config.shard.rows_per_file, num_rows)
    parts = []
    for first in range(0, num_rows, size):
        rows = [{**pool[at % len(pool)], "study_id": f"{50_000_000 + at}"} for at in range(first, first + size)]
        table = pa.Table.from_pylist(rows, schema=schema)
        parts.append(write_part(store, "shards", f"parts/bench/{first}.parquet", table, split="train"))
    return commit_parts(store, "shards", parts, schema, CommitMetadata(fingerprint="bench"))


def make_shard_rows(studies: list[SampleStudy], config: TrrgConfig) -> Iterator[dict[str, Any]]:
    """Rows of `shards` of invented studies, made by the parser and by the code of the shard job."""
    report_rows = [
        {
            "subject_id": study.truth.subject_id,
            "study_id": study.truth.study_id,
            "split": "train",
            "report": study.report.text,
        }
        for study in studies
    ]
    parsed = parse_batch(pa.Table.from_pylist(report_rows), config.parse).rows.to_pylist()
    reports = {row["study_id"]: row for row in parsed}
    parser = ReportParser(config.parse.label_set)
    flipper = SentenceFlipper(parser)
    for study, report_row in zip(studies, report_rows, strict=True):
        patient = {"prior_study_id": "", "study_date": "", "sex": study.patient.sex, "age_years": study.patient.age}
        images = [_image(study, view, config) for view in study.truth.views]
        try:
            row = {**report_row, **patient, "images": images}
            report = reports.get(study.truth.study_id)
            yield shard_row(row, report, config.shard, flipper=flipper, label_set=parser.label_set)
        except DataError:
            continue  # the invented corpus has a few reports without findings


def _image(study: SampleStudy, view: str, config: TrrgConfig) -> dict[str, Any]:
    picture = render_radiograph(study.patient, study.truth, view, SEED).convert("L")
    pixels = resize_long_side(np.asarray(picture), config.ingest.max_side_px)
    rows, columns = pixels.shape
    return {"view_position": view, "rows": rows, "columns": columns, "jpeg": encode_jpeg(pixels)}


def _torch_loader(
    rows: ArrowRows, plan: Plan, collate: Callable[[list[dict[str, Any]]], Batch], num_workers: int
) -> Callable[[], Iterator[Batch]]:
    # spawned, because a fork of a process connected to Ray may hang; persistent, so that only the warm-up starts them
    loader = torch.utils.data.DataLoader(
        rows,
        batch_size=plan.batch_size,
        shuffle=True,
        drop_last=True,
        collate_fn=collate,
        num_workers=num_workers,
        persistent_workers=True,
        multiprocessing_context="spawn",
    )
    return lambda: iter(loader)


def _run_epoch(loader: Callable[[], Iterator[Batch]]) -> Epoch:
    num, first = 0, 0.0
    began = time.perf_counter()
    with watch_tree() as use:
        for batch in loader():
            num += len(batch)
            first = first or time.perf_counter() - began
        wall = time.perf_counter() - began
    return Epoch(rows=num, wall_s=wall, first_s=first, cpu_s=use.cpu_s)


def _observations(config: TrrgConfig) -> tuple[str, ...]:
    return load_label_set(config.parse.label_set).observations
