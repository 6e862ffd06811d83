import json
from pathlib import Path

import pytest

from flows.cli import main
from tests.core.toy_versions import NO, YES, write_chain
from trrg_core.exports.export_folder import verify_folder
from trrg_core.storage.store import open_store


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("flows.cli._set_up", lambda: None)
    store = open_store(str(tmp_path / "store"))
    write_chain(store, {"1": ("train", {"Edema": NO}), "3": ("test", {"Pneumonia": YES})})
    return store.uri


def _trrg(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["trrg", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_what_was_exported_is_told(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tmp_path / "out")
    assert _trrg(monkeypatch, "export", "studies", folder, "--format", "hf", "--store", store, "--json") == 0
    values = json.loads(capsys.readouterr().out)
    counted = {"studies": 1, "rows": 1, "images": 1, "patients": 1}
    assert values["splits"] == [{"split": "train", **counted}, {"split": "test", **counted}]
    assert (values["ref"], values["format"], values["files"]) == ("studies@0", "hf", 6)
    sizes = [path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()]
    assert values["bytes"] == sum(sizes)
    assert verify_folder(Path(folder)) == []


def test_hashing_without_a_key_stops_before_any_work(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TRRG_EXPORT_KEY", raising=False)
    words = ["export", "studies@0", str(tmp_path / "out"), "--hash-ids", "--store", store]
    assert _trrg(monkeypatch, *words) == 2
    assert "TRRG_EXPORT_KEY" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    monkeypatch.setenv("TRRG_EXPORT_KEY", "an invented secret of a test")
    assert _trrg(monkeypatch, *words) == 0
    shown = capsys.readouterr().out
    assert "studies@0 as parquet" in shown
    assert "it holds report text" in shown
