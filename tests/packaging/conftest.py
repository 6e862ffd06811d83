"""The project's wheel, built once."""

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# caches and former builds: setuptools would pack what a stale build/lib still has
NOT_SOURCE = shutil.ignore_patterns(".*", "build", "dist", "demo", "trrg-store", "*.egg-info", "__pycache__")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the tree without the network."""
    if find_spec("setuptools") is None:
        pytest.skip("no setuptools in this environment to build a wheel with")
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, folder / "tree", ignore=NOT_SOURCE, symlinks=True)
    command = ["-m", "pip", "wheel", ".", "--no-deps", "--no-build-isolation", "--no-index", "-q", "-w", str(folder)]
    built = subprocess.run([sys.executable, *command], cwd=folder / "tree", capture_output=True, text=True)
    assert built.returncode == 0, built.stderr[-3000:]
    (path,) = folder.glob("*.whl")
    return path
