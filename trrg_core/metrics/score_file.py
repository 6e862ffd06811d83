"""The file `scores.json` of an `evaluate` run: all scores of every system, the model first."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trrg_core.errors import DataError

SCORES_FILE = "scores.json"


@dataclass(frozen=True, kw_only=True)
class SystemScores:
    """The part of one system's entry that the model card and the gate read; `absent` has the scores without a value."""

    system: str
    section: str
    num_studies: int
    num_patients: int
    values: Mapping[str, float]
    absent: Mapping[str, str]
    conventions: Mapping[str, str]


def scores_to_bytes(systems: Sequence[Mapping[str, Any]]) -> bytes:
    """The file's content, from `Scores.to_json` of each system."""
    return json.dumps(list(systems), indent=1).encode()


def scores_from_bytes(data: bytes) -> list[SystemScores]:
    """The systems of a file that `scores_to_bytes` wrote.

    Raises:
        DataError: `damaged_record`, if it holds none.
    """
    fields = SystemScores.__dataclass_fields__
    try:
        found = [SystemScores(**{name: item[name] for name in fields}) for item in json.loads(data)]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError("damaged_record", f"no scores ({type(error).__name__})") from error
    if not found:
        raise DataError("damaged_record", "no scores of any system")
    return found
