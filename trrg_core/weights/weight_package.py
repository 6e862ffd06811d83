"""The packages that carry weights: `packages.yaml` -> one `WeightPackage` each."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import yaml

from trrg_core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class WeightPackage:
    """One package of the index and the folder that is made of it."""

    name: str
    what: str
    package: str
    version: str
    sha256: str
    size_mb: int
    member: str
    conversion: str
    weights_sha256: str
    licence: str


@cache
def weight_packages() -> tuple[WeightPackage, ...]:
    """All packages, in the order of `packages.yaml`."""
    text = resources.files("trrg_core.weights").joinpath("packages.yaml").read_text("utf-8")
    return tuple(WeightPackage(**values) for values in yaml.safe_load(text))


def choose_packages(names: Sequence[str]) -> tuple[WeightPackage, ...]:
    """The packages of the folders `names`; all of them for none.

    Raises:
        ConfigError: for a name that is not among them.
    """
    known = {package.name: package for package in weight_packages()}
    for name in names:
        if name not in known:
            raise ConfigError(f"no weights are named {name!r}: expected {', '.join(known)}")
    return tuple(known[name] for name in names) if names else tuple(known.values())
