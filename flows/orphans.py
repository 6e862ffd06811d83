"""Ray Jobs whose flow run has ended or is gone: found by asking Prefect which runs live."""

import os

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import TERMINAL_STATES, StateType

from trrg_core.errors import ConfigError, StorageError

_PAGE = 200


def living_runs() -> set[str]:
    """The ids of the flow runs that have not ended, of the Prefect server in `PREFECT_API_URL`.

    Raises:
        ConfigError: if no server is named: without one every job would look like an orphan.
        StorageError: if it does not answer.
    """
    if not os.environ.get("PREFECT_API_URL"):
        raise ConfigError(
            "PREFECT_API_URL is not set: name the server whose runs submit the jobs, or all look orphaned"
        )
    waiting = [state.value for state in _not_ended()]
    where = FlowRunFilter.model_validate({"state": {"type": {"any_": waiting}}})
    found: set[str] = set()
    try:
        with get_client(sync_client=True) as client:
            while page := client.read_flow_runs(flow_run_filter=where, limit=_PAGE, offset=len(found)):
                found |= {str(run.id) for run in page}
                if len(page) < _PAGE:
                    break
    except Exception as error:  # what a missing server raises differs by how it is missing
        raise StorageError(f"the Prefect server in PREFECT_API_URL did not answer: {type(error).__name__}") from error
    return found


def _not_ended() -> list[StateType]:
    return [kind for kind in StateType if kind not in TERMINAL_STATES]
