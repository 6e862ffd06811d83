"""No version disappears because it is old: the log of a table is never cut, and a cut log stops garbage collection."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, Schema
from deltalake.transaction import AddAction, create_table_with_add_actions

from tests.core.faulty_s3 import faulty_s3, make_bucket
from trrg_core.errors import ConfigError
from trrg_core.storage.store import Store, open_store
from trrg_core.tables.commit_history import CommitMetadata, history
from trrg_core.tables.delta import commit_parts, read_table
from trrg_core.tables.delta_table import table_uri
from trrg_core.tables.log_retention import KEEP_LOG
from trrg_core.tables.parquet import Part, write_part
from trrg_core.tables.retention import plan_garbage_collection
from trrg_core.tables.table_log import METADATA_KEY
from trrg_core.tables.table_ref import TableRef

SCHEMA = pa.schema([("study_id", pa.string()), ("split", pa.string())])
EVERY_5_COMMITS = {"delta.checkpointInterval": "5"}
AT_ONCE = {"delta.logRetentionDuration": "interval 0 days"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def _part(store: Store, name: str) -> Part:
    rows = pa.table({"study_id": [name], "split": ["train"]}, schema=SCHEMA)
    return write_part(store, "studies", f"parts/{name}/0.parquet", rows, split="train")


def _commit(store: Store, name: str) -> TableRef:
    return commit_parts(store, "studies", [_part(store, name)], SCHEMA, CommitMetadata(fingerprint=name))


def _age_log(store: Store, days: int = 40) -> None:
    """Make every log entry of the table look `days` old: its file, and its own time stamp."""
    then = time.time() - days * 86_400
    for file in Path(store.join("tables/studies/_delta_log")).iterdir():
        if file.suffix == ".json":
            actions = [json.loads(line) for line in file.read_text().splitlines()]
            for action in actions:
                if "commitInfo" in action:
                    action["commitInfo"]["timestamp"] = int(then * 1000)
            file.write_text("".join(json.dumps(action) + "\n" for action in actions))
        os.utime(file, (then, then))


def _create_as_0_1(store: Store, configuration: dict[str, str | None]) -> None:
    """A table as TRRG 0.1 made it: without the properties that keep its log."""
    metadata: dict[str, object] = {
        "fingerprint": "f0",
        "content": "f0",
        "parents": [],
        "code_version": "",
        "version": 0,
    }
    entry = {METADATA_KEY: json.dumps({**metadata, "counts": {}, "rejects": {}})}
    part = _part(store, "f0")
    create_table_with_add_actions(
        table_uri(store, "studies"),
        Schema.from_arrow(SCHEMA),
        [_action(part)],
        configuration=configuration,
        storage_options=store.delta_options(),
        commit_properties=CommitProperties(custom_metadata=entry),
    )


def _action(part: Part) -> AddAction:
    return AddAction(part.path, part.size, {}, 0, True, json.dumps({"numRecords": part.num_rows}))


def _names(store: Store, version: int) -> list[str]:
    names: list[str] = read_table(store, TableRef(name="studies", version=version))["study_id"].to_pylist()
    return names


def test_versions_of_40_days_ago_outlive_a_checkpoint(store: Store) -> None:
    for at in range(205):
        if at in (99, 198, 199):
            _age_log(store)
        _commit(store, f"f{at}")
    log = Path(store.join("tables/studies/_delta_log"))
    assert (log / f"{199:020d}.checkpoint.parquet").exists()
    assert [commit.ref.version for commit in history(store, "studies")] == list(range(204, -1, -1))
    assert [_names(store, at) for at in (0, 50, 98)] == [["f0"], ["f50"], ["f98"]]


def test_a_table_of_0_1_is_protected_by_the_next_commit(store: Store) -> None:
    _create_as_0_1(store, EVERY_5_COMMITS)
    assert str(_commit(store, "f1")) == "studies@2"  # version 1 is the entry that sets the properties
    configuration = DeltaTable(table_uri(store, "studies")).metadata().configuration
    assert configuration == {**EVERY_5_COMMITS, **KEEP_LOG}
    for at in range(3, 12):
        _age_log(store)
        _commit(store, f"f{at}")
    assert [commit.ref.version for commit in history(store, "studies")] == [*range(11, 1, -1), 0]
    assert (_names(store, 0), _names(store, 2)) == (["f0"], ["f1"])


def test_without_protection_old_versions_do_disappear(store: Store) -> None:
    """The control: the ageing of these tests is what deletes the entries of an unprotected table."""
    _create_as_0_1(store, EVERY_5_COMMITS)
    for at in range(1, 12):
        _age_log(store)
        table = DeltaTable(table_uri(store, "studies"))
        table.create_write_transaction([_action(_part(store, f"f{at}"))], "overwrite", Schema.from_arrow(SCHEMA))
    with pytest.raises(ConfigError, match=r"no (version|table).*\.json is missing, though later entries are there"):
        _names(store, 0)


@pytest.mark.timeout(120)
def test_versions_outlive_a_checkpoint_on_s3() -> None:
    with faulty_s3() as service:
        make_bucket(service, "versions")
        secrets = {"AWS_ACCESS_KEY_ID": "invented", "AWS_SECRET_ACCESS_KEY": "invented"}
        child = subprocess.run(
            [sys.executable, "-c", "from tests.core.tables.test_log_retention import commit_on_s3; commit_on_s3()"],
            env={**os.environ, **secrets, "AWS_ENDPOINT_URL": service.endpoint},
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
        )
    assert child.returncode == 0, child.stderr
    assert json.loads(child.stdout) == {"versions": [*range(12, 1, -1), 0], "first": ["f0"], "checkpoint": True}


def commit_on_s3() -> None:
    """Run in a process of its own: deltalake holds the GIL while it waits for the service."""
    store = open_store("s3://versions/store")
    _create_as_0_1(store, {**EVERY_5_COMMITS, **AT_ONCE})
    for at in range(2, 13):
        _commit(store, f"f{at}")
    result = {
        "versions": [commit.ref.version for commit in history(store, "studies")],
        "first": _names(store, 0),
        "checkpoint": store.exists(f"tables/studies/_delta_log/{9:020d}.checkpoint.parquet"),
    }
    print(json.dumps(result))  # noqa: T201


@pytest.mark.parametrize("missing", [0, 1])
def test_garbage_collection_refuses_a_table_whose_log_was_cut(store: Store, missing: int) -> None:
    for at in range(3):
        _commit(store, f"f{at}")
    assert len(plan_garbage_collection(store, keep=1).versions) == 2
    Path(store.join(f"tables/studies/_delta_log/{missing:020d}.json")).unlink()
    with pytest.raises(ConfigError, match=r"of studies in .* lacks its first entry or one in between"):
        plan_garbage_collection(store, keep=1)
