"""A folder of pretrained weights -> a digest of its files: the same under any path, another once a file changes.

The digests of large files are kept in the user's cache folder, with what the file system says of each file.
"""

import hashlib
import json
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from trrg_core.config.settings import EncoderConfig
from trrg_core.config.weights_cache import is_path, resolve_pretrained, user_cache
from trrg_core.errors import ConfigError
from trrg_core.model.manifest import sha256_of

_MIN_KEPT_BYTES = 2**24  # smaller files are hashed faster than it takes to trust a record
_MIN_AGE_S = 2.0  # a file that was just written may be written again with the same size and time
# never read from the folder of a backbone: texts for people, and weights that are no safetensors
_IGNORED = (".md", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".gguf")


def by_content(encoder: EncoderConfig) -> EncoderConfig:
    """`encoder` with a digest of the files in place of the path of a folder, for fingerprints.

    One that names a model of the hub, or a folder that is not on this machine, is returned as it is.

    Raises:
        ConfigError: if a file of the folder cannot be read.
    """
    if not encoder.pretrained:
        return encoder
    folder = Path(resolve_pretrained(encoder.pretrained))
    if not folder.is_dir():
        return encoder
    return encoder.model_copy(update={"pretrained": f"sha256:{folder_digest(folder)}"})


def check_folder_exists(encoder: EncoderConfig, setting: str) -> None:
    """Check that a folder that `encoder`, which is that of `setting`, names by its path is on this machine.

    Raises:
        ConfigError: if there is none.
    """
    name = encoder.pretrained
    if is_path(name) and not Path(name).is_dir():
        raise ConfigError(f"{setting}.pretrained={name!r}: there is no such folder")


def folder_digest(folder: Path) -> str:
    """The sha256 over names and contents of the files that may be read from `folder`, without those of subfolders.

    Raises:
        ConfigError: if one cannot be read.
    """
    kept = _read_kept()
    found: dict[str, list[object]] = {}
    digest = hashlib.sha256()
    try:
        for file in sorted(folder.iterdir()):
            if file.is_file() and file.suffix not in _IGNORED and not file.name.startswith("."):
                digest.update(f"{file.name}\0{_digest(file, kept, found)}\0".encode())
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}: the weights cannot be read") from error
    if found:
        _write_kept({**kept, **found})
    return digest.hexdigest()


def _digest(file: Path, kept: dict[str, list[object]], found: dict[str, list[object]]) -> str:
    """The sha256 of `file`, taken from `kept` where the file is unchanged; a new one goes into `found`."""
    state, path = file.stat(), str(file.resolve())
    mark = [state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]
    match kept.get(path):
        case [*known, str(sha256)] if known == mark:
            return sha256
    sha256 = sha256_of(file)
    if state.st_size >= _MIN_KEPT_BYTES and time.time() - max(state.st_mtime, state.st_ctime) > _MIN_AGE_S:
        found[path] = [*mark, sha256]
    return sha256


def _kept_file() -> Path:
    return user_cache() / "digests.json"


def _read_kept() -> dict[str, list[object]]:
    try:
        kept = json.loads(_kept_file().read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _write_kept(kept: dict[str, list[object]]) -> None:
    """Write the record in one step; where that is not possible, files are hashed again the next time."""
    path = _kept_file()
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}")
        with os.fdopen(handle, "w") as file:
            json.dump(kept, file)
        os.replace(temporary, path)
