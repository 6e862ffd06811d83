"""A task of the retraining flow: compare the data with that of the champion model; warn, or stop the flow."""

import logging
from typing import Any

from prefect import task
from prefect.artifacts import create_table_artifact

from flows.artifacts import send_event, store_artifact
from flows.choices import OnDrift
from flows.outcome import report_failure
from flows.render.decision_text import artifact_rows
from flows.render.labels import drift_rows
from pipelines.registry.lineage import champion_shards
from trrg_core.config.settings import TrrgConfig
from trrg_core.errors import DataError
from trrg_core.label_stats.labelled_version import SHIPPED_SETS
from trrg_core.label_stats.version_comparison import measure_drift
from trrg_core.storage.store import open_store
from trrg_core.tables.table_ref import TableRef

logger = logging.getLogger(__name__)

SHOWN = 3  # alarms in a message


@task(task_run_name="drift", persist_result=False)
def watch_drift(shards: str, store_uri: str, config: TrrgConfig, on_drift: OnDrift) -> dict[str, Any]:
    """Compare the train studies of the champion with those of `shards`; without a champion there is no alarm.

    Returns:
        The two versions, `baseline` and `shards`, the number of `alarms`, and the `largest` of them in words.

    Raises:
        DataError: `drift` when there are alarms and `on_drift` is "stop".
    """
    store = open_store(store_uri)
    baseline = champion_shards(store, config.register_)
    if not baseline or baseline == shards:
        logger.info("drift: %s", "the champion was trained on the same shards" if baseline else "no champion")
        return {"baseline": baseline, "shards": shards, "alarms": 0, "largest": []}
    # of shipped label sets each version has its own: the champion may know other findings
    label_set = "" if config.parse.label_set in SHIPPED_SETS else config.parse.label_set
    drift = measure_drift(store, TableRef.parse(baseline), TableRef.parse(shards), label_set=label_set)
    description = f"{baseline}, of the champion, to {shards}"
    store_artifact(create_table_artifact, artifact_rows(drift_rows(drift)), key="drift", description=description)
    largest = [f"{shift.name} ({shift.reason})" for shift in drift.alarms[:SHOWN]]
    if drift.alarms:
        message = f"{shards} has drifted from {baseline}: {len(drift.alarms)} alarms, the largest {', '.join(largest)}"
        if on_drift == "stop":
            hint = f"inspect them with `trrg drift {baseline} {shards}`; to train nevertheless: --on-drift warn"
            error = DataError("drift", f"{message}; {hint}")
            report_failure("drift", error)
            raise error
        logger.warning(message)
        send_event("drift", f"table.{shards}", {"alarms": len(drift.alarms), "cause": message})
    else:
        logger.info("drift: no alarm between %s, of the champion, and %s", baseline, shards)
    return {"baseline": baseline, "shards": shards, "alarms": len(drift.alarms), "largest": largest}
