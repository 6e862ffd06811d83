from pathlib import Path

import pytest

from trrg_core.runs.stored_model import fetched_model, model_path, uploaded_model
from trrg_core.storage.store import Store, open_store


def test_an_uploaded_model_can_be_fetched(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    with uploaded_model(store, "pretrain-1") as folder:
        folder.mkdir()
        (folder / "config.json").write_text("{}")
    with fetched_model(store, "pretrain-1") as folder:
        assert (folder / "config.json").read_text() == "{}"
    assert not folder.exists()


def test_a_model_that_failed_to_be_written_is_not_uploaded(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    with pytest.raises(RuntimeError, match="disk is full"):
        _fail_while_writing(store)
    assert not store.exists(f"{model_path('pretrain-1')}/config.json")


def _fail_while_writing(store: Store) -> None:
    with uploaded_model(store, "pretrain-1") as folder:
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        raise RuntimeError("disk is full")
