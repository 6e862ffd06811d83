"""Checkpoints on two ranks: written beside the training, complete or not there, fetched together."""

import os
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist

from pipelines.training.checkpoint_writer import CheckpointWriter, fetch_on_all_ranks
from tests.pipelines.training.engine_ranks import run_ranks
from trrg_core.errors import StorageError
from trrg_core.runs.checkpoints import MANIFEST, list_checkpoints
from trrg_core.storage.store import Store

FOLDER = "runs/r/checkpoints"


@dataclass(frozen=True)
class Share:
    """A rank's share; `text` is what it holds."""

    text: str

    def write(self, folder: Path) -> None:
        rank, world = dist.get_rank(), dist.get_world_size()
        (folder / f"state-{rank:05d}-of-{world:05d}.safetensors").write_text(self.text)
        if rank == 0:
            (folder / "state.json").write_text("{}")


@dataclass(frozen=True)
class SlowStore(Store):
    """A store whose uploads wait until `gate` is open, and fail where `fails`."""

    gate: threading.Event = field(default_factory=threading.Event)
    fails: bool = False

    def upload_dir(self, local: Path, path: str) -> tuple[str, ...]:
        assert self.gate.wait(60)
        if self.fails:
            raise StorageError("disk full")
        return super().upload_dir(local, path)


def write_beside_training(folder: Path) -> dict[str, Any]:
    """Two checkpoints, the first of which can be uploaded only after `save` returned."""
    store = SlowStore(str(folder / "store"))
    writer = CheckpointWriter(store, FOLDER, keep=1)
    writer.save(Share("one"), step=1, files={"losses.json": b"[1]"})
    during = [one.step for one in list_checkpoints(store, FOLDER)]
    store.gate.set()
    writer.save(Share("two"), step=2, files={"losses.json": b"[1, 2]"})
    writer.close()
    dist.barrier()
    newest = list_checkpoints(store, FOLDER)
    return {"during": during, "after": [one.step for one in newest], "files": sorted(newest[0].files)}


def test_saving_returns_before_the_upload_and_completes_the_one_before(tmp_path: Path) -> None:
    for result in run_ranks(write_beside_training, tmp_path, 2):
        assert result["during"] == []
        assert result["after"] == [2]
        shares = ["state-00000-of-00002.safetensors", "state-00001-of-00002.safetensors"]
        assert result["files"] == ["losses.json", *shares, "state.json"]


def fail_on_one_rank(folder: Path) -> dict[str, Any]:
    """The upload of rank 1 fails; the error that each rank gets at the next save, and what is in the store."""
    store = SlowStore(str(folder / "store"), fails=dist.get_rank() == 1)
    store.gate.set()
    writer = CheckpointWriter(store, FOLDER, keep=1)
    writer.save(Share("one"), step=1, files={})
    with pytest.raises(StorageError) as caught:
        writer.save(Share("two"), step=2, files={})
    writer.close()
    return {"error": str(caught.value), "checkpoints": len(list_checkpoints(store, FOLDER))}


def test_an_upload_that_failed_on_one_rank_stops_all_at_the_next_save(tmp_path: Path) -> None:
    expected = f"checkpoint {FOLDER}/step-0000001 cannot be written, on rank 1: StorageError: disk full"
    assert run_ranks(fail_on_one_rank, tmp_path, 2) == [{"error": expected, "checkpoints": 0}] * 2


def die_while_uploading(folder: Path) -> dict[str, Any]:
    """One whole checkpoint, then a kill -9 of both ranks when the files of rank 0 of the second are uploaded."""
    store = SlowStore(str(folder / "store"))
    writer = CheckpointWriter(store, FOLDER, keep=2)
    store.gate.set()
    writer.save(Share("one"), step=1, files={})
    writer.wait()
    if dist.get_rank() == 1:
        store.gate.clear()
    writer.save(Share("two"), step=2, files={})
    while not store.exists(f"{FOLDER}/step-0000002/state.json"):
        time.sleep(0.01)
    dist.barrier()
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def end_while_uploading(folder: Path) -> dict[str, Any]:
    """SIGTERM while an upload is on its way: Python exits, as in a worker of Ray."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    store = SlowStore(str(folder / "store"))
    writer = CheckpointWriter(store, FOLDER, keep=2)
    writer.save(Share("one"), step=1, files={})
    threading.Timer(0.5, store.gate.set).start()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
    return {}


def fetch(folder: Path) -> dict[str, Any]:
    """What each rank fetches."""
    (local := folder / f"local-{dist.get_rank()}").mkdir()
    newest = fetch_on_all_ranks(Store(str(folder / "store")), FOLDER, local)
    return {"step": newest.step if newest else None, "files": sorted(path.name for path in local.iterdir())}


def test_a_kill_in_the_middle_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    run_ranks(die_while_uploading, tmp_path, 2, exit_codes={-signal.SIGKILL})
    assert (tmp_path / "store" / FOLDER / "step-0000002/state.json").exists()
    assert not (tmp_path / "store" / FOLDER / "step-0000002" / MANIFEST).exists()
    common = ["state.json"]
    assert run_ranks(fetch, tmp_path, 2) == [
        {"step": 1, "files": ["state-00000-of-00002.safetensors", *common]},
        {"step": 1, "files": ["state-00001-of-00002.safetensors", *common]},
    ]


def test_an_upload_is_completed_when_the_process_is_asked_to_end(tmp_path: Path) -> None:
    run_ranks(end_while_uploading, tmp_path, 2, exit_codes={0}, has_result=False)
    assert [one.step for one in list_checkpoints(Store(str(tmp_path / "store")), FOLDER)] == [1]


@dataclass(frozen=True)
class UnreadableStore(Store):
    """A store that rank 1 cannot read."""

    def read_bytes(self, path: str, max_bytes: int | None = None) -> bytes:
        if dist.get_rank() == 1:
            raise StorageError("unreachable")
        return super().read_bytes(path, max_bytes)


def fetch_damaged(folder: Path) -> dict[str, Any]:
    """Two checkpoints, rank 1's share of the newer damaged; then a store that only rank 1 cannot read."""
    store = Store(str(folder / "store"))
    writer = CheckpointWriter(store, FOLDER, keep=2)
    for step in (1, 2):
        writer.save(Share(f"step {step}"), step=step, files={})
    writer.close()
    dist.barrier()
    path = f"{FOLDER}/step-0000002/state-00001-of-00002.safetensors"
    if dist.get_rank() == 1:
        store.write_bytes(path, b"step 3")
    dist.barrier()
    result = fetch(folder)
    began = time.monotonic()
    with pytest.raises(StorageError) as caught:
        fetch_on_all_ranks(UnreadableStore(store.uri), FOLDER, folder / "unused")
    return {**result, "error": str(caught.value), "is_quick": time.monotonic() - began < 60}


def test_all_ranks_take_the_checkpoint_before_a_damaged_one_and_fail_together(tmp_path: Path) -> None:
    error = f"{FOLDER}/step-0000002 cannot be fetched, on rank 1: StorageError: unreachable"
    results = run_ranks(fetch_damaged, tmp_path, 2)
    assert [one["step"] for one in results] == [1, 1]
    assert (tmp_path / "local-1/state-00001-of-00002.safetensors").read_text() == "step 1"
    assert [one["error"] for one in results] == [error, error]
    assert all(one["is_quick"] for one in results)
