"""A person moves the alias: with a reason, back as well, and never while another process decides."""

import logging
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipelines.registry.alias_moves import BACK, BY_GATE, Move, list_moves, promote, record_move, rollback
from pipelines.registry.find_model import find_model
from pipelines.registry.lineage import find_champion
from pipelines.registry.lock import registry_lock
from pipelines.registry.registry_client import CHAMPION, NewVersion, open_registry
from tests.core.bucket import Bucket
from trrg_core.config.settings import RegisterConfig
from trrg_core.errors import ConfigError, StorageError
from trrg_core.storage.store import Store, open_store

CONFIG = RegisterConfig()


@pytest.fixture
def store(store_with_registry: Store) -> Store:
    """Versions 1 to 3; the gate promoted the first and then the second."""
    with open_registry(store_with_registry, CONFIG) as models:
        for number in (1, 2, 3):
            run_id = f"finetune-{number}"
            models.create(NewVersion(run_id=f"register-{number}", source="", generator=run_id, scores=""))
        models.set_alias(CHAMPION, "2")
    record_move(store_with_registry, Move(before="", after="1", kind=BY_GATE, reason="promoted"))
    record_move(store_with_registry, Move(before="1", after="2", kind=BY_GATE, reason="promoted"))
    return store_with_registry


def champion(store: Store) -> str:
    return find_model(store, CONFIG, "models:/trrg@champion").run_id


def test_promotion_and_rollback_take_effect_at_once_and_say_why(store: Store) -> None:
    promote(store, CONFIG, "3", "a better reader study")
    assert champion(store) == "finetune-3"
    found = find_champion(store, CONFIG)
    assert found is not None
    assert found.why.startswith("promoted by ")
    assert found.why.endswith(": a better reader study")
    assert rollback(store, CONFIG, "it misses tubes").after == "2"
    assert champion(store) == "finetune-2"
    # twice goes back two steps, not forth again
    assert rollback(store, CONFIG, "this one too").after == "1"
    with pytest.raises(ConfigError, match="was the first champion"):
        rollback(store, CONFIG, "and this")
    assert [(move.before, move.after, move.kind) for move in list_moves(store)][2:] == [
        ("2", "3", "person"),
        ("3", "2", BACK),
        ("2", "1", BACK),
    ]


@pytest.mark.parametrize(
    ("version", "reason", "message"),
    [
        ("3", " ", "a reason is needed"),
        ("2", "again", "models:/trrg/2 is the champion already"),
        ("9", "typo", "models:/trrg/9 is not in the registry: `trrg models` lists"),
        ("", "an empty field of the form", "version '': expected its number, e.g. 3"),
        ("02", "the same version", "version '02': expected its number, e.g. 3"),
    ],
)
def test_a_wrong_promotion_changes_nothing(store: Store, version: str, reason: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        promote(store, CONFIG, version, reason)
    assert champion(store) == "finetune-2"
    assert len(list_moves(store)) == 2


def test_an_alias_that_was_moved_by_hand_names_no_earlier_champion(store: Store) -> None:
    with open_registry(store, CONFIG) as models:
        models.set_alias(CHAMPION, "3")
    with pytest.raises(ConfigError, match=r"before models:/trrg/3: name it with `trrg promote VERSION"):
        rollback(store, CONFIG, "back")


def test_a_version_that_was_champion_twice_is_no_circle(store: Store) -> None:
    promote(store, CONFIG, "1", "the first was better")
    assert [rollback(store, CONFIG, "back").after for _ in range(2)] == ["2", "1"]
    with pytest.raises(ConfigError, match="models:/trrg/1 was the first champion"):
        rollback(store, CONFIG, "back")


def test_a_rollback_that_was_cut_off_undoes_nothing(store: Store) -> None:
    record_move(store, Move(before="2", after="1", kind=BACK, reason="killed before the alias moved"))
    assert rollback(store, CONFIG, "again").after == "1"
    with pytest.raises(ConfigError, match="models:/trrg/1 was the first champion"):
        rollback(store, CONFIG, "back")


def test_the_moves_of_another_model_of_the_store_lead_nowhere(store: Store) -> None:
    other = RegisterConfig(model_name="other")
    with open_registry(store, other) as models:
        for number in (1, 2, 3):
            models.create(NewVersion(run_id=f"r-{number}", source="", generator=f"finetune-{number}", scores=""))
        models.set_alias(CHAMPION, "3")
    promote(store, other, "2", "of the other model")
    assert rollback(store, CONFIG, "back").after == "1"


def test_of_two_processes_one_waits_and_a_killed_one_holds_nothing(store: Store) -> None:
    script = (
        "import sys, time; from pipelines.registry.lock import registry_lock; "
        "from trrg_core.storage.store import open_store\n"
        "with registry_lock(open_store(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script, store.uri], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(StorageError, match=f"the registry is held by process {holder.pid} of "),
            registry_lock(store, wait_s=0.2, poll_s=0.05),
        ):
            pass
        holder.kill()
        with registry_lock(store, wait_s=10, poll_s=0.05):
            pass


def test_a_store_that_cannot_be_written_is_a_mistake_to_right(tmp_path: Path) -> None:
    (tmp_path / "registry").touch()
    with (
        pytest.raises(ConfigError, match=r"registry/decision\.lock: .*takes write access to the store"),
        registry_lock(open_store(str(tmp_path))),
    ):
        pass


def test_a_full_disk_keeps_no_lock_from_being_held(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))  # every byte that is written is too many
    try:
        with registry_lock(open_store(str(tmp_path))):
            is_held = True
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert is_held, "what is written next says what is full"


def test_the_lease_of_a_bucket_excludes_and_is_taken_over_when_old(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    bucket, order = Bucket(store), []
    caplog.set_level(logging.INFO)

    def second() -> None:
        with registry_lock(bucket, wait_s=10, poll_s=0.02):
            order.append("second")

    thread = threading.Thread(target=second)
    with registry_lock(bucket, wait_s=1, poll_s=0.02):
        thread.start()
        time.sleep(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    waiting = next(one for one in caplog.messages if one.startswith("waiting for the registry, which process "))
    assert waiting.endswith(" (sign of life 0 s ago, taken for dead after 120 s) holds"), "of a kill the time is known"
    store.write_bytes("registry/decision.lock", b'{"host": "gone", "pid": 1, "renewed": 1.0}')
    with registry_lock(bucket, wait_s=1, poll_s=0.02):
        order.append("third")
    assert order[-1] == "third"
