import json
import logging
from pathlib import Path

import pytest

from trrg_core.errors import DataError, StorageError, TrainingError
from trrg_core.runs.checkpoints import (
    MANIFEST,
    Checkpoint,
    fetch_checkpoint,
    finish_checkpoint,
    list_checkpoints,
    remove_old,
    upload_files,
)
from trrg_core.storage.store import Store, open_store

FOLDER = "runs/r1/checkpoints"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def _save(store: Store, tmp_path: Path, step: int) -> Checkpoint:
    local = tmp_path / f"local-{step}"
    (local / "rank0").mkdir(parents=True)
    (local / "rank0/weights.bin").write_bytes(bytes([step]) * 100)
    (local / "rng.bin").write_bytes(b"%d" % step)
    path = f"{FOLDER}/{step:06}"
    return finish_checkpoint(
        store, path, step=step, files=upload_files(store, local, path), notes={"loss": 0.5, "lr": [1e-3]}
    )


def _damage(store: Store, path: str, how: str) -> None:
    data = store.read_bytes(path)
    if how == "missing":
        store.delete(path)
    else:
        store.write_bytes(path, data[:-1] if how == "truncated" else bytes([data[0] ^ 1]) + data[1:])


def test_a_checkpoint_comes_back_with_every_byte_and_note(store: Store, tmp_path: Path) -> None:
    saved = _save(store, tmp_path, 3)
    assert sorted(saved.files) == ["rank0/weights.bin", "rng.bin"]
    assert list_checkpoints(store, FOLDER) == [saved]
    fetch_checkpoint(store, saved, tmp_path / "back")
    assert (tmp_path / "back/rank0/weights.bin").read_bytes() == bytes([3]) * 100
    assert (tmp_path / "back/rng.bin").read_bytes() == b"3"


def test_some_files_of_a_checkpoint_can_be_fetched(store: Store, tmp_path: Path) -> None:
    fetch_checkpoint(store, _save(store, tmp_path, 3), tmp_path / "back", ["rng.bin"])
    assert [path.name for path in (tmp_path / "back").iterdir()] == ["rng.bin"]


def test_checkpoints_are_listed_newest_first_by_step(store: Store, tmp_path: Path) -> None:
    for step in (9, 100, 20):
        _save(store, tmp_path, step)
    assert [one.step for one in list_checkpoints(store, FOLDER)] == [100, 20, 9]
    assert list_checkpoints(store, "runs/other") == []


def test_without_a_manifest_it_is_no_checkpoint(store: Store, tmp_path: Path) -> None:
    first, second = _save(store, tmp_path, 1), _save(store, tmp_path, 2)
    store.delete(f"{second.path}/{MANIFEST}")
    assert list_checkpoints(store, FOLDER) == [first]


@pytest.mark.parametrize(
    ("how", "reason"),
    [("flipped", "sha256 is"), ("truncated", "sha256 is"), ("missing", "cannot be read")],
)
def test_a_damaged_checkpoint_is_refused(store: Store, tmp_path: Path, how: str, reason: str) -> None:
    saved = _save(store, tmp_path, 2)
    _damage(store, f"{saved.path}/rank0/weights.bin", how)
    with pytest.raises(TrainingError, match=f"{saved.path}/rank0/weights.bin.*{reason}"):
        fetch_checkpoint(store, saved, tmp_path / "back")
    assert not (tmp_path / "back/rank0/weights.bin").exists(), "nothing is written before it is verified"


def test_a_store_that_fails_is_no_damage(store: Store, tmp_path: Path) -> None:
    class Failing(Store):
        def read_bytes(self, path: str, max_bytes: int | None = None) -> bytes:
            raise StorageError("unreachable")

    with pytest.raises(StorageError, match="unreachable"):
        fetch_checkpoint(Failing(store.uri), _save(store, tmp_path, 2), tmp_path / "back")


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'{"step": 9}',
        b'{"step": "soon", "files": {}, "notes": {}}',
        b'{"step": 9, "files": 3, "notes": {}}',
        b'{"step": null, "files": {}, "notes": {}}',
    ],
)
def test_a_garbage_manifest_is_set_aside_with_a_warning(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture, manifest: bytes
) -> None:
    good = _save(store, tmp_path, 1)
    store.write_bytes(f"{FOLDER}/000009/{MANIFEST}", manifest)
    with caplog.at_level(logging.WARNING):
        assert list_checkpoints(store, FOLDER) == [good]
    assert f"{FOLDER}/000009/{MANIFEST} is not a manifest" in caplog.text


@pytest.mark.parametrize("name", ["../../../escape", "/escape", "a/../../escape"])
def test_a_manifest_cannot_write_outside_the_folder(store: Store, tmp_path: Path, name: str) -> None:
    store.write_bytes("runs/r1/x/escape", b"data")
    odd = Checkpoint(path="runs/r1/x", step=1, files={name: "0" * 64}, notes={})
    with pytest.raises(TrainingError, match="escape"):
        fetch_checkpoint(store, odd, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_old_ones_are_removed_and_the_newest_kept(store: Store, tmp_path: Path) -> None:
    for step in (1, 2, 3, 4):
        _save(store, tmp_path, step)
    remove_old(store, FOLDER, keep=2)
    assert [one.step for one in list_checkpoints(store, FOLDER)] == [4, 3]
    assert {path.split("/")[3] for path in store.list(FOLDER)} == {"000003", "000004"}
    remove_old(store, FOLDER, keep=5)
    assert len(list_checkpoints(store, FOLDER)) == 2


def test_removal_cut_after_its_first_step_leaves_no_checkpoint_half_there(store: Store, tmp_path: Path) -> None:
    class Cut(Store):
        def delete(self, path: str) -> None:
            super().delete(path)
            raise KeyboardInterrupt

    _save(store, tmp_path, 1)
    newest = _save(store, tmp_path, 2)
    with pytest.raises(KeyboardInterrupt):
        remove_old(Cut(store.uri), FOLDER, keep=1)
    assert f"{FOLDER}/000001/rng.bin" in store.list(FOLDER)
    assert list_checkpoints(store, FOLDER) == [newest]


def test_a_manifest_removed_between_list_and_read_is_passed_over(store: Store, tmp_path: Path) -> None:
    class Racing(Store):
        def read_bytes(self, path: str, max_bytes: int | None = None) -> bytes:
            if path.startswith(f"{FOLDER}/000001/"):
                raise DataError("missing_file", f"no file {path}")
            return super().read_bytes(path, max_bytes)

    _save(store, tmp_path, 1)
    newest = _save(store, tmp_path, 2)
    assert list_checkpoints(Racing(store.uri), FOLDER) == [newest]


def test_the_manifest_names_the_sha256_of_each_file(store: Store, tmp_path: Path) -> None:
    import hashlib

    saved = _save(store, tmp_path, 5)
    manifest = json.loads(store.read_bytes(f"{saved.path}/{MANIFEST}"))
    assert manifest["step"] == 5
    assert manifest["files"]["rng.bin"] == hashlib.sha256(b"5").hexdigest()
