"""What tests share: the licensed data when it is there, and a quiet environment for child processes."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of licensed data; the test is skipped with the reason when it is absent."""
    folder = Path(os.environ.get("TRRG_REAL_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no licensed data at {folder}: set TRRG_REAL_DATA")
    return folder
