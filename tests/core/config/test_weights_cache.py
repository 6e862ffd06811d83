import pytest

from trrg_core.config.weights_cache import resolve_pretrained, weights_cache
from trrg_core.errors import ConfigError


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TRRG_WEIGHTS", str(tmp_path))
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "config.json").write_text("{}")
    return tmp_path


def test_the_environment_chooses_the_folder(cache, monkeypatch):
    assert weights_cache() == cache
    monkeypatch.delenv("TRRG_WEIGHTS")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert str(weights_cache()) == "/somewhere/trrg/weights"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/a")
    assert str(weights_cache()) == "/home/a/.cache/trrg/weights"


def test_a_name_becomes_a_folder_and_other_names_stay(cache):
    assert resolve_pretrained("weights:encoder") == str(cache / "encoder")
    assert resolve_pretrained("google/vit-base-patch16-224") == "google/vit-base-patch16-224"
    assert resolve_pretrained("") == ""


def test_absent_weights_name_the_command_that_makes_them(cache):
    with pytest.raises(ConfigError, match=r"run `make weights` \(or `trrg weights decoder`\)"):
        resolve_pretrained("weights:decoder")


@pytest.mark.parametrize("name", ["", ".", "..", "../encoder", "/etc", "encoder/..", "encoder/"])
def test_a_name_cannot_leave_the_folder(cache, name):
    with pytest.raises(ConfigError, match="expected weights:NAME"):
        resolve_pretrained(f"weights:{name}")
