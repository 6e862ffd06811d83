"""Image files and folders as a user names them -> the files of each study.

A file is a study of its own, and so are the images that lie directly in one folder; with a study id all of them are
films of that one study.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

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
            without its suffix, or of the folder; the whole path where two have the same.
        view_positions: none, one for all images, or one for each image in order.

    Raises:
        ConfigError: if a path is empty or does not exist, a folder has no image, or the view positions are wrong.
    """
    if not all(names):
        raise ConfigError("the name of an image is empty: give a file or a folder, . for this one")
    groups = [group for name in names for group in _groups_of(Path(name))]
    if study_id:
        groups = [(Path(study_id), tuple(path for _, paths in groups for path in paths))]
    views = iter(_check_views(view_positions, sum(len(paths) for _, paths in groups)))
    counts = Counter(_short_name(place) for place, _ in groups)
    return [
        StudyFiles(
            study_id=study_id or (_short_name(place) if counts[_short_name(place)] == 1 else place.as_posix()),
            paths=paths,
            view_positions=tuple(next(views) for _ in paths),
        )
        for place, paths in groups
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


def _groups_of(path: Path) -> Iterator[tuple[Path, tuple[Path, ...]]]:
    if not path.is_dir():
        if not path.exists():
            raise ConfigError(f"{path}: there is no such file or folder")
        # the names of DICOM files may be numbers with dots
        yield path.with_suffix("") if path.suffix.lower() in _SUFFIXES else path, (path,)
        return
    folders = sorted({found.parent for found in path.rglob("*") if _is_image(found)})
    if not folders:
        raise ConfigError(f"{path}: no JPEG, PNG or DICOM file in this folder")
    for folder in folders:
        yield folder.resolve() if folder == Path() else folder, tuple(sorted(filter(_is_image, folder.iterdir())))


def _is_image(path: Path) -> bool:
    """Whether a file of a folder is meant as an image: by its suffix, or, without one, as DICOM by its content."""
    if path.name.startswith(".") or path.name == _INDEX_OF_MEDIUM or not path.is_file():
        return False
    if path.suffix:
        return path.suffix.lower() in _SUFFIXES
    with path.open("rb") as file:
        return file.read(_DICOM_MARK.stop)[_DICOM_MARK] == b"DICM"


def _short_name(place: Path) -> str:
    return place.name or str(place)


def _check_views(given: Sequence[str], num_images: int) -> list[str]:
    known = [name for name in VIEW_POSITIONS if name]
    for name in given:
        if name.upper() not in known:
            raise ConfigError(f"--view {name!r}: expected one of {', '.join(known)}")
    if len(given) not in (0, 1, num_images):
        raise ConfigError(f"--view is given {len(given)} times for {num_images} images: give it once, or for each")
    views = [name.upper() for name in given] or [""]
    return views * num_images if len(views) == 1 else views
