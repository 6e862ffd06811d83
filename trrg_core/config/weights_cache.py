"""The cache of weights made by `trrg weights`: `weights:NAME` -> a Hugging Face folder on this machine."""

import os
from pathlib import Path

from trrg_core.errors import ConfigError

SCHEME = "weights:"
CACHE_VARIABLE = "TRRG_WEIGHTS"


def weights_cache() -> Path:
    """The folder of `TRRG_WEIGHTS`, else `trrg/weights` in the cache folder of the user."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    return user_cache() / "weights"


def user_cache() -> Path:
    """The folder `trrg` in the cache folder of the user: all in it can be made again."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "trrg"


def is_path(pretrained: str) -> bool:
    """Whether `pretrained` names a folder by its path, and no model of the hub."""
    return pretrained.startswith(("/", "./", "../", "~"))


def resolve_pretrained(pretrained: str) -> str:
    """`pretrained` itself, or the folder that `weights:NAME` stands for.

    Raises:
        ConfigError: if the folder does not exist, or the name could leave the cache.
    """
    if not pretrained.startswith(SCHEME):
        return pretrained
    name = pretrained.removeprefix(SCHEME)
    if not name or name != Path(name).name or name.startswith("."):
        raise ConfigError(f"{pretrained!r}: expected {SCHEME}NAME, e.g. {SCHEME}all-minilm-l6-v2")
    folder = weights_cache() / name
    if not (folder / "config.json").is_file():
        raise ConfigError(
            f"{pretrained} is not in {weights_cache()}: run `make weights` (or `trrg weights {name}`) on this machine, "
            f"or set {CACHE_VARIABLE} to the folder where it is"
        )
    return str(folder)
