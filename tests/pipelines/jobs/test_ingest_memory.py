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
words = ["ray.local_cpus=2", "ray.object_store_mb=80", "ingest.max_side_px=512", f"source.root={sys.argv[1]}"]
ingest.run(load_config("tiny", words), open_store(sys.argv[2]), {})
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def ingested(folder: Path, num_studies: int) -> tuple[int, int]:
    """Bytes of `studies` and the driver's peak, both in MB, of a corpus of noise, 200 kB an image."""
    tree = make_tree(folder / "tree", num_studies)
    random = np.random.default_rng(0)
    for image in (tree.root / "files").rglob("*.jpg"):
        image.write_bytes(encode_jpeg(random.integers(0, 256, (512, 512)).astype(np.uint8), 95))
    command = [sys.executable, "-c", SCRIPT, str(tree.root), str(folder / "store")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-2000:]
    parts = list_parts(open_store(str(folder / "store")), TableRef.parse("studies@0"))
    assert sum(part.num_rows for part in parts) == num_studies
    return sum(part.size for part in parts) // 10**6, int(done.stdout.split()[-1]) // 1000


@pytest.mark.ray
@pytest.mark.slow
def test_a_corpus_larger_than_the_object_store_takes_no_more_memory(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    (tmp_path / "large").mkdir()
    small, small_peak = ingested(tmp_path / "small", 64)
    large, large_peak = ingested(tmp_path / "large", 640)
    assert small < 40
    assert large > 130, "more than the 80 MB of the object store"
    assert large_peak - small_peak < 40, "the driver holds ids and paths, not rows"
