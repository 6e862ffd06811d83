"""Records of runs: written, read newest first, and a file that is none is set aside."""

from pathlib import Path

from trrg_core.runs.flow_record import (
    DriftRecord,
    FlowHistory,
    FlowRecord,
    Outcome,
    StageRecord,
    outcome_of,
    read_flow_history,
    write_flow_record,
)
from trrg_core.storage.store import open_store

STAGE = StageRecord(job="ingest", ref="studies@0", seconds=2.0, counts={"studies": 5}, rejects={"no_image": 1})


def test_records_are_read_back_newest_first_and_broken_files_are_named(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    assert read_flow_history(store) == FlowHistory()
    drift = DriftRecord(baseline="shards@0", shards="shards@1", alarms=2, largest=("Edema PRESENT", "vocabulary"))
    older = FlowRecord(run="../a b", started_ms=1, outcome=Outcome.FINISHED, stages=(STAGE,), drift=drift)
    newer = FlowRecord(run="c", started_ms=20, stage="parse", error="DataError", cause="why")
    for record in (newer, older):
        write_flow_record(store, record)
    broken = {"b.json": b"{", "d.json": b'{"run": 3}', "e.json": b'{"outcome": "no", "run": "e", "started_ms": 1}'}
    for name, data in broken.items():
        store.write_bytes(f"flows/{name}", data)
    found = read_flow_history(store)
    assert found.records == (newer, older)
    assert older.path == "flows/000000000000001-ab.json"
    assert sorted(found.unreadable) == [f"flows/{name}" for name in broken]


def test_a_record_is_rewritten_in_place_and_a_field_of_a_later_version_is_ignored(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    write_flow_record(store, FlowRecord(run="a", started_ms=1))
    drift = DriftRecord(alarms=2, largest=("vocabulary",))
    write_flow_record(store, FlowRecord(run="a", started_ms=1, outcome=Outcome.FAILED, drift=drift))
    text = store.read_bytes("flows/000000000000001-a.json").replace(b'{"cause"', b'{"added": 1, "cause"')
    text = text.replace(b'"alarms"', b'"added": 1, "alarms"')
    store.write_bytes("flows/000000000000001-a.json", text)
    assert [(one.outcome, one.drift) for one in read_flow_history(store).records] == [(Outcome.FAILED, drift)]


def test_the_outcome_follows_from_the_stages() -> None:
    def registered(alias: str, *, reused: bool = False) -> StageRecord:
        return StageRecord(job="register", notes={"alias": alias}, reused=reused)

    assert outcome_of((STAGE, registered("champion"))) is Outcome.PROMOTED
    assert outcome_of((STAGE, registered("challenger"))) is Outcome.REFUSED
    assert outcome_of((registered("champion", reused=True),)) is Outcome.NOTHING_NEW
    assert outcome_of((STAGE, registered("champion", reused=True))) is Outcome.PROMOTED
    assert outcome_of((STAGE,)) is Outcome.FINISHED
