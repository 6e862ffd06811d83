"""References to table versions: `studies@3` is version 3 of the table `studies` of a store."""

import re
from dataclasses import dataclass
from typing import Self

from trrg_core.errors import ConfigError

_VERSION = re.compile("[0-9]{1,18}")  # of a Delta log; `\\d` and isdigit() also take digits of other scripts
TABLES = ("studies", "reports", "shards", "slices", "predictions", "rejects")


@dataclass(frozen=True, kw_only=True)
class TableRef:
    """One version of one table of a store: `studies@3`."""

    name: str
    version: int

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The reference that `text` spells.

        Raises:
            ConfigError: if `text` is not `name@version`.
        """
        name, separator, version = text.rpartition("@")
        if not separator or not _VERSION.fullmatch(version) or name not in TABLES:
            raise ConfigError(
                f"{text[:100]!r} is no table reference: expected NAME@VERSION, NAME one of {', '.join(TABLES)}"
            )
        return cls(name=name, version=int(version))
