import json
from pathlib import Path

import pytest

from pipelines.registry.find_model import FoundModel
from pipelines.serving.load_writer import load_writer
from tests.core.toy_model import write_toy_model
from trrg_core.errors import ConfigError
from trrg_core.model.manifest import write_manifest
from trrg_core.storage.store import open_store


def test_a_model_of_an_older_format_is_a_mistake_in_one_line(tmp_path: Path) -> None:
    folder = write_toy_model(tmp_path / "model")
    perception = json.loads((folder / "perception.json").read_text())
    (folder / "perception.json").write_text(json.dumps(perception | {"format": 1}))
    (folder / "manifest.json").unlink()
    write_manifest(folder)
    with pytest.raises(ConfigError, match="old: the model folder cannot be read: perception format 1"):
        load_writer(open_store(str(tmp_path)), FoundModel(name="old", folder=str(folder)), device="cpu")


def test_a_setting_that_this_version_does_not_know_is_told_with_its_folder(tmp_path: Path) -> None:
    folder = write_toy_model(tmp_path / "model")
    described = json.loads((folder / "config.json").read_text())
    described["trrg"]["generate"]["later"] = 1
    (folder / "config.json").write_text(json.dumps(described))
    (folder / "manifest.json").unlink()
    write_manifest(folder)
    with pytest.raises(
        ConfigError, match=r"model/config\.json, which another version .*: unknown key 'generate\.later'"
    ):
        load_writer(open_store(str(tmp_path)), FoundModel(name="new", folder=str(folder)), device="cpu")
