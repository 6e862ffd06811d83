"""ReXGradient-160K (arXiv 2505.00228, Hugging Face rajpurkarlab/ReXGradient-160K) -> Listing: one JSON file per split.

The JSON files list the radiographs of each study with their views; the CSV files beside them do not. Reports are
published as sections and are formatted in the layout of MIMIC-CXR.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from trrg_core.config.settings import SourceConfig
from trrg_core.errors import ConfigError, DataError
from trrg_core.sources.image_root import ImageRoot, find_image_root
from trrg_core.sources.listing import StudyDraft, build_listing, is_usable_id
from trrg_core.sources.patients import read_age, read_sex
from trrg_core.sources.reading import read_index_file, read_json
from trrg_core.sources.report_layout import format_report
from trrg_core.sources.study_dates import read_date
from trrg_core.storage.store import Store, relative_path
from trrg_core.study import Image, Listing, Reject, Split

_FILES: Mapping[Split, str] = {
    "train": "train_metadata_view_position.json",
    "validate": "valid_metadata_view_position.json",
    "test": "test_metadata_view_position.json",
}
_FOLDERS = ("metadata/", "")
_SECTIONS = ("Indication", "Comparison", "Findings", "Impression")
_VIEWS = {"ANTERO_POSTERIOR": "AP", "POSTERO_ANTERIOR": "PA", "LAT": "LATERAL", "N/A": "", "NONE": "", "UNKNOWN": ""}
_MISSING = ("", "none", "nan", "n/a")  # of a section as a whole


def list_studies(store: Store, config: SourceConfig) -> Listing:
    """The studies of the JSON files that exist, each in the split of its file and with its report as text.

    Raises:
        ConfigError: if there is none of the files, or one is not JSON of that shape.
        StorageError: if the store fails.
    """
    root = find_image_root(store, config)
    rejects: list[Reject] = []
    by_id: dict[str, list[StudyDraft]] = defaultdict(list)
    for split, path in _find_files(store).items():
        for key, entry in _read(store, path).items():
            try:
                draft = _draft(key, entry, split, path, root)
            except DataError as error:
                detail = f"entry {key[:128]}: {error}"
                rejects.append(Reject(reason=error.reason, study_id=key[:128], path=path, detail=detail))
                continue
            by_id[draft.study_id].append(draft)
    drafts = []
    for study_id, parts in by_id.items():
        if len({replace(part, splits=(), report_path="") for part in parts}) > 1:
            conflict = Reject(reason="duplicate_id", study_id=study_id, detail="entries of one study differ")
            rejects += [replace(conflict, path=part.report_path) for part in parts]
        else:
            drafts.append(replace(parts[0], splits=tuple(sorted({split for part in parts for split in part.splits}))))
    num_repeated = sum(map(len, by_id.values())) - len(by_id)
    return build_listing(drafts, config, rejects=rejects, counts={"duplicate_rows": num_repeated})


def _find_files(store: Store) -> dict[Split, str]:
    found: dict[Split, str] = {}
    for split, name in _FILES.items():
        path = next((folder + name for folder in _FOLDERS if store.exists(folder + name)), "")
        if path:
            found[split] = path
    if not found:
        expected = ", ".join(f"metadata/{name}" for name in _FILES.values())
        raise ConfigError(
            f"{store.uri}: no metadata of ReXGradient-160K; expected {expected}. The CSV files name no image"
        )
    return found


def _read(store: Store, path: str) -> dict[str, Any]:
    try:
        entries = read_json(read_index_file(store, path), path)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not a JSON file; download it again") from error
    if not isinstance(entries, dict):
        raise ConfigError(f"{path}: expected an object with one entry per study, found {type(entries).__name__}")
    return entries


def _draft(key: str, entry: Any, split: Split, path: str, root: ImageRoot) -> StudyDraft:
    if not isinstance(entry, dict):
        raise DataError("malformed_row", f"expected an object, found {type(entry).__name__}")
    # without the column, the key is p<patient>_<accession>_<study>; of another key a patient is not guessed
    named = re.fullmatch(r"p([^_]+)_.+", key)
    subject_id = _text(entry, "PatientID") or (named[1] if named else "")
    study_id = _text(entry, "StudyInstanceUid")
    if not is_usable_id(subject_id) or not is_usable_id(study_id):
        raise DataError("bad_id", "PatientID or StudyInstanceUid is empty, too long or not printable")
    images = _images(entry, root)
    if not images:
        raise DataError("no_images", "ImagePath is empty")
    return StudyDraft(
        subject_id=subject_id,
        study_id=study_id,
        report_path=path,
        report=format_report({name.upper(): _section(entry, name) for name in _SECTIONS}),
        images=images,
        splits=(split,),
        study_date=read_date(_text(entry, "StudyDate")),
        sex=read_sex(_text(entry, "PatientSex")),
        age_years=read_age(_text(entry, "PatientAge")),
    )


def _images(entry: Mapping[str, Any], root: ImageRoot) -> tuple[Image, ...]:
    paths, views = entry.get("ImagePath") or [], entry.get("ImageViewPosition") or []
    if not isinstance(paths, list) or not isinstance(views, list):
        raise DataError("malformed_row", "ImagePath and ImageViewPosition must be lists")
    if views and len(views) != len(paths):
        raise DataError("malformed_row", f"{len(paths)} images and {len(views)} views")
    images = []
    for number, path in enumerate(paths):
        # paths are relative to the folder of the JSON file: ../deid_png/...
        name = relative_path(str(path).removeprefix("../"))
        view = str(views[number] or "").strip().upper() if views else ""
        dicom_id = name.rpartition("/")[2].rpartition(".")[0]
        images.append(Image(dicom_id=dicom_id, path=root.path(name), view_position=_VIEWS.get(view, view)))
    return tuple(images)


def _section(entry: Mapping[str, Any], name: str) -> str:
    text = _text(entry, name)
    return "" if text.lower().rstrip(".") in _MISSING else text


def _text(entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name)
    return "" if value is None else str(value).strip()
