"""Is this machine fit? Each check says what it found and, when it failed, what to do."""

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from trrg_core.errors import TrrgError
from trrg_core.storage.store import open_store

PACKAGES = ("ray", "torch", "transformers", "peft", "deepspeed", "prefect", "mlflow", "deltalake", "scispacy", "s3fs")
FREE_GB = 5


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing looked at."""

    name: str
    passed: bool
    detail: str


def run_checks(store: str) -> Iterator[Check]:
    """All checks, cheapest first."""
    yield Check(name="python", passed=sys.version_info[:2] in ((3, 11), (3, 12)), detail=sys.version.split()[0])
    yield from (_package(name) for name in PACKAGES)
    yield from (_shadow(name) for name in ("trrg_core", "pipelines", "flows"))
    yield _java()
    yield _gpu()
    yield _disk()
    yield _store(store)


def _package(name: str) -> Check:
    try:
        return Check(name=name, passed=True, detail=version(name))
    except PackageNotFoundError:
        return Check(name=name, passed=False, detail="not installed; run `make setup`")


def _shadow(name: str) -> Check:
    """Another distribution's top-level `flows` would be imported in place of ours."""
    found = importlib.util.find_spec(name)
    ours = Path(__file__).parents[2] / name
    here = Path(found.origin).parent if found and found.origin else None
    return Check(
        name=f"import {name}", passed=here == ours, detail=f"{here}" if here == ours else f"shadowed by {here}"
    )


def _java() -> Check:
    from trrg_core.metrics.java import JavaError, java_command

    try:
        return Check(name="java", passed=True, detail=java_command()[0])
    except JavaError as error:
        return Check(name="java", passed=False, detail=f"{error}; METEOR would be left out")


def _gpu() -> Check:
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return Check(name="gpu", passed=True, detail=f"{count} CUDA devices" if count else "none; training runs on the CPU")


def _disk() -> Check:
    free = shutil.disk_usage(".").free / 1e9
    return Check(name="disk", passed=free >= FREE_GB, detail=f"{free:.0f} GB free, {FREE_GB} GB wanted")


def _store(uri: str) -> Check:
    try:
        store = open_store(uri)
        store.write_bytes("check/probe", b"probe")
        store.delete("check")
    except (TrrgError, OSError) as error:
        return Check(name="store", passed=False, detail=f"{uri}: {error}")
    return Check(name="store", passed=True, detail=f"{store.uri} can be written")
