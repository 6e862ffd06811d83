"""Runs that a killed service left behind: Prefect takes them for running, and no other run gets their slot."""

import logging

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import StateType
from prefect.states import Crashed

logger = logging.getLogger(__name__)

ALIVE = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]


def end_leftover_runs() -> list[str]:
    """The names of the runs of deployments that no process can be at, now crashed; for a service that is the only one.

    Runs of a work pool are those of its workers.
    """
    of_states = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=ALIVE)))
    names = []
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(flow_run_filter=of_states):
            if run.deployment_id and not run.work_pool_name:
                message = "the service was stopped while it ran: Run with the same values finds what was finished"
                client.set_flow_run_state(run.id, Crashed(message=message), force=True)
                logger.warning("run %s was left behind by a service that was killed", run.name)
                names.append(run.name)
    return names
