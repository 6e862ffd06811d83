"""The manifest of a model folder, which holds plain files only: no pickle, no code.

`write_manifest` finishes a folder; `check_folder` verifies it: file kinds, names and sha256 must all agree.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from trrg_core.errors import ConfigError

MANIFEST = "manifest.json"
FORMAT_VERSION = 2
_PLAIN = (".safetensors", ".json", ".yaml", ".txt")


def write_manifest(folder: Path) -> None:
    """Write `manifest.json`, last: the sha256 of every file. Files of kinds that are never read are removed first."""
    for file in _files(folder):
        if file.suffix not in _PLAIN:
            file.unlink()  # model cards that libraries write
    files = {file.relative_to(folder).as_posix(): sha256_of(file) for file in _files(folder) if file.name != MANIFEST}
    write_json(folder / MANIFEST, {"format": FORMAT_VERSION, "files": files})


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds anything but the plain files its manifest names, unchanged.

    Raises:
        ConfigError: naming the first file that is of a wrong kind, missing, added or changed.
    """
    if not (folder / MANIFEST).is_file():
        raise ConfigError(f"{folder} has no {MANIFEST}: not a finished model folder")
    for file in _files(folder):
        if file.suffix not in _PLAIN or file.is_symlink():
            raise ConfigError(f"{file} is refused: a model folder holds only {', '.join(_PLAIN)} files, and no links")
    manifest = read_json(folder / MANIFEST)
    if manifest.get("format") != FORMAT_VERSION:
        raise ConfigError(
            f"{folder}: manifest format {manifest.get('format')!r}, expected {FORMAT_VERSION}; train it again"
        )
    present = {file.relative_to(folder).as_posix() for file in _files(folder)} - {MANIFEST}
    if not isinstance(manifest.get("files"), dict):
        raise ConfigError(f"{folder / MANIFEST} names no files: it is damaged")
    differing = sorted(present ^ set(manifest["files"]))
    if differing:
        name = differing[0]
        raise ConfigError(f"{folder}: {name} is {'not in the manifest' if name in present else 'missing'}")
    for name, digest in manifest["files"].items():
        if sha256_of(folder / name) != digest:
            raise ConfigError(f"{folder / name} was changed: its sha256 is not that of the manifest")


def write_json(path: Path, value: Any) -> None:
    """`value` as readable JSON."""
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", "utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`.

    Raises:
        ConfigError: if it holds none.
    """
    try:
        value = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not JSON: the file is damaged, or of another kind") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{path} is not a JSON object: the file is damaged, or of another kind")
    return value


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_symlink() or path.is_file())


def sha256_of(file: Path) -> str:
    """The sha256 of the content of `file`, hexadecimal."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
