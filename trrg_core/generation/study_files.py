"""Image files and folders as a user names them -> the files of each study.

A file is a study of its own, and so are the images that lie directly in one folder; with a study id all of them are
films of that one study.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, NoReturn

from trrg_core.errors import ConfigError, DataError, StorageError
from trrg_core.generation.film_reading import FilmFormat, ReadFilm, RejectedFilm, read_film
from trrg_core.storage import local_disk
from trrg_core.training.views import VIEW_POSITIONS

_SUFFIXES = (".jpg", ".jpeg", ".png", ".dcm", ".dicom")
_DICOM_MARK = slice(128, 132)
_INDEX_OF_MEDIUM = "DICOMDIR"  # lists the files of a DICOM medium and has no pixels


@dataclass(frozen=True, kw_only=True)
class StudyFiles:
    """The image files of one study, and the view position of each, empty where it is not given."""

    study_id: str
    paths: tuple[Path, ...]
    view_positions: tuple[str, ...]


def find_studies(names: Sequence[str], *, study_id: str = "", view_positions: Sequence[str] = ()) -> list[StudyFiles]:
    """The studies in the given files and folders, in their order; folders are searched to any depth.

    Args:
        names: paths of image files and folders.
        study_id: if given, all images are films of one study with this id. Otherwise the id is the name of the file
            without its suffix, or of the folder; the whole path where two have the same, with its suffix if it must be.
        view_positions: none, one for all images, or one for each image in order.

    Raises:
        ConfigError: if a path is empty or does not exist, a folder has no image, or the view positions are wrong.
    """
    if not all(names):
        raise ConfigError("the name of an image is empty: give a file or a folder, . for this one")
    groups = [group for name in names for group in _groups_of(Path(name))]
    if study_id:
        groups = [_Group((study_id,), tuple(path for group in groups for path in group.paths))]
    views = iter(_check_views(view_positions, sum(len(group.paths) for group in groups)))
    counts = Counter(name for group in groups for name in set(group.names))
    return [
        StudyFiles(
            study_id=next((name for name in group.names if counts[name] == 1), group.names[-1]),
            paths=group.paths,
            view_positions=tuple(next(views) for _ in group.paths),
        )
        for group in groups
    ]


def read_study(files: StudyFiles, form: FilmFormat) -> tuple[tuple[ReadFilm, ...], tuple[RejectedFilm, ...]]:
    """The radiographs of a study, and the images that were set aside."""
    films: list[ReadFilm] = []
    rejected: list[RejectedFilm] = []
    for path, view_position in zip(files.paths, files.view_positions, strict=True):
        try:
            data = _read_file(path, form.ingest.max_file_bytes)
            films.append(read_film(data, name=str(path), view_position=view_position, form=form))
        except DataError as error:
            rejected.append(RejectedFilm(name=str(path), reason=error.reason, message=str(error)))
    return tuple(films), tuple(rejected)


def _read_file(path: Path, max_bytes: int) -> bytes:
    try:
        return local_disk.read(path, max_bytes)
    except (ConfigError, StorageError) as error:
        raise DataError("unreadable_file", str(error)) from error
    except DataError as error:
        raise DataError("unreadable_file" if error.reason == "missing_file" else error.reason, str(error)) from error


class _Group(NamedTuple):
    """The films of one study: the names that it may have, the shortest first, and their paths."""

    names: tuple[str, ...]
    paths: tuple[Path, ...]


def _groups_of(path: Path) -> Iterator[_Group]:
    if not path.is_dir():
        if not path.exists():
            raise ConfigError(f"{path}: there is no such file or folder")
        # the names of DICOM files may be numbers with dots
        place = path.with_suffix("") if path.suffix.lower() in _SUFFIXES else path
        yield _Group((place.name, place.as_posix(), path.as_posix()), (path,))
        return
    is_empty = True
    for folder in sorted(_folders_in(path)):
        if paths := tuple(sorted(filter(_is_image, folder.iterdir()))):
            is_empty = False
            place = folder.resolve() if folder == Path() else folder
            yield _Group((place.name or str(place), place.as_posix()), paths)
    if is_empty:
        raise ConfigError(f"{path}: no JPEG, PNG or DICOM file in this folder")


def _folders_in(path: Path) -> Iterator[Path]:
    """`path` and the folders within at any depth; links are followed, and each folder is entered once.

    Raises:
        OSError: if a folder cannot be read: its studies would be missing without a word.
    """

    def refuse(error: OSError) -> NoReturn:
        raise error

    entered: set[str] = set()
    for parent, names, _ in os.walk(path, followlinks=True, onerror=refuse):
        own = os.path.realpath(parent)
        if own in entered:
            names.clear()
            continue
        entered.add(own)
        names.sort(key=lambda name: (os.path.islink(os.path.join(parent, name)), name))  # a link to a folder beside it
        yield Path(parent)


def _is_image(path: Path) -> bool:
    """Whether a file of a folder is meant as an image: by its suffix, or, without one, as DICOM by its content."""
    if path.name.startswith(".") or path.name == _INDEX_OF_MEDIUM or not path.is_file():
        return False
    if path.suffix:
        return path.suffix.lower() in _SUFFIXES
    with path.open("rb") as file:
        return file.read(_DICOM_MARK.stop)[_DICOM_MARK] == b"DICM"


def _check_views(given: Sequence[str], num_images: int) -> list[str]:
    known = [name for name in VIEW_POSITIONS if name]
    for name in given:
        if name.upper() not in known:
            raise ConfigError(f"--view {name!r}: expected one of {', '.join(known)}")
    if len(given) not in (0, 1, num_images):
        raise ConfigError(f"--view is given {len(given)} times for {num_images} images: give it once, or for each")
    views = [name.upper() for name in given] or [""]
    return views * num_images if len(views) == 1 else views
