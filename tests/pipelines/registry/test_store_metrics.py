"""The metrics of a store: what its records say, in Prometheus' text format, read back by the library's own parser."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipelines.records.progress import ProgressRecord, write_progress
from pipelines.registry.alias_moves import BY_GATE, Move, record_move
from pipelines.registry.registry_client import CHAMPION, NewVersion, open_registry
from pipelines.registry.store_metrics import render_metrics
from trrg_core.config.settings import RegisterConfig
from trrg_core.runs.flow_record import DriftRecord, FlowRecord, Outcome, StageRecord, write_flow_record
from trrg_core.runs.results import RunResult, write_result
from trrg_core.storage.store import Store

CONFIG = RegisterConfig()
# by name and the values of the labels, in the order of the names of the labels
Samples = dict[tuple[str, tuple[str, ...]], float]


def scrape(store: Store) -> Samples:
    families = text_string_to_metric_families(render_metrics(store, CONFIG))
    samples = [sample for one in families for sample in one.samples]
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value for sample in samples
    }


@pytest.fixture
def store(store_with_registry: Store) -> Store:
    """A night that was promoted on drifted data, one that failed, and one that trains stage 1."""
    store = store_with_registry
    ingest = StageRecord(job="ingest", seconds=7.5, counts={"studies": 120}, rejects={'a "reason"\n': 3})
    scored = StageRecord(job="evaluate", seconds=9.0, counts={"modal_report.bleu4.full": 0.1})
    nights = (
        FlowRecord(
            run="a",
            started_ms=1000,
            finished_ms=2000,
            outcome=Outcome.PROMOTED,
            stages=(ingest, scored),
            drift=DriftRecord(alarms=4),
        ),
        FlowRecord(run="b", started_ms=3000, finished_ms=4500, outcome=Outcome.FAILED, stage="parse"),
        FlowRecord(
            run="c",
            started_ms=5000,
            stage="pretrain",
            stages=(StageRecord(job="ingest", reused=True, counts={"studies": 1}),),
        ),
    )
    for night in nights:
        write_flow_record(store, night)
    store.write_bytes("flows/000000000000009-bad.json", b"")
    numbers = {"loss.loss": 2.5, "studies_per_s": 40.0, "stall_percent": 5.0, "memory_gib": 2.0}
    write_progress(store, "runs/pretrain-new/progress.json", ProgressRecord(done=6, total=9, text="", numbers=numbers))
    write_progress(store, "runs/pretrain-old/progress.json", ProgressRecord(done=9, total=9, text=""))
    write_result(store, RunResult(run_id="pretrain-old", job="pretrain"))
    write_progress(store, "runs/finetune-x/progress.json", ProgressRecord(done=8, total=9, text=""))
    return store


def test_a_scrape_says_how_the_nights_ended_and_what_runs(store: Store) -> None:
    found = scrape(store)
    assert {key[1][0]: value for key, value in found.items() if key[0] == "trrg_flow_runs_total"} == {
        "promoted": 1,
        "refused": 0,
        "nothing new": 0,
        "finished": 0,
        "failed": 1,
        "stopped": 0,
    }
    assert found["trrg_flow_last_end_timestamp_seconds", ()] == 4.5
    assert found["trrg_flow_last_outcome", ("unfinished",)] == 1
    assert found["trrg_flow_last_outcome", ("failed",)] == 0
    assert found["trrg_flow_running", ("pretrain",)] == 1
    assert found["trrg_flow_records_unreadable", ()] == 1
    assert found["trrg_drift_alarms", ()] == 4


def test_a_stage_is_that_of_the_newest_run_which_did_work(store: Store) -> None:
    found = scrape(store)
    assert found["trrg_stage_seconds", ("ingest",)] == 7.5
    assert found["trrg_stage_rows", ("studies", "ingest")] == 120
    assert found["trrg_stage_rejects", ('a "reason"\n', "ingest")] == 3
    assert not [key for key in found if key[0] == "trrg_stage_rows" and "evaluate" in key[1]], "scores are no rows"


def test_a_training_is_that_of_the_stage_which_runs(store: Store) -> None:
    found = scrape(store)
    assert found["trrg_training_steps", ("pretrain",)] == 6
    assert found["trrg_training_planned_steps", ("pretrain",)] == 9
    assert found["trrg_training_loss", ("loss", "pretrain")] == 2.5
    assert found["trrg_training_studies_per_second", ("pretrain",)] == 40
    assert found["trrg_training_stall_ratio", ("pretrain",)] == 0.05
    assert found["trrg_training_memory_bytes", ("pretrain",)] == 2 * 2**30
    write_flow_record(store, FlowRecord(run="c", started_ms=5000, finished_ms=6000, outcome=Outcome.FAILED))
    assert not [key for key in scrape(store) if key[0].startswith("trrg_training")]


def test_the_champion_is_that_of_the_alias(store: Store) -> None:
    assert not [key for key in scrape(store) if key[0].startswith("trrg_champion")]
    with open_registry(store, CONFIG) as models:
        version = models.create(NewVersion(run_id="register-1", source="", generator="finetune-1", scores=""))
        models.describe(version, card="", tags={"score.trrg13.micro.f1.u0": "0.25"})
        models.set_alias(CHAMPION, version)
    record_move(store, Move(before="", after=version, kind=BY_GATE, reason="promoted", when_ms=7000))
    found = scrape(store)
    assert found["trrg_champion_info", ("models:/trrg/1",)] == 1
    assert found["trrg_champion_score", ("trrg13.micro.f1.u0",)] == 0.25
    assert found["trrg_champion_since_timestamp_seconds", ()] == 7
    with open_registry(store, CONFIG) as models:
        models.create(NewVersion(run_id="register-2", source="", generator="finetune-2", scores=""))
        models.set_alias(CHAMPION, "2")
    found = scrape(store)
    assert found["trrg_champion_info", ("models:/trrg/2",)] == 1
    assert ("trrg_champion_since_timestamp_seconds", ()) not in found, "nobody knows when a hand moved it"
