"""The drift alarm of the retraining flow, on stores made by hand."""

from pathlib import Path

import pytest

from flows.drift import watch_drift
from pipelines.registry.registry_client import CHAMPION, NewVersion, open_registry
from tests.core.toy_versions import NO, YES, shard_row, write_version
from trrg_core.config.load import load_config
from trrg_core.errors import DataError
from trrg_core.labels import load_label_set
from trrg_core.runs.results import RunResult, write_result
from trrg_core.storage.store import Store, open_store
from trrg_core.tables.schema import shards_schema

CONFIG = load_config("tiny", [])
SCHEMA = shards_schema(load_label_set("chexpert14"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """shards@0, of the champion, shards@1 with the same shares, shards@2 with three times the edema."""
    store = open_store(str(tmp_path / "store"))
    for version, share in enumerate((0.1, 0.1, 0.3)):
        rows = [shard_row(f"{number}", {"Edema": YES if number < 600 * share else NO}) for number in range(600)]
        write_version(store, "shards", rows, SCHEMA, fingerprint=str(version))
    write_result(store, RunResult(run_id="finetune-a", job="finetune", inputs={"shards": "shards@0"}))
    with open_registry(store, CONFIG.register_) as models:
        for name in "ab":
            version = NewVersion(run_id=f"register-{name}", source="", generator=f"finetune-{name}", scores="")
            models.create(version)
        models.set_alias(CHAMPION, "1")
    return store


@pytest.mark.flow
@pytest.mark.usefixtures("prefect_server")
def test_drift_is_counted_and_stops_the_flow_only_when_asked(store: Store):
    same = watch_drift("shards@0", store.uri, CONFIG, "stop")
    assert same == {"baseline": "shards@0", "shards": "shards@0", "alarms": 0, "largest": []}
    assert watch_drift("shards@1", store.uri, CONFIG, "stop")["alarms"] == 0
    drifted = watch_drift("shards@2", store.uri, CONFIG, "warn")
    assert (drifted["baseline"], drifted["alarms"] >= 1) == ("shards@0", True)
    assert any("Edema" in alarm for alarm in drifted["largest"])
    with pytest.raises(DataError, match=r"drifted from shards@0.*Edema") as caught:
        watch_drift("shards@2", store.uri, CONFIG, "stop")
    assert caught.value.reason == "drift"
    # a model of another label set is trained beside a champion that does not know it
    other = load_label_set("cxr-lt")
    rows = [shard_row(f"{number}", {"Edema": YES}) | {"labels": {"hernia": 1}} for number in range(600)]
    write_version(store, "shards", rows, shards_schema(other), fingerprint="other")
    changed = watch_drift("shards@3", store.uri, load_config("tiny", ["parse.label_set=cxr-lt"]), "warn")
    assert any("Hernia PRESENT" in alarm for alarm in changed["largest"])
