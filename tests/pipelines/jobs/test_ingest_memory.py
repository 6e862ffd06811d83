"""A corpus larger than the object store: rows are written where they are made, so it does not have to fit."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.pipelines.tree import make_tree
from trrg_core.imaging.decode import encode_jpeg
from trrg_core.storage.store import open_store
from trrg_core.tables.delta import list_parts
from trrg_core.tables.table_ref import TableRef

ROOT = Path(__file__).parents[3]
SCRIPT = """
import resource, sys
from pipelines.jobs import ingest
from trrg_core.config.load import load_config
from trrg_core.storage.store import open_store

ingest.STUDIES_PER_FILE, ingest.READ_HERE = 32, 0
words = ["ray.local_cpus=2", "ray.object_store_mb=80", "ingest.max_side_px=512"]
for root, store in zip(sys.argv[1::2], sys.argv[2::2]):
    ingest.run(load_config("tiny", [*words, f"source.root={root}"]), open_store(store), {})
    print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def corpus_of_noise(folder: Path, num_studies: int) -> list[str]:
    """A tree of images of noise, 200 kB each, and the store that it goes to."""
    tree = make_tree(folder / "tree", num_studies)
    random = np.random.default_rng(0)
    for image in (tree.root / "files").rglob("*.jpg"):
        image.write_bytes(encode_jpeg(random.integers(0, 256, (512, 512)).astype(np.uint8), 95))
    return [str(tree.root), str(folder / "store")]


def ingested_mb(store: str, num_studies: int) -> int:
    parts = list_parts(open_store(store), TableRef.parse("studies@0"))
    assert sum(part.num_rows for part in parts) == num_studies
    return sum(part.size for part in parts) // 10**6


@pytest.mark.ray
@pytest.mark.slow
def test_a_corpus_larger_than_the_object_store_takes_no_more_memory(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    (tmp_path / "large").mkdir()
    small, large = corpus_of_noise(tmp_path / "small", 64), corpus_of_noise(tmp_path / "large", 640)
    # one process for both, with one Ray: its peak after the large one is never less than one of its own would be
    command = [sys.executable, "-c", SCRIPT, *small, *large]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-2000:]
    small_peak, large_peak = (int(line.split()[1]) // 1000 for line in done.stdout.splitlines() if "peak" in line)
    assert ingested_mb(small[1], 64) < 40
    assert ingested_mb(large[1], 640) > 130, "more than the 80 MB of the object store"
    assert large_peak - small_peak < 40, "the driver holds ids and paths, not rows"
