"""The record of optimizer steps that were skipped, since their loss or gradient was not finite."""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from trrg_core.errors import DataError
from trrg_core.runs.checkpoints import list_checkpoints
from trrg_core.storage.store import Store

logger = logging.getLogger(__name__)

FILE = "bad_steps.json"


@dataclass(frozen=True, kw_only=True)
class BadStep:
    """A skipped step: its number, what was not finite ("loss" or "gradient"), and the studies of all ranks."""

    step: int
    what: str
    study_ids: tuple[str, ...]


@dataclass(frozen=True)
class BadStepRecord:
    """Writes bad steps into the run's folder `path`: `bad_steps.json`. Only rank 0 uses it."""

    store: Store
    path: str

    def write(self, steps: Sequence[BadStep]) -> None:
        """Write all bad steps so far; study ids, but no text."""
        self.store.write_bytes(f"{self.path}/{FILE}", json.dumps([asdict(step) for step in steps]).encode())

    def read(self, *, before: int) -> list[BadStep]:
        """The bad steps that earlier attempts recorded before step `before`; none if there is no record to read."""
        try:
            stored = json.loads(self.store.read_bytes(f"{self.path}/{FILE}"))
            steps = [BadStep(**{**one, "study_ids": tuple(one["study_ids"])}) for one in stored]
            return [one for one in steps if one.step < before]
        except (DataError, ValueError, TypeError, KeyError):
            return []

    def last_good(self) -> str:
        """The newest checkpoint of the run, for an error message."""
        newest = next(iter(list_checkpoints(self.store, f"{self.path}/checkpoints")), None)
        return f"the last good checkpoint is {newest.path}" if newest else "there is no checkpoint yet"
