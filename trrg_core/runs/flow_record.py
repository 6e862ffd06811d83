"""What each run of a flow did: its stages, the drift it met, the model it registered, or the error that ended it.

One file per run, written again after every stage, so that a run that was killed is seen to have no end. References,
counts and reasons; never report text.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any, Self

from trrg_core.errors import DataError
from trrg_core.storage.folders import FLOW_FOLDER
from trrg_core.storage.store import Store
from trrg_core.storage.stored_record import read_record

_LAST_MS = 253_402_300_799_999  # the end of the year 9999
MAX_CAUSE = 600  # characters kept of the message of an error


class Outcome(StrEnum):
    """How a run ended; UNFINISHED while it runs, and for ever after it was killed; STOPPED when it was asked to end."""

    PROMOTED = "promoted"
    REFUSED = "refused"
    NOTHING_NEW = "nothing new"
    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"
    UNFINISHED = "unfinished"


@dataclass(frozen=True, kw_only=True)
class StageRecord:
    """One finished stage: its result, its numbers, rows set aside by reason, and whether an earlier result was used."""

    job: str
    ref: str = ""
    seconds: float = 0.0
    reused: bool = False
    counts: Mapping[str, float] = field(default_factory=dict)
    rejects: Mapping[str, int] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """The record of a job's result in plain values; what it does not have keeps its default."""
        return cls(**_known(cls, values))


@dataclass(frozen=True, kw_only=True)
class DriftRecord:
    """The comparison of `shards` with `baseline`, the data of the champion; `largest` are the first alarms in words."""

    baseline: str = ""
    shards: str = ""
    alarms: int = 0
    largest: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FlowRecord:
    """One run of a flow. `stage` is what runs now, or where it failed; times are Unix, in milliseconds.

    `error` is the kind of the error and `reason` its short code; `cause` is its message, and empty for an error that
    is not TRRG's own, whose message may hold anything.
    """

    run: str
    started_ms: int
    first: str = ""
    last: str = ""
    finished_ms: int = 0
    outcome: Outcome = Outcome.UNFINISHED
    stage: str = ""
    stages: tuple[StageRecord, ...] = ()
    drift: DriftRecord | None = None
    error: str = ""
    reason: str = ""
    cause: str = ""

    @property
    def path(self) -> str:
        """The file of the record in its store; names sort by time."""
        return f"{FLOW_FOLDER}/{self.started_ms:015d}-{re.sub(r'[^A-Za-z0-9-]', '', self.run)[:64]}.json"

    @property
    def is_night(self) -> bool:
        """Whether it reads the source or registers a model, unlike a run that only evaluates or compares settings."""
        return self.first == "ingest" or self.last == "register"

    def find_stage(self, job: str) -> StageRecord | None:
        """The finished stage `job`, if there is one."""
        return next((stage for stage in self.stages if stage.job == job), None)


@dataclass(frozen=True, kw_only=True)
class FlowHistory:
    """The records of a store, newest first, and the files among them that cannot be read."""

    records: tuple[FlowRecord, ...] = ()
    unreadable: tuple[str, ...] = ()


def outcome_of(stages: tuple[StageRecord, ...]) -> Outcome:
    """The outcome of a run that ended without an error."""
    if stages and all(stage.reused for stage in stages):
        return Outcome.NOTHING_NEW
    registered = next((stage for stage in stages if stage.job == "register"), None)
    if registered is None:
        return Outcome.FINISHED
    return Outcome.PROMOTED if registered.notes.get("alias") == "champion" else Outcome.REFUSED


def write_flow_record(store: Store, record: FlowRecord) -> None:
    """Write the record in place of the one of the same run. Raises as `Store.write_bytes`."""
    store.write_bytes(record.path, json.dumps(asdict(record), sort_keys=True).encode())


def read_flow_history(store: Store, limit: int = 0) -> FlowHistory:
    """The records of a store, newest first; the newest `limit` of them if it is given."""
    paths = sorted(store.list(FLOW_FOLDER), reverse=True) if store.exists(FLOW_FOLDER) else []
    named = [path for path in paths if path.endswith(".json")]
    records, unreadable = [], []
    for path in named[:limit] if limit else named:
        record = _read(store, path)
        if record is None:
            unreadable.append(path)
        else:
            records.append(record)
    return FlowHistory(records=tuple(records), unreadable=tuple(unreadable))


def _known(form: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a dataclass; a newer version of TRRG may have written more."""
    return {one.name: values[one.name] for one in fields(form) if one.name in values}


def _read(store: Store, path: str) -> FlowRecord | None:
    """The record in a file; None if the file holds none."""
    try:
        values = read_record(store, path, FlowRecord)
        kept = _known(FlowRecord, values)
        drift = kept.pop("drift", None)
        record = FlowRecord(
            **{
                **kept,
                "outcome": Outcome(kept["outcome"]),
                "stages": tuple(StageRecord.of(stage) for stage in kept.get("stages", ())),
                "drift": DriftRecord(**{**_known(DriftRecord, drift), "largest": tuple(drift["largest"])})
                if drift
                else None,
            }
        )
    except (DataError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return record if all(0 <= time <= _LAST_MS for time in (record.started_ms, record.finished_ms)) else None
