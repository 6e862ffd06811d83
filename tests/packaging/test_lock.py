import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "constraints.txt").read_text("utf-8")
TORCH = (ROOT / "infra" / "setup" / "torch.txt").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def _entries() -> list[str]:
    return [text for text in re.split(r"^(?=[A-Za-z0-9])", LOCK, flags=re.MULTILINE) if not text.startswith("#")]


def test_every_locked_package_has_a_hash() -> None:
    entries = _entries()
    assert len(entries) > 200
    assert not [text for text in entries if "--hash=sha256:" not in text]


def test_the_lock_satisfies_every_declared_dependency() -> None:
    pins = re.findall(r"^([\w.-]+)==([^\s;]+)", LOCK + TORCH, flags=re.MULTILINE)
    versions = {canonicalize_name(name): version for name, version in pins}
    extras = PROJECT["optional-dependencies"].values()
    declared = [Requirement(text) for text in (*PROJECT["dependencies"], *(text for extra in extras for text in extra))]
    unmet = [
        str(wanted)
        for wanted in declared
        if wanted.name != "trrg" and not wanted.specifier.contains(versions.get(canonicalize_name(wanted.name), "0"))
    ]
    assert not unmet, "run `make lock`"


def test_pytorch_and_its_cuda_packages_are_not_in_the_lock() -> None:
    assert not re.findall(r"^(?:torch|triton|nvidia|cuda)\b.*==", LOCK, flags=re.MULTILINE)


def test_the_lock_names_no_index_and_no_path() -> None:
    assert not re.findall(r"://|index-url|find-links|@", LOCK)
