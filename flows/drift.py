"""Has the data drifted from what the champion learned? A task of the retraining flow that warns, or stops it."""

import logging

from prefect import task
from prefect.artifacts import create_table_artifact

from flows.choices import OnDrift
from flows.render.labels import drift_rows, measure_drift
from pipelines.registry.lineage import champion_shards
from trrg_core.errors import DataError
from trrg_core.label_stats.drift import DriftThresholds
from trrg_core.storage.store import open_store
from trrg_core.tables.table_ref import TableRef

logger = logging.getLogger(__name__)


@task(persist_result=False)
def watch_drift(shards: str, store_uri: str, label_set: str, on_drift: OnDrift) -> int:
    """Compare the train studies of `shards` with those of the champion; the number of alarms.

    Raises:
        DataError: `drift` when there are alarms and `on_drift` is "stop".
    """
    store = open_store(store_uri)
    baseline = champion_shards(store)
    if not baseline or baseline == shards:
        logger.info("drift: %s", "the champion learned from these very shards" if baseline else "no champion")
        return 0
    found = measure_drift(
        store,
        TableRef.parse(baseline),
        TableRef.parse(shards),
        split="train",
        thresholds=DriftThresholds(),
        label_set=label_set,
    )
    create_table_artifact(drift_rows(found), key="drift", description=f"{baseline}, of the champion, to {shards}")
    if found.alarms:
        worst = ", ".join(f"{line.what} ({line.reason})" for line in found.alarms[:3])
        message = f"{shards} has drifted from {baseline}: {len(found.alarms)} alarms, the largest {worst}"
        if on_drift == "stop":
            hint = f"look at `trrg drift {baseline} {shards}`; to train on it all the same: --on-drift warn"
            raise DataError("drift", f"{message}; {hint}")
        logger.warning(message)
    return len(found.alarms)
