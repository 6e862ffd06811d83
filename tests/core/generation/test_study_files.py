"""How files and folders become studies, and how images that cannot be read are set aside."""

import os
from pathlib import Path

import pytest

from tests.core.imaging.test_decode import dicom
from tests.core.toy_corpus import draw
from trrg_core.config.settings import IngestConfig
from trrg_core.errors import ConfigError
from trrg_core.generation.film_reading import FilmFormat
from trrg_core.generation.study_files import find_studies, read_study

FILM = draw(1, "e")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Two films, a folder of two studies, and files that are no images."""
    for name in ("a.jpg", "b.PNG", "tree/p1/s1/x.jpg", "tree/p1/s1/y.jpeg", "tree/p1/s2/x.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(FILM)
    for name in ("tree/index.html", "tree/p1/s1/.hidden.jpg", "tree/p1/s1/notes", "tree/DICOMDIR"):
        (tmp_path / name).write_bytes(b"\0" * 128 + b"DICM" if name.endswith("DICOMDIR") else b"text")
    (tmp_path / "tree/p1/s2/1.2.840.7").write_bytes(b"text")
    (tmp_path / "tree/p1/s2/IM0001").write_bytes(b"\0" * 128 + b"DICM")
    return tmp_path


def found(place: Path, *names: str, **given: object) -> list[tuple[str, list[str]]]:
    studies = find_studies([str(place / name) for name in names], **given)  # type: ignore[arg-type]
    return [(one.study_id, [path.relative_to(place).as_posix() for path in one.paths]) for one in studies]


def test_each_file_is_a_study_and_each_folder_with_images_is_one(place: Path) -> None:
    assert found(place, "b.PNG", "a.jpg") == [("b", ["b.PNG"]), ("a", ["a.jpg"])]
    assert found(place, "tree") == [
        ("s1", ["tree/p1/s1/x.jpg", "tree/p1/s1/y.jpeg"]),
        ("s2", ["tree/p1/s2/IM0001", "tree/p1/s2/x.jpg"]),
    ]


def test_with_a_study_id_all_images_are_films_of_one_study(place: Path) -> None:
    assert found(place, "tree/p1/s1", "a.jpg", study_id="7") == [
        ("7", ["tree/p1/s1/x.jpg", "tree/p1/s1/y.jpeg", "a.jpg"])
    ]


def test_two_studies_of_the_same_name_are_told_apart_by_their_paths(place: Path) -> None:
    ids = [study_id for study_id, _ in found(place, "tree/p1/s1/x.jpg", "tree/p1/s2/x.jpg", "a.jpg")]
    assert ids == [f"{place}/tree/p1/s1/x", f"{place}/tree/p1/s2/x", "a"]


def test_two_files_that_differ_in_their_suffix_are_told_apart_by_it(place: Path) -> None:
    (place / "a.png").write_bytes(FILM)
    assert [study_id for study_id, _ in found(place, "a.jpg", "a.png")] == [f"{place}/a.jpg", f"{place}/a.png"]


def test_links_to_folders_are_followed_and_each_folder_is_read_once(place: Path) -> None:
    (place / "chosen").mkdir()
    (place / "chosen/first").symlink_to(place / "tree/p1/s2")
    (place / "chosen/back").symlink_to(place / "chosen")
    assert found(place, "chosen") == [("first", ["chosen/first/IM0001", "chosen/first/x.jpg"])]
    (place / "tree/p1/s1/again").symlink_to(place / "tree/p1/s1")
    assert [study_id for study_id, _ in found(place, "tree")] == ["s1", "s2"]


def test_a_folder_that_cannot_be_read_is_no_folder_without_images(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("s1"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError, match="s1"):
        find_studies([str(place / "tree")])


def test_a_number_with_dots_is_the_whole_name_of_a_dicom_file(place: Path) -> None:
    assert found(place, "tree/p1/s2/1.2.840.7")[0][0] == "1.2.840.7"


def test_view_positions_are_given_once_or_for_each_image_in_order(place: Path) -> None:
    names = [str(place / "tree"), str(place / "a.jpg")]
    each = find_studies(names, view_positions=["pa", "LATERAL", "AP", "LL", "PA"])
    assert [one.view_positions for one in each] == [("PA", "LATERAL"), ("AP", "LL"), ("PA",)]
    assert [one.view_positions for one in find_studies(names)] == [("", ""), ("", ""), ("",)]
    assert find_studies(names, view_positions=["AP"])[0].view_positions == ("AP", "AP")


@pytest.mark.parametrize(
    ("names", "views", "reason"),
    [
        (["gone.jpg"], [], "gone.jpg: there is no such file or folder"),
        (["empty"], [], "empty: no JPEG, PNG or DICOM file in this folder"),
        (["a.jpg"], ["front"], "--view 'front': expected one of PA, AP, LATERAL, LL, OTHER"),
        (["tree"], ["PA", "LL"], "--view is given 2 times for 4 images"),
    ],
)
def test_what_cannot_be_meant_is_refused(place: Path, names: list[str], views: list[str], reason: str) -> None:
    (place / "empty").mkdir()
    with pytest.raises(ConfigError, match=reason):
        find_studies([str(place / name) for name in names], view_positions=views)


def test_an_image_that_cannot_be_read_is_set_aside_with_its_reason(place: Path) -> None:
    (place / "cut.jpg").write_bytes(FILM[: len(FILM) // 2])
    (place / "text.jpg").write_bytes(b"hello")
    (studies,) = find_studies(
        [str(place / name) for name in ("a.jpg", "cut.jpg", "text.jpg")], study_id="7", view_positions=["AP"]
    )
    films, rejected = read_study(studies, FilmFormat())
    assert [(film.view_position, film.jpeg[:2]) for film in films] == [("AP", b"\xff\xd8")]
    assert [(Path(film.name).name, film.reason) for film in rejected] == [
        ("cut.jpg", "jpeg_truncated"),
        ("text.jpg", "not_an_image"),
    ]
    (place / "a.jpg").unlink()
    assert read_study(studies, FilmFormat())[1][0].reason == "unreadable_file"
    _, rejected = read_study(
        find_studies([str(place / "b.PNG")])[0], FilmFormat(ingest=IngestConfig(max_file_bytes=100))
    )
    assert [film.reason for film in rejected] == ["file_too_large"]


def test_a_dicom_file_states_its_own_view_unless_another_is_given(tmp_path: Path) -> None:
    (tmp_path / "IM1").write_bytes(dicom(ViewPosition="LL"))
    assert read_study(find_studies([str(tmp_path)])[0], FilmFormat())[0][0].view_position == "LL"
    (given,) = find_studies([str(tmp_path / "IM1")], view_positions=["AP"])
    assert read_study(given, FilmFormat())[0][0].view_position == "AP"


def test_an_empty_name_is_not_the_current_folder(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    with pytest.raises(ConfigError, match="the name of an image is empty"):
        find_studies([""])
