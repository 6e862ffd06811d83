"""What a killed service left as running is crashed by the next one; runs of workers and finished ones stay."""

import socket
from datetime import timedelta

import pytest
from prefect import flow, get_client
from prefect.client.schemas.objects import StateType
from prefect.states import Completed, Pending, Running

from flows import leftover_runs
from flows.leftover_runs import end_leftover_runs
from flows.outcome import ended


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


@pytest.mark.flow
@pytest.mark.usefixtures("prefect_server")
def test_of_two_machines_on_one_database_each_ends_its_own_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs are labelled by the code that each flow calls first."""

    @flow
    def labelled() -> None:
        ended(dict)

    with get_client(sync_client=True) as client:
        deployment = client.create_deployment(client.create_flow(labelled), "labelled")
        runs = {}
        for machine in ("node-a", "node-b"):
            monkeypatch.setattr(socket, "gethostname", lambda machine=machine: machine)
            state = labelled(return_state=True)
            assert state.state_details.flow_run_id is not None
            label = client.read_flow_run(state.state_details.flow_run_id).labels
            assert label["trrg.machine"] == machine
            runs[machine] = client.create_flow_run_from_deployment(deployment, state=Running())
            client.update_flow_run_labels(runs[machine].id, {"trrg.machine": machine})
        runs["begins"] = client.create_flow_run_from_deployment(deployment, state=Pending())
        names = {name: run.name for name, run in runs.items()}
        assert end_leftover_runs(is_shared=True) == [names["node-b"]]
        monkeypatch.setattr(socket, "gethostname", lambda: "node-a")
        assert end_leftover_runs(is_shared=True) == [names["node-a"]]
        monkeypatch.setattr(leftover_runs, "START", timedelta())
        assert end_leftover_runs(is_shared=True) == [names["begins"]], "no process has begun it in all this time"
        elsewhere = client.create_flow_run_from_deployment(deployment, state=Running())
        client.update_flow_run_labels(elsewhere.id, {"trrg.machine": "node-b"})
        assert end_leftover_runs() == [elsewhere.name], "a file of this machine has no runs of others"
