"""Data benchmarks against simple baselines: ingest, loader, memory, re-slicing, prevalence by SQL.

`python -m infra.bench.data`, or one section with `--only NAME`. Each section alternates between this project and its
peers for several rounds and prints a table and a verdict from the medians, in CPU time where possible, which depends
little on other work on the machine. The last line sums up the verdicts; exits 1 if a floor is not reached.
"""

import argparse
import io
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pyarrow.parquet as pq
import simplejpeg
from PIL import Image

from infra.bench.data_memory import bench_memory
from infra.bench.data_shell import bench_shell
from infra.bench.label_corpus import OBSERVATIONS, invent_labels
from trrg_core.imaging.decode import ImageForm, decode, encode_jpeg, resize_long_side
from trrg_core.imaging.decoder_pool import prepare_isolated
from trrg_core.label_stats.label_table import LabelTable
from trrg_core.labels import column_name
from trrg_core.slicing.plan import plan_slice
from trrg_core.slicing.predicate import query_labels
from trrg_core.slicing.spec import SliceSpec, validate_slice_spec

SIDE_PX = 512
ROUNDS, ROUNDS_OF_JOBS = 5, 3
FLOOR_OVER_PILLOW = 1.3
GOAL_OF_BARE_DECODE = 0.85
FLOOR_RESLICE_S, GOAL_RESLICE_S = 1.0, 0.2
FLOOR_PREVALENCE_OF_PANDAS = 0.5

# few constraints, many, and constraints that conflict
SPECS: dict[str, dict[str, Any]] = {
    "mix of 2 findings": {
        "quotas": [{"observation": "Pneumothorax", "share": 0.1}],
        "caps": [{"observation": "No Finding", "share": 0.2}],
        "max_repeats": 3,
    },
    "14 quotas, views, denials": {
        "where": "num_words >= 30",
        "where_unit": "studies",
        "rows": 50_000,
        "quotas": [{"observation": name, "share": 0.06} for name in OBSERVATIONS],
        "balance": [{"column": "frontal", "shares": {"AP": 0.5, "PA": 0.45}}],
        "max_negated_share": 0.5,
        "max_repeats": 5,
    },
    "quotas in conflict": {
        "quotas": [{"observation": "Edema", "share": 0.7}, {"observation": "No Finding", "share": 0.6}],
        "caps": [{"observation": "Edema", "share": 0.5}],
    },
}


def draw_films(count: int = 4, rows: int = 3056, columns: int = 2544) -> list[bytes]:
    """JPEGs (quality 95) of a gradient with detector noise, which take about as long to decode as a real radiograph."""
    random = np.random.default_rng(0)
    gradient = np.add.outer(np.arange(rows), np.arange(columns)) * 180 / (rows + columns) + 30
    films = (np.clip(gradient + random.normal(0, 3, gradient.shape), 0, 255).astype(np.uint8) for _ in range(count))
    return [encode_jpeg(film, 95) for film in films]


def ours(data: bytes) -> None:
    """Strict decode, resize, encode, in the decoder process: the work of `read_image` after the file is read."""
    prepare_isolated(data, ImageForm(max_side_px=SIDE_PX, jpeg_quality=90))


def in_process(data: bytes) -> None:
    """The same work without the decoder process."""
    encode_jpeg(resize_long_side(decode(data, min_side_px=SIDE_PX).pixels, SIDE_PX), 90)


def pillow(data: bytes) -> None:
    """The usual loop with Pillow: open, convert to grey, resize, save."""
    image = Image.open(io.BytesIO(data)).convert("L")
    image.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR, reducing_gap=None)
    image.save(io.BytesIO(), "JPEG", quality=90)


def bare(data: bytes) -> None:
    """The decoder alone, at full size."""
    simplejpeg.decode_jpeg(data, "GRAY")


def cpu_s(work: Callable[[bytes], None], films: list[bytes]) -> float:
    """CPU seconds per image, of this process and the decoder process."""
    start = _cpu_of_tree()
    for film in films:
        work(film)
    return (_cpu_of_tree() - start) / len(films)


def _cpu_of_tree() -> float:
    process = psutil.Process()
    times = [child.cpu_times() for child in process.children()]
    of_children: float = sum(used.user + used.system for used in times)
    return time.process_time() + of_children


def bench_images() -> bool:
    """Image ingest against a plain Pillow loop and against the bare strict decoder."""
    films = draw_films()
    works = {"ours": ours, "ours, in process": in_process, "Pillow loop": pillow, "bare decode": bare}
    ours(films[0])  # starts the decoder process
    rounds = [{name: cpu_s(work, films) for name, work in works.items()} for _ in range(ROUNDS)]
    print(f"{'':18}{'ms CPU per film':>16}{'films per CPU-s':>17}")
    for name in works:
        median = statistics.median(times[name] for times in rounds)
        print(f"{name:18}{1000 * median:16.1f}{1 / median:17.1f}")
    over_pillow = statistics.median(times["Pillow loop"] / times["ours"] for times in rounds)
    of_bare = statistics.median(times["bare decode"] / times["ours"] for times in rounds)
    passed = over_pillow >= FLOOR_OVER_PILLOW
    print(
        f"{'PASS' if passed else 'FAIL'}: {over_pillow:.2f}x the Pillow loop (floor {FLOOR_OVER_PILLOW}), "
        f"{of_bare:.0%} of bare decode speed (goal {GOAL_OF_BARE_DECODE:.0%})"
    )
    return passed


def time_rounds(works: dict[str, Callable[[], object]]) -> dict[str, tuple[float, float]]:
    """Median CPU and wall seconds of each function; all run once per round, after one warm-up round."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for _ in range(ROUNDS + 1):
        for name, work in works.items():
            cpu, wall = time.process_time(), time.perf_counter()
            work()
            times[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    return {name: tuple(map(statistics.median, zip(*rounds[1:], strict=True))) for name, rounds in times.items()}


def sample_with_pandas(frame: pd.DataFrame) -> pd.DataFrame:
    """A simple pandas version of the first spec: group by label, sample each group by a manual factor.

    It does not keep patients together, solves no constraints, repeats no rows and reports nothing.
    """
    train = frame[frame["split"] == "train"]
    strata = train.assign(kind=(train["pneumothorax"] == 1) * 2 + (train["no_finding"] == 1))
    parts = [
        group.sample(frac=1.0 if kind >= 2 else 0.4 if kind == 0 else 0.2, random_state=7)
        for kind, group in strata.groupby("kind")
    ]
    return pd.concat(parts)[["subject_id", "study_id"]].sort_values(["subject_id", "study_id"])


def bench_reslice(labels: LabelTable) -> bool:
    """Planning of a slice from a label table in memory, against groupby and sample in pandas."""
    specs: dict[str, SliceSpec] = {name: validate_slice_spec(values) for name, values in SPECS.items()}
    frame = labels.rows.drop_columns(["denials", "in_report"]).to_pandas()
    works: dict[str, Callable[[], object]] = {name: partial(plan_slice, labels, spec) for name, spec in specs.items()}
    works["pandas groupby-sample"] = lambda: sample_with_pandas(frame)
    seconds = time_rounds(works)
    peer = seconds["pandas groupby-sample"][0]
    heads = f"{'ms CPU':>8}{'ms wall':>9}{'of pandas':>11}{'outcomes':>9}{'met':>5}{'rows':>8}"
    print(f"{f'{labels.rows.num_rows} studies':28}{heads}")
    for name, (cpu, wall) in seconds.items():
        line = f"{name:28}{1000 * cpu:8.0f}{1000 * wall:9.0f}{cpu / peer:10.2f}x"
        if name in specs:
            plan = plan_slice(labels, specs[name])
            line += f"{len(plan.outcomes):9}{sum(outcome.is_met for outcome in plan.outcomes):5}{plan.num_rows:8}"
        print(line)
    slowest = max(seconds[name][0] for name in specs)
    passed = slowest <= FLOOR_RESLICE_S
    print(
        f"{'PASS' if passed else 'FAIL'}: the slowest re-slice takes {1000 * slowest:.0f} ms (floor "
        f"{1000 * FLOOR_RESLICE_S:.0f}, goal {1000 * GOAL_RESLICE_S:.0f}), {slowest / peer:.2f}x of pandas (goal 1)"
    )
    return passed


def prevalence_query(table: str) -> str:
    """A query of the share of positive studies of every observation, by split."""
    shares = ", ".join(f"count_if({column_name(name)} = 1) / count(*) AS {column_name(name)}" for name in OBSERVATIONS)
    return f"SELECT split, count(*) AS studies, {shares} FROM {table} GROUP BY split ORDER BY split"


def prevalence_with_pandas(file: Path) -> pd.DataFrame:
    """The same shares by pandas, from the same file."""
    columns = [column_name(name) for name in OBSERVATIONS]
    frame = pd.read_parquet(file, columns=["split", *columns])
    return (frame[columns] == 1).groupby(frame["split"]).mean()


def bench_prevalence(labels: LabelTable) -> bool:
    """Prevalence of all observations by split: SQL over the Parquet file and over the table in memory.

    The databases are open, as pandas is imported, and have one thread.
    """
    import duckdb  # worker processes of torch import this module as well

    columns = ["split", *map(column_name, OBSERVATIONS)]  # as pandas reads them

    with tempfile.TemporaryDirectory() as folder, duckdb.connect(config={"threads": 1}) as database:
        file = Path(folder) / "labels.parquet"
        pq.write_table(labels.rows, file, compression="zstd")
        works: dict[str, Callable[[], object]] = {
            # `sql` would plan the query twice
            "SQL over Parquet": lambda: database.execute(prevalence_query(f"'{file}'")).fetchall(),
            "SQL in memory, locked": lambda: query_labels(labels.rows.select(columns), prevalence_query("labels")),
            "pandas over Parquet": lambda: prevalence_with_pandas(file),
        }
        seconds = time_rounds(works)
    peer = seconds["pandas over Parquet"][0]
    print(f"{f'{labels.rows.num_rows} studies x {len(OBSERVATIONS)}':28}{'ms CPU':>8}{'ms wall':>9}{'of pandas':>11}")
    for name, (cpu, wall) in seconds.items():
        print(f"{name:28}{1000 * cpu:8.0f}{1000 * wall:9.0f}{cpu / peer:10.2f}x")
    share = max(seconds[name][0] for name in works if "SQL" in name) / peer
    passed = share <= FLOOR_PREVALENCE_OF_PANDAS
    verdict = "PASS" if passed else "FAIL"
    print(f"{verdict}: prevalence by SQL takes {share:.2f} of pandas' time (floor {FLOOR_PREVALENCE_OF_PANDAS})")
    return passed


def main() -> int:
    """Runs the sections and prints their tables and verdicts; returns 0 if every floor is reached."""
    labels = cache(invent_labels)
    sections: dict[str, Callable[[], bool]] = {
        "images": bench_images,
        "read_images": _bench_read_images,
        "loader": _bench_loader,
        "memory": bench_memory,
        "reslice": lambda: bench_reslice(labels()),
        "reslice_shell": lambda: bench_shell(labels(), SPECS, ROUNDS),
        "prevalence": lambda: bench_prevalence(labels()),
    }
    arguments = argparse.ArgumentParser(prog="python -m infra.bench.data", description=__doc__)
    arguments.add_argument("--only", choices=sections, action="append", help="run only this section; repeatable")
    passed = {}
    for name in arguments.parse_args().only or sections:
        print(f"\n{name}", flush=True)
        passed[name] = sections[name]()
    below = [name for name, is_passed in passed.items() if not is_passed]
    print(
        f"\nfloors reached: {len(passed) - len(below)} of {len(passed)}"
        + (f"; below: {', '.join(below)}" if below else "")
    )
    return 1 if below else 0


def _bench_read_images() -> bool:
    from infra.bench.data_ray import bench_read_images  # the other sections need no Ray

    return bench_read_images(draw_films(8), SIDE_PX, ROUNDS_OF_JOBS)


def _bench_loader() -> bool:
    from infra.bench.data_loader import bench_loader  # the other sections need no torch

    return bench_loader(ROUNDS)


if __name__ == "__main__":
    sys.exit(main())
