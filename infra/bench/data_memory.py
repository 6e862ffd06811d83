"""Growth of memory with the corpus: each job in its own process, on a small corpus and on one ten times as large.

Measured is the peak resident memory of the driver and of the largest Ray worker, with the pages that they share with
the object store. Reports and images are invented; a few images are used repeatedly.
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
MAX_GROWTH = 1.3
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
    """Peak resident memory of a job, bytes."""

    driver: int
    worker: int

    @property
    def total(self) -> int:
        """Driver and largest worker together."""
        return self.driver + self.worker


def bench_memory() -> bool:
    """Peaks of ingest, parse and shard at both sizes; passes if driver plus largest worker grow at most 1.3-fold."""
    peaks = {num: measure_jobs(num) for num in SIZES}
    small, large = SIZES
    heads = "".join(f"{f'{num} studies':>16}" for num in SIZES)
    print(f"{'MiB, driver + largest worker':28}{heads}{'growth':>9}{'MiB per 1,000':>15}")
    growths = {}
    for job in (job.name for job in JOBS):
        small_peak, large_peak = peaks[small][job], peaks[large][job]
        growths[job] = large_peak.total / small_peak.total
        pairs = [f"{peak.driver / 2**20:.0f} + {peak.worker / 2**20:.0f}" for peak in (small_peak, large_peak)]
        cells = "".join(f"{pair:>16}" for pair in pairs)
        per_thousand = (large_peak.total - small_peak.total) / 2**20 / (large - small) * 1000
        print(f"{job:28}{cells}{growths[job]:8.2f}x{per_thousand:15.1f}")
    passed = max(growths.values()) <= MAX_GROWTH
    summary = ", ".join(f"{job} {growth:.2f}x" for job, growth in growths.items())
    verdict = "PASS: flat" if passed else "FAIL: grows"
    print(f"{verdict}: {large // small} times the studies, {summary} (limit {MAX_GROWTH})")
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
    """A plain source: a table with a distinct report per study, and small images, hard-linked under many names."""
    (root / "images").mkdir(parents=True)
    random = np.random.default_rng(0)
    gradient = np.add.outer(np.arange(640), np.arange(532)) / 8
    for at in range(8):
        film = np.clip(gradient + random.normal(40, 4, gradient.shape), 0, 255).astype(np.uint8)
        (root / f"film{at}.jpg").write_bytes(encode_jpeg(film, 92))
    lines = ["image,patient,study,report"]
    for at, study in enumerate(generate_studies(num_studies, seed=11)):
        os.link(root / f"film{at % 8}.jpg", root / f"images/{at}.jpg")
        text = study.report.text.replace('"', '""')
        lines.append(f'images/{at}.jpg,{study.truth.subject_id},{study.truth.study_id},"{text}"')
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
