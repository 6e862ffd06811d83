"""What a killed service left as running is crashed by the next one; runs of workers and finished ones stay."""

import pytest
from prefect import flow, get_client
from prefect.client.schemas.objects import StateType
from prefect.states import Completed, Running

from flows.leftover_runs import end_leftover_runs


@flow
def night() -> None:
    """Only its name is used."""


@pytest.mark.flow
@pytest.mark.usefixtures("prefect_server")
def test_a_run_that_was_left_behind_is_crashed_and_others_stay() -> None:
    with get_client(sync_client=True) as client:
        deployment = client.create_deployment(client.create_flow(night), "night")
        left = client.create_flow_run_from_deployment(deployment, state=Running())
        done = client.create_flow_run_from_deployment(deployment, state=Completed())
        by_hand = client.create_flow_run(night, state=Running())
        assert end_leftover_runs() == [left.name]
        states = [client.read_flow_run(run.id).state for run in (left, done, by_hand)]
    assert [state.type for state in states if state] == [StateType.CRASHED, StateType.COMPLETED, StateType.RUNNING]
    assert states[0] is not None
    assert states[0].message == "the service was stopped while it ran: Run with the same values finds what was finished"
    assert end_leftover_runs() == []
