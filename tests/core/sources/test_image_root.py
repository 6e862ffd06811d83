import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.core.sources.test_chexpert_plus import listed as list_chexpert
from tests.core.sources.test_chexpert_plus import row
from trrg_core.config.settings import PlainConfig, SourceConfig
from trrg_core.errors import ConfigError
from trrg_core.imaging.decode import encode_jpeg
from trrg_core.sources import Source, open_source

FILM = encode_jpeg(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8))


def plain(root: Path, image_folder: str) -> Source:
    (root / "export.csv").write_text("patient,image,report\nP1,a.jpg,Clear.\n")
    config = SourceConfig(
        kind="plain", root=str(root), image_folder=image_folder, plain=PlainConfig(table="export.csv")
    )
    return open_source(config)


@pytest.mark.parametrize("second", [False, True])
def test_images_are_read_from_a_folder_or_a_second_root(tmp_path: Path, second: bool) -> None:
    root = tmp_path / "tables"
    films = tmp_path / "films" if second else root / "films"
    films.mkdir(parents=True)
    root.mkdir(exist_ok=True)
    (films / "a.jpg").write_bytes(FILM)
    source = plain(root, str(films) if second else "films")
    listing = source.list_studies()
    (image,) = listing.studies[0].images
    assert image.path == ("a.jpg" if second else "films/a.jpg")
    assert source.read_image(image).rows == 64
    before = source.stamp_studies(listing)
    (films / "a.jpg").write_bytes(FILM + b" ")
    assert source.stamp_studies(listing) != before


@pytest.mark.parametrize("folder", ["../films", "a/../../films", "gs://films", "C:\\films"])
def test_a_folder_outside_the_root_is_refused_before_any_work(tmp_path: Path, folder: str) -> None:
    (tmp_path / "films").mkdir()
    root = tmp_path / "tables"
    root.mkdir()
    with pytest.raises(ConfigError, match=r"leads out of source\.root: give the absolute path or s3:// prefix"):
        plain(root, folder)


def test_a_second_root_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"image_folder '.*films': no such folder"):
        plain(tmp_path, str(tmp_path / "films"))


def test_studies_read_from_another_second_root_are_other_work(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one, two = (plain(tmp_path, str(tmp_path / name)).settings_fingerprint() for name in ("one", "two"))
    assert len({one, two, plain(tmp_path, "").settings_fingerprint()}) == 3


def test_a_published_tree_may_have_its_images_elsewhere(tmp_path: Path) -> None:
    root = tmp_path / "table"
    root.mkdir()
    list_chexpert(root, [row(1, 1)])
    shutil.move(root / "PNG", tmp_path / "films")
    (study,) = list_chexpert(root, [row(1, 1)], images="", image_folder=str(tmp_path / "films")).studies
    assert study.images[0].path == "train/patient00001/study1/view1_frontal.png"
