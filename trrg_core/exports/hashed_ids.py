"""Ids of patients, studies and images as keyed hashes, so that an export can be joined but not traced back.

The key comes from the environment and is in neither the store nor the export: without it, the few digits of an id could
be found from its hash by trying all. It is another key than that of the record of withdrawals, so that nobody who has
both an export and a store can tell by comparing hashes who withdrew.
"""

import hashlib
import hmac
import os
from dataclasses import dataclass, field

from trrg_core.errors import ConfigError

KEY_VARIABLE = "TRRG_EXPORT_KEY"
_MIN_KEY_CHARACTERS = 16
_HEX_DIGITS = 32  # 128 bits: no two of any number of ids that exist share one


@dataclass(frozen=True, kw_only=True)
class IdHasher:
    """Hashes ids of each kind (`patient`, `study`, `image`) with one secret."""

    secret: bytes = field(repr=False)

    def hash_id(self, kind: str, text: str) -> str:
        """The keyed hash of an id, 32 hex digits; empty for an empty id."""
        if not text:
            return ""
        return hmac.digest(self.secret, f"export {kind}\0{text}".encode(), hashlib.sha256).hex()[:_HEX_DIGITS]

    @property
    def check(self) -> str:
        """The same for all exports whose ids were hashed with the same key."""
        return self.hash_id("check", "key")


def read_export_key() -> IdHasher:
    """The hasher with the key from the environment.

    Raises:
        ConfigError: if the key is missing or short.
    """
    text = os.environ.get(KEY_VARIABLE, "")
    if len(text) < _MIN_KEY_CHARACTERS:
        raise ConfigError(
            f"set {KEY_VARIABLE} in the environment to a secret of at least {_MIN_KEY_CHARACTERS} characters: ids are "
            "hashed with it, and exports made with the same secret can be joined"
        )
    return IdHasher(secret=text.encode())
