"""A store as earlier versions wrote it: what can be added is added once, the rest names the command that makes it."""

from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from flows.cli import app
from pipelines.registry.alias_moves import list_moves, rollback
from pipelines.registry.migration import Need, Step, migrate, missing_fields, plan_migration
from pipelines.registry.registry_client import CHAMPION, NewVersion, open_registry
from tests.core.toy_versions import YES, study_row, write_version
from trrg_core.config.load import load_config
from trrg_core.errors import ConfigError
from trrg_core.storage.store import Store
from trrg_core.tables.schema import STUDIES

CONFIG = load_config("tiny", [])
# `shards` before facts had sides and degrees, and before the flips of a sentence were stored
OLD_SENTENCE = pa.struct([("text", pa.string()), ("facts", pa.list_(pa.struct([("observation", pa.string())])))])
OLD_SHARDS = pa.schema(
    [("subject_id", pa.string()), ("study_id", pa.string()), ("split", pa.string()), ("report", pa.string())]
).append(pa.field("sentences", pa.list_(OLD_SENTENCE)))


@pytest.fixture
def store(store_with_registry: Store) -> Store:
    """Studies of today, shards of an earlier version, a champion without tags, whose perception is of format 1."""
    store = store_with_registry
    write_version(store, "studies", [study_row("1", {"Edema": YES})], STUDIES, fingerprint="s")
    sentence = {"text": "No edema.", "facts": [{"observation": "Edema"}]}
    row = {"subject_id": "p1", "study_id": "1", "split": "train", "report": "No edema.", "sentences": [sentence]}
    write_version(store, "shards", [row], OLD_SHARDS, fingerprint="h")
    store.write_bytes("runs/finetune-1/model/manifest.json", b"{}")
    store.write_bytes("runs/finetune-1/model/perception.json", b'{"format": 1}')
    with open_registry(store, CONFIG.register_) as models:
        models.create(NewVersion(run_id="register-1", source="", generator="finetune-1", scores="evaluate-1"))
        models.create(NewVersion(run_id="register-2", source="", generator="finetune-2", scores="evaluate-2"))
        models.set_alias(CHAMPION, "1")
    return store


def needs(steps: list[Step]) -> dict[str, Need]:
    return {f"{step.part}: {step.detail.split()[0]}": step.need for step in steps}


def test_what_a_store_needs_is_named_and_what_can_be_added_is_added_once(store: Store) -> None:
    before = store.stamps("tables")
    steps = plan_migration(store, CONFIG)
    assert needs(steps) == {
        "studies@0: has": Need.NOTHING,
        "shards@0: lacks": Need.MADE,
        "models:/trrg/2: its": Need.MADE,
        "models:/trrg/1: the": Need.ADDED,
        "moves: that": Need.ADDED,
        "models:/trrg/1: perception": Need.MADE,
        "scores of models:/trrg/1: no": Need.NOTHING,
    }
    (shards,) = (step.detail for step in steps if step.part == "shards@0")
    assert shards.startswith("lacks has_prior, prior_study_id, indication, prior_report, sex and 9 more: ")
    assert shards.endswith("run `trrg shard`, which writes a new version")
    assert plan_migration(store, CONFIG) == steps, "looking changed the store"
    assert migrate(store, CONFIG) == steps
    assert Need.ADDED not in needs(plan_migration(store, CONFIG)).values()
    assert [move.after for move in list_moves(store)] == ["1"]
    with pytest.raises(ConfigError, match="was the first champion"):
        rollback(store, CONFIG.register_, "before the record")
    assert store.stamps("tables") == before, "a table was changed"


def test_a_damaged_perception_is_named(store: Store) -> None:
    store.write_bytes("runs/finetune-1/model/perception.json", b"{")
    (step,) = (step for step in plan_migration(store, CONFIG) if "perception" in step.detail)
    assert (step.part, step.need) == ("models:/trrg/1", Need.MADE)
    assert step.detail.startswith(
        "runs/finetune-1/model/perception.json is damaged: restore it from a backup, or train"
    )


def test_the_command_ends_with_1_while_something_must_be_made(store: Store, tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["migrate", "--store", store.uri])
    assert shown.exit_code == 1
    assert "make  shards@0: lacks" in shown.output
    assert shown.output.endswith("to add this: trrg migrate --yes\n")
    added = CliRunner().invoke(app, ["migrate", "--yes", "--store", store.uri])
    assert "added moves: that models:/trrg/1 is champion" in added.output
    empty = CliRunner().invoke(app, ["migrate", "--store", str(tmp_path / "none")])
    assert (empty.exit_code, empty.output.endswith("nothing in it that could be of an earlier version\n")) == (0, True)


def test_fields_inside_lists_and_structs_count() -> None:
    wanted = pa.schema([("a", pa.int8()), ("b", pa.list_(pa.struct([("c", pa.int8()), ("d", pa.int8())])))])
    assert missing_fields(wanted, wanted) == []
    assert missing_fields(wanted, pa.schema([("b", pa.list_(pa.struct([("d", pa.int8())])))])) == ["a", "b.c"]
    assert missing_fields(wanted, pa.schema([("a", pa.int8()), ("b", pa.string())])) == []
