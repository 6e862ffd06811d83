"""HMACs of manifests: sha256 lists that lie beside their files show damage, and only a key elsewhere shows forgery.

The key is a secret in the environment or in a file. It never lies in the store, where whoever can change a checkpoint
could read it.
"""

import hashlib
import hmac
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trrg_core.errors import ConfigError

KEY_VARIABLE = "TRRG_MANIFEST_KEY"
SETTING = "engine.manifest_key_file"
MIN_KEY_CHARACTERS = 32
_MAX_KEY_BYTES = 4096  # more is no key: a device or a wrong file


@dataclass(frozen=True, kw_only=True)
class ManifestKey:
    """The secret of the HMACs."""

    secret: bytes = field(repr=False)

    def seal(self, kind: str, values: Mapping[str, Any]) -> str:
        """The HMAC-SHA-256 of JSON values, 64 hex digits; `kind` keeps it from counting for anything else."""
        text = json.dumps([kind, dict(values)], sort_keys=True, separators=(",", ":"))
        return hmac.digest(self.secret, text.encode(), hashlib.sha256).hex()

    def agrees(self, seal: object, kind: str, values: Mapping[str, Any]) -> bool:
        """Whether `seal` is what this key gives; False for anything that is not a text."""
        # compared as bytes: a text that is not ASCII would raise
        return isinstance(seal, str) and hmac.compare_digest(
            seal.encode("utf-8", "replace"), self.seal(kind, values).encode()
        )


def read_manifest_key(key_file: str = "", store_uri: str = "") -> ManifestKey | None:
    """The key in the environment variable TRRG_MANIFEST_KEY, else in `key_file`; None when neither is set.

    Args:
        key_file: path of a file with the key alone; `engine.manifest_key_file`.
        store_uri: the store whose manifests it seals.

    Raises:
        ConfigError: if the key is too short, or its file cannot be read or lies in the store.
    """
    text, where = os.environ.get(KEY_VARIABLE, ""), KEY_VARIABLE
    if not text and not key_file:
        return None
    if not text:
        text, where = _read(key_file, store_uri), f"{SETTING} {key_file}"
    secret = text.strip().encode("utf-8", "surrogateescape")
    if len(secret) < MIN_KEY_CHARACTERS:
        raise ConfigError(
            f"{where} holds {len(secret)} characters, expected at least {MIN_KEY_CHARACTERS}: make a key with "
            "`openssl rand -hex 32`"
        )
    return ManifestKey(secret=secret)


def _read(key_file: str, store_uri: str) -> str:
    path = Path(key_file).expanduser()
    if store_uri and "://" not in store_uri and path.resolve().is_relative_to(Path(store_uri).resolve()):
        raise ConfigError(
            f"{SETTING} {key_file} lies in the store {store_uri}: keep it where writers of it cannot read"
        )
    try:
        if not path.is_file():  # not a device or a FIFO, which would hang
            raise ConfigError(f"{SETTING} {key_file}: there is no such file on this machine")
        with path.open("rb") as file:
            return file.read(_MAX_KEY_BYTES).decode("utf-8", "surrogateescape")
    except OSError as error:
        raise ConfigError(f"{SETTING} {key_file} cannot be read: {error.strerror}") from error
