"""A task of the retraining flow: compare the data with that of the champion model; warn, or stop the flow."""

import logging

from prefect import task
from prefect.artifacts import create_table_artifact

from flows.artifacts import send_event, store_artifact
from flows.choices import OnDrift
from flows.outcome import report_failure
from flows.render.labels import drift_rows
from pipelines.registry.lineage import champion_shards
from trrg_core.config.settings import TrrgConfig
from trrg_core.errors import DataError
from trrg_core.label_stats.version_comparison import measure_drift
from trrg_core.storage.store import open_store
from trrg_core.tables.table_ref import TableRef

logger = logging.getLogger(__name__)


@task(persist_result=False)
def watch_drift(shards: str, store_uri: str, config: TrrgConfig, on_drift: OnDrift) -> int:
    """The number of alarms between the train studies of the champion and those of `shards`; 0 without a champion.

    Raises:
        DataError: `drift` when there are alarms and `on_drift` is "stop".
    """
    store = open_store(store_uri)
    baseline = champion_shards(store, config.register_)
    if not baseline or baseline == shards:
        logger.info("drift: %s", "the champion was trained on the same shards" if baseline else "no champion")
        return 0
    drift = measure_drift(store, TableRef.parse(baseline), TableRef.parse(shards), label_set=config.parse.label_set)
    description = f"{baseline}, of the champion, to {shards}"
    store_artifact(create_table_artifact, drift_rows(drift), key="drift", description=description)
    if drift.alarms:
        largest = ", ".join(f"{shift.name} ({shift.reason})" for shift in drift.alarms[:3])
        message = f"{shards} has drifted from {baseline}: {len(drift.alarms)} alarms, the largest {largest}"
        if on_drift == "stop":
            hint = f"inspect them with `trrg drift {baseline} {shards}`; to train nevertheless: --on-drift warn"
            error = DataError("drift", f"{message}; {hint}")
            report_failure("drift", error)
            raise error
        logger.warning(message)
        send_event("drift", f"table.{shards}", {"alarms": len(drift.alarms), "cause": message})
    else:
        logger.info("drift: no alarm between %s, of the champion, and %s", baseline, shards)
    return len(drift.alarms)
