"""What happens on the cluster when a person cancels a run in the UI: the Ray Jobs that it submitted are stopped."""

import logging
from typing import Any

from flows.entry import read_config
from trrg_core.errors import TrrgError

logger = logging.getLogger(__name__)


def stop_cluster_jobs(flow: Any, flow_run: Any, state: Any) -> None:
    """Hook of a flow, called by the process that started the run once the run's own process has ended."""
    given = flow_run.parameters or {}
    try:
        config = read_config(given.get("preset", "tiny"), "", "", given.get("settings") or ())
        if not config.ray.jobs_address:
            return
        from pipelines.running.ray_jobs import stop_jobs_of  # imports Ray

        stopped = stop_jobs_of(config.ray.jobs_address, str(flow_run.id))
    except TrrgError as error:
        logger.warning("run %s is cancelled, but its Ray Jobs may go on: %s", flow_run.name, error)
        return
    logger.info("run %s is cancelled; stopped Ray Jobs: %s", flow_run.name, ", ".join(stopped) or "none was running")
