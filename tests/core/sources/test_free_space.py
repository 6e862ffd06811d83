from pathlib import Path

import pytest

from trrg_core.config.settings import IngestConfig
from trrg_core.errors import StorageError
from trrg_core.sources.free_space import check_free_space
from trrg_core.storage import local_disk
from trrg_core.storage.store import open_store
from trrg_core.study import Image, Study

IMAGE = Image(dicom_id="d", path="d.jpg")


def studies(count: int) -> list[Study]:
    return [
        Study(subject_id="p", study_id=str(at), split="train", report_path="", images=(IMAGE, IMAGE))
        for at in range(count)
    ]


def test_a_disk_too_small_stops_before_anything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_disk, "free_bytes", lambda folder: 1_000_000_000)
    store = open_store(str(tmp_path / "store"))
    # 2 images of 512 x 512 / 16 bytes: 32,768 bytes per study
    check_free_space(store, IngestConfig(), studies(30_517))
    with pytest.raises(StorageError, match=r"40000 studies need at least 1\.3 GB .*only 1\.0 GB are free"):
        check_free_space(store, IngestConfig(), studies(40_000))
    monkeypatch.setattr(local_disk, "free_bytes", lambda folder: 400_000)
    with pytest.raises(StorageError, match=r"need at least 3\.3 MB .*only 0\.4 MB are free: free some"):
        check_free_space(store, IngestConfig(), studies(100))
    check_free_space(open_store("s3://bucket/store"), IngestConfig(), studies(40_000))


def test_free_space_is_that_of_the_disk_where_the_folder_will_be(tmp_path: Path) -> None:
    free = open_store(str(tmp_path / "not/yet/there")).free_bytes()
    assert free is not None
    assert free > 0
