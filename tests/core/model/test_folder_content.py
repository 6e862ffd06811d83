"""A folder of weights is known by its files, not by its path."""

import os
from pathlib import Path

import pytest

from trrg_core.config.settings import EncoderConfig
from trrg_core.errors import ConfigError
from trrg_core.model import folder_content
from trrg_core.model.folder_content import by_content, check_folder_exists, folder_digest


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return _write(tmp_path / "weights")


def _write(folder: Path, weights: bytes = b"weights") -> Path:
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def test_the_same_files_are_the_same_under_any_path_and_beside_files_that_are_not_read(folder: Path) -> None:
    copy = _write(folder.parent / "copy")
    for name in ("README.md", "pytorch_model.bin", ".gitattributes"):
        (copy / name).write_text("not read")
    (copy / "original").mkdir()
    one, other = (by_content(EncoderConfig(pretrained=str(path))) for path in (folder, copy))
    assert one == other
    assert one.pretrained == f"sha256:{folder_digest(folder)}"


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_changed_or_added_file_makes_other_weights(folder: Path, name: str) -> None:
    before = folder_digest(folder)
    (folder / name).write_text("changed")
    assert folder_digest(folder) != before


def test_what_is_no_folder_here_keeps_its_name(folder: Path) -> None:
    for encoder in (
        EncoderConfig(pretrained="owner/model", revision="main"),
        EncoderConfig(pretrained=str(folder / "elsewhere")),
        EncoderConfig(config={"model_type": "bert"}),
    ):
        assert by_content(encoder) is encoder


def test_a_large_file_is_hashed_again_only_when_it_changed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []
    sha256_of = folder_content.sha256_of

    def count(file: Path) -> str:
        hashed.append(file.name)
        return sha256_of(file)

    monkeypatch.setattr(folder_content, "sha256_of", count)
    monkeypatch.setattr(folder_content, "_MIN_KEPT_BYTES", 3)
    monkeypatch.setattr(folder_content, "_MIN_AGE_S", -1)
    first = folder_digest(folder)
    assert (folder_digest(folder), hashed) == (first, ["config.json", "model.safetensors", "config.json"])
    weights = folder / "model.safetensors"
    state = weights.stat()
    weights.write_bytes(b"WEIGHTS")  # of the same size
    os.utime(weights, ns=(state.st_atime_ns, state.st_mtime_ns))  # and time, as some copies have
    assert folder_digest(folder) != first
    (folder.parent / "cache" / "trrg" / "digests.json").write_text("[damaged")
    weights.write_bytes(b"weights")
    assert folder_digest(folder) == first


def test_a_folder_that_is_not_there_is_refused_before_workers_start(folder: Path) -> None:
    check_folder_exists(EncoderConfig(pretrained=str(folder)), "finetune.llm")
    check_folder_exists(EncoderConfig(pretrained="owner/model"), "finetune.llm")
    with pytest.raises(ConfigError, match=r"finetune\.llm\.pretrained='\./none': there is no such folder"):
        check_folder_exists(EncoderConfig(pretrained="./none"), "finetune.llm")
