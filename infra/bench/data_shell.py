"""Re-slicing from the shell: CPU time of the whole process `trrg reslice`, from its start to the committed slice.

The store has the copy of the label table, as after an earlier re-slice of the same version of `shards`.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa

from trrg_core.label_stats import label_table_cache
from trrg_core.label_stats.label_table import LabelTable, join_label_tables
from trrg_core.labels import load_label_set
from trrg_core.storage.store import open_store
from trrg_core.tables.commit_history import CommitMetadata
from trrg_core.tables.delta import commit_parts
from trrg_core.tables.schema import shards_schema

FLOOR_S, GOAL_S = 1.5, 1.0


def bench_shell(labels: LabelTable, specs: Mapping[str, Mapping[str, Any]], rounds: int) -> bool:
    """CPU seconds of `trrg reslice` for each spec, in turn; the first round, which compiles byte code, is left out."""
    times: dict[str, list[float]] = {name: [] for name in specs}
    with tempfile.TemporaryDirectory() as folder:
        store = f"{folder}/store"
        _write_store(store, labels)
        for number in range(rounds + 1):
            for name, spec in specs.items():
                # another name is another slice, which is not found but made
                path = Path(folder) / "spec.yaml"
                path.write_text(json.dumps({**spec, "name": f"round-{number}"}))
                times[name].append(_cpu_s("reslice", str(path), "--store", store))
    print(f"{f'{labels.rows.num_rows} studies':28}{'CPU-s median':>13}{'best':>7}")
    for name, seconds in times.items():
        print(f"{name:28}{statistics.median(seconds[1:]):13.2f}{min(seconds[1:]):7.2f}")
    slowest = max(statistics.median(seconds[1:]) for seconds in times.values())
    passed = slowest <= FLOOR_S
    verdict = "PASS" if passed else "FAIL"
    print(f"{verdict}: the slowest re-slice from the shell takes {slowest:.2f} CPU-s (floor {FLOOR_S}, goal {GOAL_S})")
    return passed


def _write_store(uri: str, labels: LabelTable) -> None:
    """A version of `shards` without rows, and the copy of a label table that says that it has these."""
    store, label_set = open_store(uri), load_label_set("chexpert14")
    ref = commit_parts(store, "shards", [], shards_schema(label_set), CommitMetadata(fingerprint="bench"))
    with patch.object(label_table_cache, "read_label_table", return_value=_of_train(labels)):
        label_table_cache.load_label_table(store, ref, label_set.observations)


def _of_train(labels: LabelTable) -> LabelTable:
    """All studies as train ones, in the order in which a label table is stored."""
    rows = labels.rows
    train = pa.array(["train"] * rows.num_rows)
    rows = rows.set_column(rows.column_names.index("split"), "split", train)
    return join_label_tables([rows], labels.observations)


def _cpu_s(*words: str) -> float:
    # the byte code of the first round is kept for the others, as an installation keeps it
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-m", "flows.cli", *words]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"trrg {' '.join(words)} ended with {process.returncode}")
    return used.ru_utime + used.ru_stime
