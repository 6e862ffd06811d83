"""Attacks on checkpoints and model folders by somebody who can write to the store, but has none of the keys."""

import hashlib
import json
import os
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pipelines.registry.migration import migrate, plan_migration
from pipelines.training import state_files
from pipelines.training.loop import LOSSES, _read_losses
from tests.core.toy_model import write_toy_model
from tests.security.signing_keys import use_pair, write_pair
from trrg_core.config.load import load_config
from trrg_core.config.settings import EncoderConfig
from trrg_core.errors import ConfigError, TrainingError, TrrgError
from trrg_core.model.model_folder import load_model_folder
from trrg_core.runs.checkpoints import (
    MANIFEST,
    fetch_checkpoint,
    finish_checkpoint,
    list_checkpoints,
    remove_old,
    upload_files,
)
from trrg_core.runs.stored_model import fetched_model, model_path, uploaded_model
from trrg_core.signing.manifest_key import ManifestKey, read_manifest_key
from trrg_core.storage.store import Store, open_store

ROOT = Path(__file__).parents[2]
KEY, OTHER = ManifestKey(secret=b"k" * 32), ManifestKey(secret=b"o" * 32)
FOLDER = "runs/pretrain-1/checkpoints"


class Sentinel:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Path, str]]:
        return Path.write_text, (self.path, "code was run")


def plain_pickle(path: Path, sentinel: Path) -> None:
    path.write_bytes(pickle.dumps(Sentinel(sentinel)))


def torch_file(path: Path, sentinel: Path) -> None:
    torch.save({"module": Sentinel(sentinel)}, path)


def old_torch_file(path: Path, sentinel: Path) -> None:
    torch.save({"module": Sentinel(sentinel)}, path, _use_new_zipfile_serialization=False)


UNSAFE = {"weights_only": False}  # a pickle is run
POISONS = [plain_pickle, torch_file, old_torch_file]
Poison = Callable[[Path, Path], None]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def save(
    store: Store, tmp_path: Path, step: int, *, key: ManifestKey | None = KEY, folder: str = FOLDER, text: str = "w"
) -> str:
    """A checkpoint with one file; its path."""
    local = tmp_path / f"local-{step}-{text}"
    local.mkdir()
    (local / "state.json").write_text(text)
    path = f"{folder}/step-{step:07d}"
    finish_checkpoint(store, path, step=step, files=upload_files(store, local, path), notes={}, key=key)
    return path


def manifest_of(store: Store, path: str) -> dict[str, Any]:
    return json.loads(store.read_bytes(f"{path}/{MANIFEST}"))


def steps(store: Store, key: ManifestKey | None = KEY) -> list[int]:
    return [checkpoint.step for checkpoint in list_checkpoints(store, FOLDER, key)]


@pytest.mark.parametrize("poison", POISONS)
def test_these_files_run_code_where_pickles_are_read(tmp_path: Path, poison: Poison) -> None:
    poison(tmp_path / "file", tmp_path / "sentinel")
    torch.load(tmp_path / "file", **UNSAFE) if poison is not plain_pickle else pickle.loads(
        (tmp_path / "file").read_bytes()
    )
    assert (tmp_path / "sentinel").exists()


def read_all(folder: Path) -> None:
    state_files.read_common(folder)
    state_files._list_pieces(folder / state_files.share_file(0, 1))
    _read_losses(folder / LOSSES, 1)


@pytest.mark.parametrize("poison", POISONS)
def test_a_poisoned_file_of_a_training_state_runs_no_code(tmp_path: Path, poison: Poison) -> None:
    sentinel = tmp_path / "sentinel"
    share = state_files.share_file(0, 1)
    for name in (state_files.INDEX, state_files.BUFFERS, share, LOSSES):
        folder = tmp_path / name.partition(".")[0]
        folder.mkdir()
        state_files.write_common(folder, {"parameters": []}, {"seen": torch.zeros(1)})
        state_files.write_share(folder, {"weight/a@0": torch.ones(2)}, rank=0, world_size=1)
        (folder / LOSSES).write_text('[{"loss": 1.0}]')
        poison(folder / name, sentinel)
        with pytest.raises(TrainingError):
            read_all(folder)
    assert not sentinel.exists()


@pytest.mark.parametrize(
    "text", ["[", "3", "null", "{}", "[3]", '[{"loss": "soon"}]', '[{"loss": 1}, {"loss": 2}]', "[" * 100_000]
)
def test_losses_that_are_none_stop_the_run(tmp_path: Path, text: str) -> None:
    (tmp_path / LOSSES).write_text(text)
    with pytest.raises(TrainingError, match="of step 1"):
        _read_losses(tmp_path / LOSSES, 1)


@pytest.mark.parametrize("text", ["[]", "3", "null", "{}", '{"format": 1}', "[" * 100_000, "\xff"])
def test_an_index_that_is_none_stops_the_run(tmp_path: Path, text: str) -> None:
    state_files.write_common(tmp_path, {}, {"seen": torch.zeros(1)})
    (tmp_path / state_files.BUFFERS).write_bytes(b"") if text == '{"format": 1}' else None
    (tmp_path / state_files.INDEX).write_bytes(text.encode("latin-1"))
    with pytest.raises(TrainingError, match="holds no training state"):
        state_files.read_common(tmp_path)


def test_nothing_calls_deepspeeds_own_checkpoints() -> None:
    """They are pickles, which DeepSpeed reads without `weights_only`."""
    wanted = r"\.(load_checkpoint|save_checkpoint|save_16bit_model|load_module_state_dict)\(|zero_to_fp32"
    found = [
        f"{path.relative_to(ROOT)}: {call[0]}"
        for package in ("trrg_core", "pipelines", "flows", "infra")
        for path in (ROOT / package).rglob("*.py")
        for call in re.finditer(wanted, path.read_text("utf-8"))
    ]
    assert re.search(wanted, "engine.load_checkpoint(folder)")
    assert found == []


def test_a_forged_checkpoint_is_skipped_and_the_one_before_it_is_read(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(store, tmp_path, 1)
    forged = save(store, tmp_path, 2)
    # whoever can write to the store makes the sha256 list agree with the file
    store.write_bytes(f"{forged}/state.json", b"poison")
    manifest = manifest_of(store, forged)
    manifest["files"]["state.json"] = hashlib.sha256(b"poison").hexdigest()
    store.write_bytes(f"{forged}/{MANIFEST}", json.dumps(manifest).encode())
    assert steps(store, None) == [2, 1], "without a key the forgery passes"
    assert steps(store) == [1]
    assert f"{forged}/{MANIFEST} is not of the configured key" in caplog.text


@pytest.mark.parametrize("change", ["unsigned", "step", "notes", "empty", "number", "other letters", "other key"])
def test_every_part_of_a_manifest_is_under_the_hmac(store: Store, tmp_path: Path, change: str) -> None:
    save(store, tmp_path, 1)
    path = save(store, tmp_path, 2, key=OTHER if change == "other key" else KEY)
    manifest = manifest_of(store, path)
    changes: dict[str, dict[str, Any]] = {
        "step": {"step": 9},
        "notes": {"notes": {"world_size": 8}},
        "empty": {"hmac": ""},
        "number": {"hmac": 3},
        "other letters": {"hmac": "\ud800\xe9"},
    }
    manifest |= changes.get(change, {})
    if change == "unsigned":
        del manifest["hmac"]
    store.write_bytes(f"{path}/{MANIFEST}", json.dumps(manifest).encode())
    assert steps(store) == [1]


def test_a_sealed_checkpoint_of_another_run_is_refused(store: Store, tmp_path: Path) -> None:
    save(store, tmp_path, 1)
    other = save(store, tmp_path, 7, folder="runs/pretrain-2/checkpoints")
    for name in ("state.json", MANIFEST):
        store.write_bytes(f"{FOLDER}/step-0000007/{name}", store.read_bytes(f"{other}/{name}"))
    assert steps(store) == [1]


def test_a_run_whose_checkpoints_are_all_of_another_key_does_not_start_anew_in_silence(
    store: Store, tmp_path: Path
) -> None:
    save(store, tmp_path, 1, key=None)
    assert steps(store, None) == [1]
    with pytest.raises(TrainingError, match=r"1 checkpoints under .*none with the HMAC.*trrg migrate"):
        steps(store)
    assert list_checkpoints(store, "runs/none/checkpoints", KEY) == []


def test_a_checkpoint_of_an_unknown_key_is_never_deleted(store: Store, tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save(store, tmp_path, step, key=OTHER if step == 3 else KEY)
    remove_old(store, FOLDER, keep=1, key=KEY)
    assert steps(store, None) == [3, 2]


def test_a_sealed_checkpoint_reads_without_a_key_and_back(store: Store, tmp_path: Path) -> None:
    save(store, tmp_path, 1)
    (without,), (with_key,) = list_checkpoints(store, FOLDER), list_checkpoints(store, FOLDER, KEY)
    assert without == with_key
    fetch_checkpoint(store, with_key, tmp_path / "back")
    assert (tmp_path / "back/state.json").read_text() == "w"


@pytest.mark.parametrize("digest", ["", 3, None, "0" * 63, "../x", "G" * 64])
def test_a_manifest_with_a_digest_that_is_none_is_set_aside(store: Store, tmp_path: Path, digest: Any) -> None:
    path = save(store, tmp_path, 1)
    manifest = manifest_of(store, path)
    manifest["files"]["state.json"] = digest
    store.write_bytes(f"{path}/{MANIFEST}", json.dumps(manifest).encode())
    assert steps(store, None) == []


def test_a_manifest_of_deep_json_is_set_aside(store: Store) -> None:
    store.write_bytes(f"{FOLDER}/step-1/{MANIFEST}", b"[" * 100_000)
    assert steps(store) == steps(store, None) == []


def test_the_key_comes_from_the_environment_then_from_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRRG_MANIFEST_KEY", raising=False)
    assert read_manifest_key() is None
    file = tmp_path / "key"
    file.write_text("k" * 32 + "\n")
    assert read_manifest_key(str(file)) == KEY
    monkeypatch.setenv("TRRG_MANIFEST_KEY", "o" * 32)
    assert read_manifest_key(str(file)) == OTHER
    assert "oooo" not in repr(OTHER)


def test_a_bad_key_is_an_error_that_does_not_quote_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRRG_MANIFEST_KEY", raising=False)
    store = tmp_path / "store"
    store.mkdir()
    (store / "key").write_text("k" * 32)
    (tmp_path / "link").symlink_to(store / "key")
    (tmp_path / "short").write_text("secret")
    os.mkfifo(tmp_path / "fifo")
    reasons = {
        "store/key": "lies in the store",
        "link": "lies in the store",
        "short": "holds 6 characters, expected at least 32",
        "fifo": "there is no such file",
        "missing": "there is no such file",
        "store": "lies in the store",
    }
    for name, reason in reasons.items():
        with pytest.raises(ConfigError, match=reason) as caught:
            read_manifest_key(str(tmp_path / name), str(store))
        assert "secret" not in str(caught.value)
    monkeypatch.setenv("TRRG_MANIFEST_KEY", "short")
    with pytest.raises(ConfigError, match="TRRG_MANIFEST_KEY holds 5 characters"):
        read_manifest_key()


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_model(tmp_path_factory.mktemp("toy") / "model")


def rewrite_manifest(folder: Path) -> None:
    """What an attacker does after changing a file: the sha256 list agrees again."""
    manifest = json.loads((folder / MANIFEST).read_text())
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST]
    manifest["files"] = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }
    (folder / MANIFEST).write_text(json.dumps(manifest))


@pytest.mark.parametrize("poison", POISONS)
@pytest.mark.parametrize(
    "name",
    [
        "model.safetensors",
        "config.json",
        "perception.json",
        "text_tokenizer/tokenizer.json",
        "llm_tokenizer/tokenizer_config.json",
        "pytorch_model.bin",
        "model/global_step1/mp_rank_00_model_states.pt",
        "custom_generate/generate.py",
    ],
)
def test_a_poisoned_file_of_a_model_folder_runs_no_code(toy: Path, tmp_path: Path, poison: Poison, name: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(toy, folder)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    poison(folder / name, tmp_path / "sentinel")
    rewrite_manifest(folder)
    with pytest.raises(TrrgError):
        load_model_folder(folder)
    assert not (tmp_path / "sentinel").exists()


def test_a_replaced_model_is_refused_by_its_hmac(toy: Path, store: Store) -> None:
    with uploaded_model(store, "finetune-1", key=KEY) as folder:
        shutil.copytree(toy, folder)
    with fetched_model(store, "finetune-1", key=KEY) as folder:
        assert (folder / MANIFEST).is_file()
    stored = Path(store.join(model_path("finetune-1")))
    (stored / "perception.json").write_text((stored / "perception.json").read_text() + " ")
    rewrite_manifest(stored)
    with fetched_model(store, "finetune-1"):
        pass
    with (
        pytest.raises(ConfigError, match=r"model: its HMAC is of another key"),
        fetched_model(store, "finetune-1", key=KEY),
    ):
        pass
    store.delete(f"{model_path('finetune-1')}.hmac")
    with (
        pytest.raises(ConfigError, match=r"there is no runs/finetune-1/model\.hmac"),
        fetched_model(store, "finetune-1", key=KEY),
    ):
        pass


def test_a_store_of_before_gets_its_hmacs_when_a_person_asks(
    toy: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config("tiny")
    path = save(store, tmp_path, 1, key=None)
    with uploaded_model(store, "finetune-1") as folder:
        shutil.copytree(toy, folder)
    monkeypatch.delenv("TRRG_MANIFEST_KEY", raising=False)
    assert plan_migration(store, config) == []
    monkeypatch.setenv("TRRG_MANIFEST_KEY", "k" * 32)
    assert [step.part for step in migrate(store, config)] == ["runs/finetune-1/model", path]
    assert plan_migration(store, config) == []
    assert steps(store) == [1]
    with fetched_model(store, "finetune-1", key=KEY):
        pass


def test_the_check_says_when_there_is_no_key(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.cli.key_checks import check_manifest_key

    monkeypatch.delenv("TRRG_MANIFEST_KEY", raising=False)
    found = check_manifest_key(store.uri, load_config("tiny"))
    assert found.passed
    assert found.detail.startswith("none: sha256 alone")
    wrong = check_manifest_key(store.uri, load_config("tiny", [f"engine.manifest_key_file={tmp_path}/none"]))
    assert (wrong.passed, "no such file" in wrong.detail) == (False, True)
    monkeypatch.setenv("TRRG_MANIFEST_KEY", "k" * 32)
    assert check_manifest_key(store.uri, load_config("tiny")).detail.endswith("have an HMAC")


def test_the_check_says_which_weights_have_no_pin_and_whether_models_are_signed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.cli.key_checks import check_model_keys, check_pins

    assert "not pinned" not in check_pins(load_config("tiny")).detail
    assert "finetune.llm (Qwen/Qwen2.5-7B-Instruct)" in check_pins(load_config("base")).detail
    pins = [f"{name}.revision={'0c' * 20}" for name in ("pretrain.image_encoder", "pretrain.text_encoder")]
    found = check_pins(load_config("base", [*pins, "finetune.llm.revision=main"]))
    assert "image_encoder" not in found.detail
    assert "finetune.llm" in found.detail, "a branch is no pin"
    use_pair(monkeypatch, None, None)
    assert check_model_keys().detail.startswith("none: ")
    private, public = write_pair(tmp_path)
    use_pair(monkeypatch, private, public)
    assert check_model_keys().detail == "models are signed and verified here"
    use_pair(monkeypatch, private, write_pair(tmp_path, "other")[1])
    assert not check_model_keys().passed


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "clip", "vision_config": {"attn_implementation": "somebody/kernel"}},
        {"model_type": "clip", "text_config": {"_attn_implementation_internal": "somebody/kernel"}},
        {"model_type": "vit", "parts": [{"attn_implementation": "somebody/kernel"}]},
    ],
)
def test_no_value_of_an_architecture_names_a_kernel(config: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is not a value of an architecture"):
        EncoderConfig(config=config)
