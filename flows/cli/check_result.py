"""The outcome of one check of `trrg check`."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Check:
    """What was found; `detail` also says what to do where it failed."""

    name: str
    passed: bool
    detail: str
