"""What the records of a store say, as Prometheus metrics: runs, stages, training, drift, rejects, champion.

Read from the store at each scrape, so that they are right also after a restart, and for a run on another machine. The
server of reports has its own (`pipelines.serving.metrics`), and so has Ray.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from pipelines.records.progress import PROGRESS_FILE, ProgressRecord, read_progress
from pipelines.registry.alias_moves import list_moves
from pipelines.registry.lineage import find_champion
from trrg_core.config.settings import RegisterConfig
from trrg_core.runs.flow_record import FlowRecord, Outcome, StageRecord, read_flow_history
from trrg_core.runs.results import RESULT
from trrg_core.storage.folders import RUN_FOLDER
from trrg_core.storage.store import Store

if TYPE_CHECKING:
    from prometheus_client.core import GaugeMetricFamily, Metric

_DATA_STAGES = ("ingest", "parse", "shard", "generate")
_TRAINING_STAGES = ("pretrain", "finetune")


def render_metrics(store: Store, config: RegisterConfig) -> str:
    """The metrics of a store in the text format of Prometheus.

    Raises:
        StorageError: if the store or the registry does not answer.
    """
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(list(store_metrics(store, config))))
    return generate_latest(registry).decode()


class _Families:
    """Metrics that are read already, for the registry of the library."""

    def __init__(self, families: Sequence["Metric"]) -> None:
        self._families = families

    def collect(self) -> Iterable["Metric"]:
        """The metrics."""
        return self._families


def store_metrics(store: Store, config: RegisterConfig) -> Iterator["Metric"]:
    """The metrics of a store, each with its values."""
    found = read_flow_history(store)
    yield from _flow_metrics(found.records)
    unreadable = _gauge("trrg_flow_records_unreadable", "Records of runs that cannot be read.")
    unreadable.add_metric([], len(found.unreadable))
    yield unreadable
    yield from _stage_metrics(found.records)
    yield from _training_metrics(store, found.records)
    yield from _champion_metrics(store, config)


def _flow_metrics(records: Sequence[FlowRecord]) -> Iterator["Metric"]:
    """Of all runs by outcome, and of the newest one."""
    from prometheus_client.core import CounterMetricFamily

    ends = Counter(record.outcome for record in records)
    runs = CounterMetricFamily("trrg_flow_runs", "Runs of a flow by outcome.", labels=["outcome"])
    for outcome in Outcome:
        if outcome is not Outcome.UNFINISHED:
            runs.add_metric([outcome], ends[outcome])
    yield runs
    started = _gauge("trrg_flow_last_start_timestamp_seconds", "Start of the newest run, Unix.")
    ended = _gauge("trrg_flow_last_end_timestamp_seconds", "End of the newest run that ended, Unix.")
    last = _gauge("trrg_flow_last_outcome", "1 for the outcome of the newest run.", "outcome")
    running = _gauge("trrg_flow_running", "1 for the stage of the newest run while it has no end.", "stage")
    alarms = _gauge("trrg_drift_alarms", "Alarms of the newest comparison with the data of the champion.")
    if records:
        newest = records[0]
        started.add_metric([], newest.started_ms / 1000)
        for outcome in Outcome:
            last.add_metric([outcome], float(outcome is newest.outcome))
        if newest.outcome is Outcome.UNFINISHED:
            running.add_metric([newest.stage], 1)
    ends_ms = [record.finished_ms for record in records if record.finished_ms]
    if ends_ms:
        ended.add_metric([], max(ends_ms) / 1000)
    compared = next((record.drift for record in records if record.drift), None)
    if compared:
        alarms.add_metric([], compared.alarms)
    yield from (started, ended, last, running, alarms)


def _stage_metrics(records: Sequence[FlowRecord]) -> Iterator["Metric"]:
    """Of the newest run of each stage that did work."""
    seconds = _gauge("trrg_stage_seconds", "Seconds of the newest run of a stage that did work.", "stage")
    rows = _gauge("trrg_stage_rows", "Rows that the newest run of a data stage counted, by kind.", "stage", "rows")
    rejects = _gauge("trrg_stage_rejects", "Rows that the newest run of a stage set aside.", "stage", "reason")
    newest: dict[str, StageRecord] = {}
    for record in records:
        for stage in record.stages:
            if not stage.reused:
                newest.setdefault(stage.job, stage)
    for job, stage in newest.items():
        seconds.add_metric([job], stage.seconds)
        for name, count in stage.counts.items() if job in _DATA_STAGES else ():
            rows.add_metric([job, name], count)
        for reason, count in stage.rejects.items():
            rejects.add_metric([job, reason], count)
    yield from (seconds, rows, rejects)


def _training_metrics(store: Store, records: Sequence[FlowRecord]) -> Iterator["Metric"]:
    """Of the training that runs now; none while none does."""
    steps = _gauge("trrg_training_steps", "Steps that the running training has done.", "stage")
    total = _gauge("trrg_training_planned_steps", "Steps that the running training will do.", "stage")
    loss = _gauge("trrg_training_loss", "Loss of the newest step that was written down, by part.", "stage", "part")
    speed = _gauge("trrg_training_studies_per_second", "Studies per second of the running training.", "stage")
    stall = _gauge("trrg_training_stall_ratio", "Share of the time that the running training waits for data.", "stage")
    memory = _gauge("trrg_training_memory_bytes", "Peak memory of the first worker, of its GPU if it has one.", "stage")
    stage = records[0].stage if records and records[0].outcome is Outcome.UNFINISHED else ""
    current = _running(store, stage) if stage in _TRAINING_STAGES else None
    if current:
        numbers = current.numbers
        steps.add_metric([stage], current.done)
        total.add_metric([stage], current.total)
        for name, value in numbers.items():
            if name.startswith("loss."):
                loss.add_metric([stage, name.removeprefix("loss.")], value)
        if "studies_per_s" in numbers:
            speed.add_metric([stage], numbers["studies_per_s"])
            stall.add_metric([stage], numbers["stall_percent"] / 100)
            memory.add_metric([stage], numbers["memory_gib"] * 2**30)
    yield from (steps, total, loss, speed, stall, memory)


def _running(store: Store, stage: str) -> ProgressRecord | None:
    """The progress of the run of `stage` that has no result; of several, that which is furthest."""
    files = set(store.list(RUN_FOLDER))
    open_runs = [
        path
        for path in files
        if path.startswith(f"{RUN_FOLDER}/{stage}-")
        and path.endswith(f"/{PROGRESS_FILE}")
        and path.replace(PROGRESS_FILE, RESULT) not in files
    ]
    found = [progress for path in open_runs if (progress := read_progress(store, path))]
    return max(found, key=lambda progress: progress.done, default=None)


def _champion_metrics(store: Store, config: RegisterConfig) -> Iterator["Metric"]:
    info = _gauge("trrg_champion_info", "1 for the version that is champion.", "model")
    since = _gauge(
        "trrg_champion_since_timestamp_seconds",
        "When the champion was last changed, Unix; none after a change by hand.",
    )
    scores = _gauge("trrg_champion_score", "Scores of the champion on the studies that it was judged on.", "score")
    champion = find_champion(store, config)
    if champion:
        info.add_metric([champion.model], 1)
        for name, value in champion.scores.items():
            scores.add_metric([name], value)
    moves = list_moves(store, config.model_name)
    if champion and moves and champion.model.endswith(f"/{moves[-1].after}"):  # not moved by hand, at an unknown time
        since.add_metric([], moves[-1].when_ms / 1000)
    yield from (info, since, scores)


def _gauge(name: str, meaning: str, *labels: str) -> "GaugeMetricFamily":
    from prometheus_client.core import GaugeMetricFamily

    return GaugeMetricFamily(name, meaning, labels=list(labels))
