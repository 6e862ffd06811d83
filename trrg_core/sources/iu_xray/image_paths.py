"""Where the images of IU-Xray are: in the configured folder, or in one of the folders in which they are distributed."""

from dataclasses import replace

from trrg_core.config.settings import SourceConfig
from trrg_core.errors import DataError
from trrg_core.sources.image_root import ImageRoot, find_image_root
from trrg_core.sources.iu_xray.collected import Collected
from trrg_core.sources.listing import StudyDraft
from trrg_core.storage.store import Store, relative_path
from trrg_core.study import Reject

_IMAGE_FOLDERS = ("images/images_normalized", "images", "NLMCXR_png")


def resolve_image_paths(
    store: Store, config: SourceConfig, drafts: list[StudyDraft], collected: Collected
) -> list[StudyDraft]:
    """`drafts` with image paths relative to the root of the source.

    Without `image_folder`, an image that is in none of the usual folders is left out and counted in
    `images_not_found`. With it, every image is expected there: a missing file becomes a reject when it is read.
    """
    root = find_image_root(store, config)
    existing = (
        None if config.image_folder else {path for place in ("images", "NLMCXR_png") for path in store.list(place)}
    )
    resolved = []
    for draft in drafts:
        images = []
        for image in draft.images:
            try:
                path = _resolve(relative_path(image.path), root, existing)
            except DataError as error:
                ids = {"subject_id": draft.subject_id, "study_id": draft.study_id, "dicom_id": image.dicom_id[:64]}
                reject = Reject(reason=error.reason, path=image.path[:300], detail=str(error), **ids)
                collected.rejects.append(reject)
                continue
            if path:
                images.append(replace(image, path=path))
            else:
                collected.counts["images_not_found"] += 1
        resolved.append(replace(draft, images=tuple(images)))
    return resolved


def _resolve(path: str, root: ImageRoot, existing: set[str] | None) -> str:
    if existing is None:
        return root.path(path)
    candidates = (f"{place}/{name}" for place in _IMAGE_FOLDERS for name in _names(path))
    return next((candidate for candidate in candidates if candidate in existing), "")


def _names(path: str) -> tuple[str, str]:
    """`path` and the other name of the same image: Open-i has `CXR1_IM-2.png` where Kaggle has `1_IM-2.dcm.png`."""
    if path.endswith(".dcm.png"):
        return path, f"CXR{path.removesuffix('.dcm.png')}.png"
    return path, f"{path.removeprefix('CXR').removesuffix('.png')}.dcm.png"
