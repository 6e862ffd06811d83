"""What tests share: the licensed data when it is there, and a quiet environment for child processes."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real_data import REAL_DATA


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of licensed data; the test is skipped with the reason when it is absent."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"no licensed data at {REAL_DATA}: set TRRG_REAL_DATA")
    return REAL_DATA


@pytest.fixture(autouse=True)
def no_leash() -> Iterator[None]:
    """No leash of one test (`flows.leash`, set by `trrg run`) is inherited by the commands that another one starts."""
    os.environ.pop("TRRG_LEASH", None)
    yield
    os.environ.pop("TRRG_LEASH", None)
