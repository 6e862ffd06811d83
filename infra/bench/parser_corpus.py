"""The parse job at the size of MIMIC-CXR: 227,835 invented reports through Ray Data into a temporary store.

The reports are those of the invented corpus, without images; a pool of several thousand distinct reports is repeated
under new ids. Timed is `pipelines.jobs.parse.run` (start of Ray, read, parse, Parquet, commit), without the preparation
of `studies`. Memory is that of the whole process tree, in which shared pages count once per process.
"""

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory

import psutil
import pyarrow as pa
import pyarrow.compute as pc
import ray

from pipelines.jobs import parse
from pipelines.jobs.ingest import STUDIES_PER_FILE
from trrg_core.config.load import load_config
from trrg_core.sources.sample import generate_studies
from trrg_core.storage.store import Store, open_store
from trrg_core.study import SPLITS
from trrg_core.tables.commit_history import CommitMetadata
from trrg_core.tables.delta import commit_parts, read_table
from trrg_core.tables.parquet import Part, write_part
from trrg_core.tables.schema import STUDIES as STUDIES_SCHEMA
from trrg_core.tables.table_ref import TableRef

STUDIES, PATIENTS = 227_835, 65_379  # of MIMIC-CXR
NUM_CPUS = 2
POOL = 8_000
_SAMPLE_EVERY_S = 0.5


@dataclass(frozen=True, kw_only=True)
class CorpusRun:
    """Wall-clock time, peak resident memory of all processes together, and size of the result of the job."""

    num_reports: int
    num_mentions: int
    num_distinct: int
    wall_s: float
    peak_bytes: int


def parse_corpus(num_reports: int = STUDIES, pool: int = POOL) -> CorpusRun:
    """Generates `num_reports` reports, parses them on two CPUs, and measures."""
    config = load_config("tiny", [f"ray.local_cpus={NUM_CPUS}"])
    with TemporaryDirectory(prefix="trrg-bench-") as folder:
        store = open_store(folder)
        texts = [study.report.text for study in generate_studies(pool, seed=11)]
        studies = _write_studies(store, texts, num_reports)
        try:
            with _watch_memory() as peak:
                began = time.perf_counter()
                result = parse.run(config, store, {"studies": str(studies)})
                wall_s = time.perf_counter() - began
        finally:
            ray.shutdown()
        rows = read_table(store, TableRef.parse(result.ref), columns=["sentences"])["sentences"]
        num_mentions = len(pc.list_flatten(pc.struct_field(pc.list_flatten(rows), "mentions")))
    return CorpusRun(
        num_reports=len(rows),
        num_mentions=num_mentions,
        num_distinct=len(set(texts)),
        wall_s=wall_s,
        peak_bytes=max(peak),
    )


def _write_studies(store: Store, texts: list[str], count: int) -> TableRef:
    """Writes a version of `studies` with reports and no images, in files of the size that ingest writes."""
    parts: list[Part] = []
    for first in range(0, count, STUDIES_PER_FILE):
        rows = [_study(number, texts) for number in range(first, min(first + STUDIES_PER_FILE, count))]
        for split in SPLITS:
            if chosen := [row for row in rows if row["split"] == split]:
                table = pa.Table.from_pylist(chosen, schema=STUDIES_SCHEMA)
                parts.append(write_part(store, "studies", f"parts/bench/{split}-{first}.parquet", table, split=split))
    return commit_parts(store, "studies", parts, STUDIES_SCHEMA, CommitMetadata(fingerprint="bench"))


def _study(number: int, texts: list[str]) -> dict[str, object]:
    """One row; the studies of a patient are consecutive and in one split."""
    patient = number * PATIENTS // STUDIES
    split = {0: "validate", 1: "test"}.get(patient % 50, "train")
    return dict.fromkeys(STUDIES_SCHEMA.names) | {
        "subject_id": f"{10_000_000 + patient}",
        "study_id": f"{50_000_000 + number}",
        "split": split,
        "report": texts[number % len(texts)],
        "images": [],
    }


@contextmanager
def _watch_memory() -> Iterator[list[int]]:
    """Resident bytes of this process and its descendants, twice a second; complete when the block ends."""
    samples: list[int] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(_SAMPLE_EVERY_S):
            samples.append(_tree_bytes())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        stop.set()
        thread.join()
        samples.append(_tree_bytes())


def _tree_bytes() -> int:
    root = psutil.Process()
    sizes = []
    for process in itertools.chain([root], root.children(recursive=True)):
        try:
            sizes.append(process.memory_info().rss)
        except psutil.NoSuchProcess:
            continue  # the process has ended since it was listed
    return sum(sizes)
