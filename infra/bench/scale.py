"""How the verbs on labels grow from 0.1 to 10 million studies: CPU time, peak memory, growth exponent.

`python -m infra.bench.scale` measures 0.1 and 1 million; `--studies 10000000` adds or replaces a size. Each step is a
process of its own, so that its peak memory is its own. `--store` keeps the tables, so that steps can be run one by one
with `--step`. Exits 1 if the CPU time of a step grows faster than the number of studies to the power of 1.05.
"""

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from infra.bench.label_corpus import PREVALENCE
from pipelines.jobs.reslice import make_slice
from pipelines.ray_data.training_rows import list_row_groups, open_slice, read_chunk
from trrg_core.label_stats.distribution import label_distribution
from trrg_core.label_stats.label_table_cache import load_label_table
from trrg_core.label_stats.labelled_version import read_labelled_version
from trrg_core.label_stats.version_comparison import compare_versions, measure_drift
from trrg_core.labels import column_name, load_label_set
from trrg_core.slicing.spec import validate_slice_spec
from trrg_core.storage.folders import LABEL_TABLE_FOLDER
from trrg_core.storage.store import Store, open_store
from trrg_core.tables.commit_history import CommitMetadata, history, resolve_ref
from trrg_core.tables.delta import commit_parts, list_parts
from trrg_core.tables.parquet import Part, write_part
from trrg_core.tables.schema import shards_schema
from trrg_core.tables.table_ref import TableRef
from trrg_core.training.sampling_plan import Plan

ROWS_PER_FILE = 2048
CHANGED_FILES = 10  # one in so many differs between the two versions
SIZES = (100_000, 1_000_000)
MAX_EXPONENT = 1.05
SPEC = {
    "quotas": [{"observation": "Pneumothorax", "share": 0.1}],
    "caps": [{"observation": "No Finding", "share": 0.2}],
    "max_repeats": 3,
}
LABEL_SET = load_label_set("chexpert14")
SHARDS = (TableRef(name="shards", version=0), TableRef(name="shards", version=1))


def invent_shards(store: Store, num_studies: int) -> None:
    """Two versions of `shards` of `num_studies` invented train studies, without images; a tenth of the files differ."""
    schema = shards_schema(LABEL_SET)
    block, other = (pa.Table.from_pylist(_invent_rows(seed), schema=schema) for seed in (0, 1))
    counts = [min(ROWS_PER_FILE, num_studies - start) for start in range(0, num_studies, ROWS_PER_FILE)]
    first = [_write(store, block, number, count, "a") for number, count in enumerate(counts)]
    commit_parts(store, "shards", first, schema, CommitMetadata(fingerprint="a"))
    changed = range(0, len(counts), CHANGED_FILES)
    second = {number: _write(store, other, number, counts[number], "b") for number in changed}
    parts = [second.get(number, part) for number, part in enumerate(first)]
    commit_parts(store, "shards", parts, schema, CommitMetadata(fingerprint="b"))


def _write(store: Store, block: pa.Table, number: int, count: int, name: str) -> Part:
    at = np.arange(number * ROWS_PER_FILE, number * ROWS_PER_FILE + count)
    ids = {"study_id": [f"s{one:08}" for one in at], "subject_id": [f"p{one // 3:08}" for one in at]}
    rows = block.slice(0, count)
    for column, values in ids.items():
        rows = rows.set_column(rows.column_names.index(column), rows.schema.field(column), pa.array(values))
    return write_part(store, "shards", f"parts/{name}/{number:06}.parquet", rows, split="train")


def _invent_rows(seed: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    return [_invent_row(rng) for _ in range(ROWS_PER_FILE)]


def _invent_row(rng: np.random.Generator) -> dict[str, Any]:
    labels: dict[str, int] = {}
    sentences = []
    for name, (positive, negative, uncertain) in PREVALENCE.items():
        draw = rng.random()
        for assertion, label, share in (
            ("PRESENT", 1, positive),
            ("ABSENT", 0, negative),
            ("UNCERTAIN", -1, uncertain),
        ):
            if 0 <= draw < share:
                labels[column_name(name)] = label
                facts = [{"observation": name, "assertion": assertion}]
                sentences.append({"text": "An invented sentence.", "facts": facts, "flips": [], "in_report": True})
                break
            draw -= share
    words = (f"word{min(at, 30_000)}" for at in rng.zipf(1.3, 50).tolist())
    views = [{"view_position": view, "jpeg": b"film"} for view in (("AP",), ("PA", "LATERAL"))[rng.integers(2)]]
    return {
        "split": "train",
        "has_prior": False,
        "sex": "FM"[rng.integers(2)],
        "age_years": int(rng.integers(18, 95)),
        "views": views,
        "report": " ".join(words),
        "sentences": sentences,
        "labels": labels,
    }


def _labels(store: Store) -> None:
    labelled = read_labelled_version(store, SHARDS[0])
    label_distribution(labelled.table)


def _label_table(store: Store) -> None:
    store.delete(LABEL_TABLE_FOLDER)  # of an earlier run on a kept store
    load_label_table(store, SHARDS[0], LABEL_SET.observations)


def _reslice(store: Store) -> None:
    make_slice(store, validate_slice_spec({**SPEC, "base": str(SHARDS[0])}))


def _drift(store: Store) -> None:
    measure_drift(store, *SHARDS)


def _diff(store: Store) -> None:
    compare_versions(store, *SHARDS)


def _start(store: Store) -> None:
    _first_chunk(store, None)


def _start_with_slice(store: Store) -> None:
    _first_chunk(store, str(resolve_ref(store, "slices")))


def _first_chunk(store: Store, slice_ref: str | None) -> None:
    reader = open_slice(store, slice_ref) if slice_ref else None
    groups = list_row_groups(store, SHARDS[0], "train", reader)
    plan = Plan(groups=groups, batch_size=64, seed=0, lane=0, num_lanes=1)
    read_chunk(store, next(plan.chunks(0, 1)), reader)


# in the order in which they are measured: a re-slice reads the copy of the label table, training the slice
STEPS: dict[str, Callable[[Store], None]] = {
    "labels": _labels,
    "label table": _label_table,
    "reslice": _reslice,
    "drift": _drift,
    "diff": _diff,
    "start of training": _start,
    "start with a slice": _start_with_slice,
}


def measure(step: str, store_uri: str) -> dict[str, float]:
    """CPU seconds and peak memory, MiB, of one step in a process of its own, imports included."""
    command = [sys.executable, "-m", "infra.bench.scale", "--child", step, "--store", store_uri]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    if child.returncode:
        raise RuntimeError(f"{step}: {child.stderr[-2000:]}")
    result: dict[str, float] = json.loads(child.stdout.splitlines()[-1])
    return result


def run_child(step: str, store_uri: str) -> None:
    """Run one step and print what it took as JSON."""
    STEPS[step](open_store(store_uri))
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"cpu_s": used.ru_utime + used.ru_stime, "peak_mib": used.ru_maxrss / 1024}))


def main() -> int:
    """Measure the chosen steps at each size; print a table and a verdict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, action="append", help="a size; may be repeated")
    parser.add_argument("--step", choices=STEPS, action="append", help="only this step; may be repeated")
    parser.add_argument("--store", default="", help="folder that keeps the tables, by size")
    parser.add_argument("--child", choices=STEPS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        run_child(given.child, given.store)
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        return _measure_all(Path(given.store or temporary), given.studies or list(SIZES), given.step or list(STEPS))


def _measure_all(folder: Path, sizes: list[int], steps: list[str]) -> int:
    measured: dict[str, list[dict[str, float]]] = {step: [] for step in steps}
    for size in sizes:
        store = open_store(str(folder / str(size)))
        if not history(store, "shards"):
            start = time.process_time()
            invent_shards(store, size)
            print(f"{size:,} studies written, {time.process_time() - start:.0f} CPU-s", flush=True)
        print(f"{size:,} studies, {len(list_parts(store, SHARDS[0]))} files")
        for step in steps:
            measured[step].append(measure(step, store.uri))
            print(
                f"  {step:20} {measured[step][-1]['cpu_s']:8.1f} CPU-s {measured[step][-1]['peak_mib']:8.0f} MiB",
                flush=True,
            )
    if len(sizes) < 2:
        return 0
    slow = []
    for step, results in measured.items():
        exponent = math.log(results[-1]["cpu_s"] / results[0]["cpu_s"]) / math.log(sizes[-1] / sizes[0])
        print(f"{step:20} grows with the power {exponent:.2f}")
        slow += [step] if exponent > MAX_EXPONENT else []
    print(f"{'FAIL: ' + ', '.join(slow) if slow else 'PASS'} (at most {MAX_EXPONENT})")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
