"""Where the weights of a named backbone came from: name, revision and the sha256 of each file, for the model folder."""

import logging
import re
from pathlib import Path
from typing import Any

from transformers.utils.hub import cached_file

from trrg_core.config.settings import EncoderConfig
from trrg_core.config.weights_cache import is_path, resolve_pretrained
from trrg_core.errors import ConfigError
from trrg_core.model.manifest import sha256_of

logger = logging.getLogger(__name__)

_SHA256 = re.compile(r"[0-9a-f]{64}")


def origin_of(encoder: EncoderConfig) -> dict[str, Any] | None:
    """Name, revision and sha256 of each safetensors file of a named backbone; None for one built from values.

    The revision is the commit of the copy in the hub's cache, and empty for a folder.

    Raises:
        ConfigError: if the weights are not on this machine.
    """
    if not encoder.pretrained:
        return None
    folder = Path(resolve_pretrained(encoder.pretrained))
    is_folder = folder.is_dir()
    if not is_folder:
        folder = _cached_folder(encoder)
    files = {file.name: _digest(file) for file in sorted(folder.glob("*.safetensors"))}
    return {"pretrained": encoder.pretrained, "revision": "" if is_folder else folder.name, "files": files}


def check_origin(expected: dict[str, Any] | None, encoder: EncoderConfig) -> None:
    """Check that the weights of `encoder` on this machine are those that `expected` names.

    Raises:
        ConfigError: if a file differs, or they are not here.
    """
    if not expected:
        return
    try:
        found = origin_of(encoder)
    except ConfigError as error:
        raise ConfigError(f"the model that the adapters were trained on is missing: {error}") from error
    if found is None or found["files"] != expected["files"]:
        raise ConfigError(
            f"the weights of {encoder.pretrained!r} on this machine are not those that the adapters were trained on "
            f"(revision {expected['revision'] or 'unknown'})"
        )


def check_pinned(encoder: EncoderConfig) -> None:
    """Check that the weight files of `encoder` are those that its `sha256` names, if it names any.

    Raises:
        ConfigError: if a file differs, is missing, or is not named.
    """
    if not encoder.sha256:
        return
    origin = origin_of(encoder)
    found = {} if origin is None else origin["files"]
    wrong = sorted(name for name in found.keys() | encoder.sha256 if found.get(name) != encoder.sha256.get(name))
    if wrong:
        name = wrong[0]
        raise ConfigError(
            f"{encoder.pretrained!r}: {name} has the sha256 {found.get(name, 'of no file')}, expected "
            f"{encoder.sha256.get(name, 'none')} (`sha256` in the configuration): these are not the pinned weights"
        )


def warn_of_moving_weights(encoder: EncoderConfig, setting: str) -> None:
    """Warn if `encoder`, which is that of `setting`, follows the main branch of a model of the hub, and say how to not.

    The commit that was used is in the model folder, under `origins`.
    """
    if not encoder.pretrained or encoder.revision or encoder.sha256 or _is_folder(encoder):
        return
    try:
        line = f"pin the copy in the cache with --set {setting}.revision={_cached_folder(encoder).name}"
    except ConfigError:
        line = f"pin one with --set {setting}.revision=COMMIT"
    logger.warning(
        "%s: %r has no revision: its main branch may bring other weights another day, which the same run would not "
        "know; %s",
        *(setting, encoder.pretrained, line),
    )


def _is_folder(encoder: EncoderConfig) -> bool:
    return is_path(encoder.pretrained) or Path(resolve_pretrained(encoder.pretrained)).is_dir()


def _cached_folder(encoder: EncoderConfig) -> Path:
    if is_path(encoder.pretrained):
        raise ConfigError(
            f"the weights were in the folder {encoder.pretrained!r}, which is gone: move it back, or put a link there"
        )
    revision = {"revision": encoder.revision} if encoder.revision else {}
    try:
        return Path(cached_file(encoder.pretrained, "config.json", local_files_only=True, **revision)).parent
    except OSError as error:
        raise ConfigError(
            f"{encoder.pretrained!r} is no folder in {Path.cwd()}, and not in the cache of the hub: if it was a "
            "folder, put it or a link to it there, or start from where it is"
        ) from error


def _digest(file: Path) -> str:
    # the hub's cache links to files that are named by their sha256
    target = file.resolve().name
    return target if file.is_symlink() and _SHA256.fullmatch(target) else sha256_of(file)
