"""The loader of training against torch's DataLoader: the same shard rows, the same collate, one epoch a round.

The process that takes the batches has one CPU, as a training worker has, and one is left to load with: Ray reads on
it, or one worker process of torch does. The peer has its rows in memory as Arrow and takes a batch of them at a time,
the quickest way it has; ours reads them from Parquet, with checksums, every epoch.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import ray
import torch

from infra.bench.process_tree import watch_tree
from pipelines.jobs.parse import parse_batch
from pipelines.ray_data.cluster import connect
from pipelines.ray_data.read import list_row_groups, stream_steps
from trrg_core.config.load import load_config
from trrg_core.config.settings import TrrgConfig
from trrg_core.errors import DataError
from trrg_core.imaging.decode import encode_jpeg, resize_long_side
from trrg_core.labels import load_label_set
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
class Pass:
    """One epoch through a loader: rows and seconds as the taker sees them, CPU-seconds of all processes."""

    rows: int
    wall_s: float
    first_s: float
    cpu_s: float


class HeldRows(torch.utils.data.Dataset):
    """Shard rows held as Arrow, a batch of them at a time."""

    def __init__(self, rows: pa.Table) -> None:
        self.rows = rows.combine_chunks()

    def __len__(self) -> int:
        return self.rows.num_rows

    def __getitem__(self, index: int) -> dict:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[dict]:
        return self.rows.take(pa.array(indices)).to_pylist()


@ray.remote(num_cpus=1)
class Seat:
    """Holds the CPU that a training worker would have."""

    def is_taken(self) -> bool:
        """Once this answers, the CPU is held."""
        return True


def bench_loader(rounds: int) -> bool:
    """Rows per second of both, `rounds` interleaved rounds after one unmeasured."""
    config = load_config("tiny", ["ray.local_cpus=2"])
    with TemporaryDirectory(prefix="trrg-bench-") as folder:
        store = open_store(folder)
        shards = write_invented_shards(store, config)
        connect(config.ray)
        seat = Seat.remote()
        ray.get(seat.is_taken.remote())
        collate = partial(collate_images, observations=_observations(config), config=config.pretrain)
        groups = list_row_groups(store, shards, "train")
        plan = Plan(groups=groups, batch_size=config.pretrain.batch_size, seed=config.seed, rank=0, world_size=1)
        rows = HeldRows(read_table(store, shards))
        loaders: dict[str, Callable[[], Iterator[Batch]]] = {
            "ours, stream_steps": lambda: map(collate, stream_steps(store, plan, 0, plan.steps_per_epoch)),
            **{f"DataLoader, {num} worker{'s' * (num > 1)}": _torch_loader(rows, plan, collate, num) for num in (1, 2)},
        }
        found: dict[str, list[Pass]] = {name: [] for name in loaders}
        for _ in range(rounds + 1):
            for name, loader in loaders.items():
                found[name].append(_walk(loader))
        ray.shutdown()
    return _tell({name: passes[1:] for name, passes in found.items()})


def _tell(found: dict[str, list[Pass]]) -> bool:
    num = {one.rows for passes in found.values() for one in passes}
    assert len(num) == 1, f"the loaders gave different numbers of rows: {sorted(num)}"
    rates = {name: statistics.median(one.rows / one.wall_s for one in passes) for name, passes in found.items()}
    print(f"{f'{num.pop()} rows an epoch':24}{'rows/s':>8}{'first batch, ms':>17}{'ms CPU per 1,000 rows':>23}")
    for name, passes in found.items():
        first = statistics.median(one.first_s for one in passes)
        cpu = statistics.median(one.cpu_s / one.rows for one in passes)
        print(f"{name:24}{rates[name]:8.0f}{1000 * first:17.0f}{1e6 * cpu:23.0f}")
    ours, one, two = rates.values()
    passed = ours >= FLOOR_OVER_TORCH * one
    print(
        f"{'PASS' if passed else 'FAIL'}: {ours:.0f} rows/s, {ours / one:.2f}x torch's DataLoader with the same CPU "
        f"(floor {FLOOR_OVER_TORCH}), {ours / two:.2f}x with one worker more"
    )
    return passed


def write_invented_shards(store: Store, config: TrrgConfig) -> TableRef:
    """ROWS shard rows in files as the shard job makes them: a pool of invented studies, repeated under new ids."""
    schema = shards_schema(load_label_set(config.parse.label_set))
    pool = list(make_shard_rows(list(generate_studies(POOL, SEED)), config))
    size = config.shard.rows_per_file
    parts = []
    for first in range(0, ROWS, size):
        rows = [{**pool[at % len(pool)], "study_id": f"{50_000_000 + at}"} for at in range(first, first + size)]
        table = pa.Table.from_pylist(rows, schema=schema)
        parts.append(write_part(store, "shards", f"parts/bench/{first}.parquet", table, split="train"))
    return commit_parts(store, "shards", parts, schema, CommitMetadata(fingerprint="bench"))


def make_shard_rows(drafts: list[SampleStudy], config: TrrgConfig) -> Iterator[dict]:
    """Rows of `shards` of invented studies, each through the parser and the shard job's own row."""
    told = [
        {
            "subject_id": one.truth.subject_id,
            "study_id": one.truth.study_id,
            "split": "train",
            "report": one.report.text,
        }
        for one in drafts
    ]
    parsed = parse_batch(pa.Table.from_pylist(told), config.parse).rows.to_pylist()
    reports = {row["study_id"]: row for row in parsed}
    for draft, row in zip(drafts, told, strict=True):
        about = {"prior_study_id": "", "sex": draft.patient.sex, "age_years": draft.patient.age}
        study = {**row, **about, "images": [_image(draft, view, config) for view in draft.truth.views]}
        try:
            yield shard_row(study, reports.get(row["study_id"]), config.shard)
        except DataError:
            continue  # a report without findings, of which the invented corpus has a few


def _image(draft: SampleStudy, view: str, config: TrrgConfig) -> dict:
    picture = render_radiograph(draft.patient, draft.truth, view, SEED).convert("L")
    pixels = resize_long_side(np.asarray(picture), config.ingest.max_side_px)
    rows, columns = pixels.shape
    return {"view_position": view, "rows": rows, "columns": columns, "jpeg": encode_jpeg(pixels)}


def _torch_loader(
    rows: HeldRows, plan: Plan, collate: Callable[[list[dict]], Batch], num_workers: int
) -> Callable[[], Iterator[Batch]]:
    # spawned, for a fork of a process that speaks to Ray may hang; kept, so that only the unmeasured round starts them
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


def _walk(loader: Callable[[], Iterator[Batch]]) -> Pass:
    num, first = 0, 0.0
    began = time.perf_counter()
    with watch_tree() as use:
        for batch in loader():
            num += len(batch)
            first = first or time.perf_counter() - began
        wall = time.perf_counter() - began
    return Pass(rows=num, wall_s=wall, first_s=first, cpu_s=use.cpu_s)


def _observations(config: TrrgConfig) -> tuple[str, ...]:
    return load_label_set(config.parse.label_set).observations
