"""The end of a run as a state that says what happened, and the server that keeps it."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, cast

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows.artifacts import send_event, store_artifact
from flows.leftover_runs import label_run
from flows.render.decision_text import failure_text
from trrg_core.errors import DataError, TrrgError

logger = logging.getLogger(__name__)

REFUSED, NOTHING_NEW = "Refused by gate", "Nothing new"
FAILURES = {"drift": "Drift alarm", "too_many_rejects": "Too many rejects"}
SERVER_AWAY_S = 180.0
MAX_SHOWN = 200  # characters of a cause on the card of its artifact


class _Newest:
    """The results of the newest run of this process that came to its end, and the newest failure that was shown."""

    results: dict[str, Any] | None = None
    shown: str = ""


_newest = _Newest()


def ended(run: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """The results of `run`, for a flow to return; or a named state, which a caller of the flow receives as its data.

    The state is a refusal, a run that found all of its results in the store, or an expected failure with its one-line
    cause.

    Waits for a server that is away, so that finished work is not reported as crashed.
    """
    _newest.shown = ""
    label_run()
    try:
        results = run()
    except TrrgError as error:
        wait_for_server()
        if str(error) != _newest.shown:  # of no stage, such as a wrong setting
            report_failure(flow_run.flow_name or "run", error)
        return cast("dict[str, Any]", failed_state(error))
    _newest.results = dict(results)
    wait_for_server()
    if named := _named(results):
        state: State[Any] = Completed(name=named[0], message=named[1], data=dict(results))
        return cast("dict[str, Any]", state)
    return dict(results)


def _named(results: Mapping[str, Any]) -> tuple[str, str] | None:
    """The name and the message of a state that is more than Completed."""
    notes = results.get("register", {}).get("notes", {})
    ruling = f"{notes.get('model', '')}: {notes.get('ruling', '')}"
    if results and all(isinstance(values, Mapping) and values.get("reused") for values in results.values()):
        earlier = f". Judged by an earlier run: {ruling}" if notes else ""
        return NOTHING_NEW, f"all results are in the store from an earlier run with the same inputs{earlier}"
    if "register" in results and notes.get("alias", "champion") != "champion":
        reasons = "; ".join(notes.get("reasons", "").splitlines())
        return REFUSED, f"{ruling}. {reasons}"
    return None


def finished_results() -> dict[str, Any] | None:
    """The results of the newest run of this process that came to its end, whatever Prefect says of it."""
    return _newest.results


def failed_state(error: TrrgError) -> State[Any]:
    """A failed state that is named by its cause."""
    name = FAILURES.get(error.reason, "Failed") if isinstance(error, DataError) else "Failed"
    message = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return Failed(name=name, message=message, data=error)


def report_failure(job: str, error: TrrgError) -> None:
    """Show the cause of a failed stage, or of a run before its first stage, and send an event."""
    from prefect.artifacts import create_markdown_artifact

    _newest.shown = str(error)
    kind = type(error).__name__
    cause = " ".join(str(error).split())
    logger.error("%s failed with %s: %s", job, kind, cause)
    text, short = failure_text(job, kind, cause), f"{job} failed: {cause[:MAX_SHOWN]}"
    store_artifact(create_markdown_artifact, text, key="failure", description=short)
    reason = getattr(error, "reason", "")
    event = {"drift": "drift", "too_many_rejects": "rejects"}.get(reason, "stage.failed")
    send_event(event, f"stage.{job}", {"kind": kind, "reason": reason, "cause": str(error)})


def wait_for_server(limit_s: float = SERVER_AWAY_S, poll_s: float = 3.0) -> bool:
    """Whether the Prefect server answers, now or within `limit_s`."""
    end, has_said = time.monotonic() + limit_s, False
    while True:
        try:
            with get_client(sync_client=True) as client:
                if client.api_healthcheck() is None:
                    return True
        except Exception:  # what a missing server raises differs by how it is missing
            logger.debug("no answer from Prefect", exc_info=True)
        if time.monotonic() >= end:
            logger.warning("the Prefect server has not answered for %.0f s; the results are in the store", limit_s)
            return False
        if not has_said:
            logger.warning("the Prefect server does not answer; waiting up to %.0f s for it", limit_s)
            has_said = True
        time.sleep(poll_s)
