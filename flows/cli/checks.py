"""Checks of this machine and installation; each gives what it found and, when it failed, what to do."""

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from trrg_core.errors import TrrgError
from trrg_core.extras import PACKAGES_OF_EXTRA, install_command
from trrg_core.storage.store import open_store

BASE_PACKAGES = ("numpy", "pyarrow", "deltalake", "duckdb")
FREE_GB = 5


@dataclass(frozen=True, kw_only=True)
class Check:
    """The outcome of one check."""

    name: str
    passed: bool
    detail: str


def run_checks(store: str) -> Iterator[Check]:
    """Run all checks, the cheapest first."""
    yield Check(name="python", passed=sys.version_info[:2] in ((3, 11), (3, 12)), detail=sys.version.split()[0])
    yield from (_package(name, "pip install trrg") for name in BASE_PACKAGES)
    for extra, packages in PACKAGES_OF_EXTRA.items():
        yield from _extra(extra, packages)
    yield from (_shadow(name) for name in ("trrg_core", "pipelines", "flows"))
    yield _java()
    yield _gpu()
    yield _disk()
    yield _store(store)


def _extra(extra: str, packages: tuple[str, ...]) -> Iterator[Check]:
    """The packages of an extra; only one line, and no failure, when the extra is not installed."""
    if importlib.util.find_spec(packages[0]) is None:
        yield Check(name=f"extra {extra}", passed=True, detail=f"not installed; to add it: {install_command(extra)}")
    else:
        yield from (_package(name, install_command(extra)) for name in packages)


def _package(name: str, command: str) -> Check:
    try:
        return Check(name=name, passed=True, detail=version(name))
    except PackageNotFoundError:
        return Check(name=name, passed=False, detail=f"not installed; to add it: {command}")


def _shadow(name: str) -> Check:
    """Whether `import name` gives this project's package, not one that another distribution installed."""
    spec = importlib.util.find_spec(name)
    expected = Path(__file__).parents[2] / name
    actual = Path(spec.origin).parent if spec and spec.origin else None
    passed = actual == expected
    return Check(name=f"import {name}", passed=passed, detail=f"{actual}" if passed else f"shadowed by {actual}")


def _java() -> Check:
    from trrg_core.metrics.java import JavaError, java_command

    try:
        return Check(name="java", passed=True, detail=java_command()[0])
    except JavaError as error:
        return Check(name="java", passed=False, detail=f"{error}; METEOR cannot be computed")


def _gpu() -> Check:
    if importlib.util.find_spec("torch") is None:
        return Check(name="gpu", passed=True, detail="not checked: that needs PyTorch")
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return Check(name="gpu", passed=True, detail=f"{count} CUDA devices" if count else "none; training runs on the CPU")


def _disk() -> Check:
    free = shutil.disk_usage(".").free / 1e9
    return Check(name="disk", passed=free >= FREE_GB, detail=f"{free:.0f} GB free, {FREE_GB} GB needed")


def _store(uri: str) -> Check:
    try:
        store = open_store(uri)
        store.write_bytes("check/probe", b"probe")
        store.delete("check")
    except (TrrgError, OSError) as error:
        return Check(name="store", passed=False, detail=f"{uri}: {error}")
    return Check(name="store", passed=True, detail=f"{store.uri} is writable")
