"""The record of a run of a flow in its store, kept as the run goes on, for `trrg dashboard` and the metrics.

Best effort: a store that does not take the record fails no run.
"""

import logging
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from pipelines.records.json_log import log_ids
from pipelines.records.tracing import span
from trrg_core.errors import TrrgError
from trrg_core.runs.flow_record import (
    MAX_CAUSE,
    DriftRecord,
    FlowRecord,
    Outcome,
    StageRecord,
    outcome_of,
    write_flow_record,
)
from trrg_core.storage.store import Store

logger = logging.getLogger(__name__)


class FlowLog:
    """Writes the record of one run: a new version of it with each change."""

    def __init__(self, store: Store, record: FlowRecord) -> None:
        self._store, self.record = store, record

    def start_stage(self, job: str) -> None:
        """Say which stage runs."""
        self._keep(replace(self.record, stage=job))

    def finish_stage(self, values: Mapping[str, Any]) -> None:
        """Add the result of a stage, as plain values."""
        self._keep(replace(self.record, stages=(*self.record.stages, StageRecord.of(values))))

    def note_drift(self, values: Mapping[str, Any]) -> None:
        """Add what was found when the data was compared with that of the champion."""
        self._keep(replace(self.record, drift=DriftRecord(**{**values, "largest": tuple(values["largest"])})))

    def end(self, error: BaseException | None = None) -> None:
        """Say how the run ended."""
        ended = replace(self.record, finished_ms=_now_ms())
        if error is None:
            self._keep(replace(ended, stage="", outcome=outcome_of(ended.stages)))
            return
        cause = " ".join(str(error).split())[:MAX_CAUSE] if isinstance(error, TrrgError) else ""
        reason = str(getattr(error, "reason", "")) if isinstance(error, TrrgError) else ""
        # a person who cancels it, Ctrl-C, or a machine that shuts down
        outcome = Outcome.FAILED if isinstance(error, Exception) else Outcome.STOPPED
        self._keep(
            replace(ended, outcome=outcome, error=type(error).__name__, reason=reason, cause=cause),
        )

    def _keep(self, record: FlowRecord) -> None:
        self.record = record
        try:
            write_flow_record(self._store, record)
        except TrrgError as error:
            logger.warning("the record of this run is not in the store (%s)", type(error).__name__)


@contextmanager
def flow_log(store: Store, *, first: str, last: str) -> Iterator[FlowLog]:
    """The log of the run from job `first` to job `last` that the block is; an error of the block is kept in it."""
    # Prefect sets it in the process of a flow run
    run = os.environ.get("PREFECT__FLOW_RUN_ID", "") or uuid.uuid4().hex
    log = FlowLog(store, FlowRecord(run=run, started_ms=_now_ms(), first=first, last=last))
    try:
        yield log
    except BaseException as error:
        log.end(error)
        raise
    log.end()


@contextmanager
def observed_flow(run: str, last: str) -> Iterator[None]:
    """Within the block, log lines carry the id of the run, and the spans of its stages are within one of its own."""
    with log_ids(flow_run=run), span(f"flow to {last}", flow_run=run):
        yield


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
