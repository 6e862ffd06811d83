"""Runs that ended with their service: Prefect takes them for running, and no other run gets their slot.

Each run carries the name of its machine, because machines may share a database of Prefect.
"""

import logging
import socket
from datetime import UTC, datetime, timedelta

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.runtime import flow_run
from prefect.states import Crashed

logger = logging.getLogger(__name__)

ALIVE = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
MACHINE_LABEL = "trrg.machine"
START = timedelta(minutes=2)  # from the slot of a run to its label; some 15 s, a minute on a machine with other work


def label_run() -> None:
    """Let the current flow run carry the name of this machine; best effort."""
    if flow_run.id is None:
        return
    try:
        with get_client(sync_client=True) as client:
            client.update_flow_run_labels(flow_run.id, {MACHINE_LABEL: socket.gethostname()})
    except Exception as error:  # what a missing server raises differs by how it is missing
        logger.warning("the name of this machine is not in Prefect (%s)", type(error).__name__)


def end_leftover_runs(*, is_shared: bool = False) -> list[str]:
    """The names of the runs of deployments that no process can be at, now crashed; for a service that is the only one.

    Runs of a work pool are those of its workers. With `is_shared` other machines may have runs in the database: those
    of this machine are ended, and those of no machine that have not just begun.
    """
    of_states = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=ALIVE)))
    names = []
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(flow_run_filter=of_states):
            if not run.deployment_id or run.work_pool_name:
                continue
            if is_shared and (place := _elsewhere(run)):
                logger.warning("run %s is left as it is: %s", run.name, place)
                continue
            message = "the service was stopped while it ran: Run with the same values finds what was finished"
            client.set_flow_run_state(run.id, Crashed(message=message), force=True)
            logger.warning("run %s has ended with the service that it was started in", run.name)
            names.append(run.name)
    return names


def _elsewhere(run: FlowRun) -> str:
    """Where a run may be at work besides this machine, in words; empty for nowhere."""
    machine = str(run.labels.get(MACHINE_LABEL, ""))
    if machine and machine != socket.gethostname():
        return f"it runs on {machine}; if that machine is gone, cancel the run in the UI"
    began = run.state.timestamp if run.state else None
    if not machine and began and datetime.now(UTC) - began < START:
        return "it has just begun, maybe on another machine"
    return ""
