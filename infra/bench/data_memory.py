"""How memory grows with the corpus: each job in a process of its own, on a small corpus and on one ten times as large.

Of the driver and of the largest Ray worker the highest water mark is taken, in which pages shared with the object
store count as well. Reports and films are invented; the same few films come again and again.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from infra.bench.process_tree import watch_tree
from pipelines.running.catalog import JOBS as CATALOG
from trrg_core.imaging.decode import encode_jpeg
from trrg_core.sources.sample.layout import generate_studies

SIZES = (500, 5_000)
MOST_GROWTH = 1.3
JOBS = [job for job in CATALOG.values() if job.group == "data"]
_RUN = """
import sys
from pipelines.running.run_job import run_job
from trrg_core.config.load import load_config

name, store, *words = sys.argv[1:]
inputs = dict(word.removeprefix("input:").split("=", 1) for word in words if word.startswith("input:"))
config = load_config("tiny", [word for word in words if not word.startswith("input:")])
print(run_job(name, config, store, inputs).ref)
"""


@dataclass(frozen=True, kw_only=True)
class Peak:
    """Highest water marks of a job, bytes."""

    driver: int
    worker: int

    @property
    def total(self) -> int:
        """Driver and largest worker together."""
        return self.driver + self.worker


def bench_memory() -> bool:
    """Peaks of ingest, parse and shard at both sizes; flat when driver and largest worker grow by at most 1.3."""
    peaks = {num: measure_jobs(num) for num in SIZES}
    small, large = SIZES
    heads = "".join(f"{f'{num} studies':>16}" for num in SIZES)
    print(f"{'MiB, driver + largest worker':28}{heads}{'growth':>9}{'MiB per 1,000':>15}")
    growths = {}
    for job in (job.name for job in JOBS):
        few, many = peaks[small][job], peaks[large][job]
        growths[job] = many.total / few.total
        cells = "".join(f"{f'{one.driver / 2**20:.0f} + {one.worker / 2**20:.0f}':>16}" for one in (few, many))
        more = (many.total - few.total) / 2**20 / (large - small) * 1000
        print(f"{job:28}{cells}{growths[job]:8.2f}x{more:15.1f}")
    passed = max(growths.values()) <= MOST_GROWTH
    told = ", ".join(f"{job} {growth:.2f}x" for job, growth in growths.items())
    print(
        f"{'PASS: flat' if passed else 'FAIL: grows'}: {large // small} times the studies, {told} (floor {MOST_GROWTH})"
    )
    return passed


def measure_jobs(num_studies: int) -> dict[str, Peak]:
    """The peak of each job on an invented corpus of `num_studies`."""
    with TemporaryDirectory(prefix="trrg-bench-") as folder:
        source, store = Path(folder) / "source", str(Path(folder) / "store")
        write_export(source, num_studies)
        refs: dict[str, str] = {}
        peaks = {}
        for job in JOBS:
            peaks[job.name], refs[job.output] = _measure(job.name, store, source, job.inputs_of(refs))
    return peaks


def write_export(root: Path, num_studies: int) -> None:
    """A plain source: a table with a report of its own for each study, and small films, linked under many names."""
    (root / "images").mkdir(parents=True)
    random = np.random.default_rng(0)
    slope = np.add.outer(np.arange(640), np.arange(532)) / 8
    for at in range(8):
        film = np.clip(slope + random.normal(40, 4, slope.shape), 0, 255).astype(np.uint8)
        (root / f"film{at}.jpg").write_bytes(encode_jpeg(film, 92))
    lines = ["image,patient,study,report"]
    for at, draft in enumerate(generate_studies(num_studies, seed=11)):
        os.link(root / f"film{at % 8}.jpg", root / f"images/{at}.jpg")
        text = draft.report.text.replace('"', '""')
        lines.append(f'images/{at}.jpg,{draft.truth.subject_id},{draft.truth.study_id},"{text}"')
    (root / "table.csv").write_text("\n".join(lines) + "\n")


def _measure(job: str, store: str, source: Path, inputs: dict[str, str]) -> tuple[Peak, str]:
    words = [
        "source.kind=plain",
        f"source.root={source}",
        "source.plain.table=table.csv",
        "source.plain.study_column=study",
        "ray.local_cpus=2",
        *(f"input:{name}={ref}" for name, ref in inputs.items()),
    ]
    command = [sys.executable, "-c", _RUN, job, store, *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        with watch_tree(child.pid) as use:
            out, err = child.communicate()
        if child.returncode:
            raise RuntimeError(f"{job} ended with {child.returncode}: {err[-2000:]}")
    return Peak(driver=use.peak_bytes[child.pid], worker=use.largest_worker_bytes), out.split()[-1]
