"""What tests share: the licensed data when it is there, and a quiet environment for child processes."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.real_data import REAL_DATA

settings.register_profile("untimed", deadline=None)  # an example may take long on a busy machine
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of licensed data; the test is skipped with the reason when it is absent."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"no licensed data at {REAL_DATA}: set TRRG_REAL_DATA")
    return REAL_DATA


@pytest.fixture
def withdrawal_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key of withdrawals of a test."""
    monkeypatch.setenv("TRRG_WITHDRAWAL_KEY", "an invented secret of a test")


# what `trrg run` sets for the processes that it starts
_OF_A_RUN = (
    "TRRG_LEASH",
    "PREFECT_SERVER_API_AUTH_STRING",
    "PREFECT_API_AUTH_STRING",
    "PREFECT_SERVER_CORS_ALLOWED_ORIGINS",
    "PREFECT_SERVER_CSRF_PROTECTION_ENABLED",
)


@pytest.fixture(autouse=True)
def no_inherited_run() -> Iterator[None]:
    """No leash and no password of a run in one test reaches the commands that another one starts."""
    os.environ.pop("TRRG_LEASH", None)
    before = {name: os.environ[name] for name in _OF_A_RUN if name in os.environ}
    yield
    for name in _OF_A_RUN:
        os.environ.pop(name, None)
    os.environ.update(before)
