"""What a model writes with changed images, as the section of the report page prints it."""

from collections.abc import Mapping
from dataclasses import dataclass

from trrg_core.metrics.image_use import ImageLoss, ImageUse
from trrg_core.metrics.paired import Estimate
from trrg_core.metrics.systems import CHANGED_IMAGES, System
from trrg_core.metrics.truth import Rate

_WORDS: Mapping[System, str] = {
    System.GREY_IMAGE: "all grey",
    System.NOISE_IMAGE: "noise",
    System.OTHER_IMAGE: "that of another patient",
    System.HALF_IMAGE: "lower half grey",
}


@dataclass(frozen=True, kw_only=True)
class ImageRow:
    """A changed image in words, micro-F1 with it, what the change costs, and the reports that stay the same."""

    label: str
    f1: float
    loss: Estimate
    unchanged: Rate


@dataclass(frozen=True, kw_only=True)
class ImageSection:
    """`own_f1` is with the image as it is; one row per changed image."""

    num_studies: int
    own_f1: float
    rows: tuple[ImageRow, ...]


def view_images(images: ImageUse, losses: Mapping[System, ImageLoss]) -> ImageSection:
    """The section; `losses` are those of the same drafts."""
    grey = losses[System.GREY_IMAGE]
    return ImageSection(
        num_studies=len(images.table.study_ids),
        own_f1=grey.f1 + grey.loss.value,
        rows=tuple(
            ImageRow(
                label=_WORDS[system],
                f1=losses[system].f1,
                loss=losses[system].loss,
                unchanged=images.unchanged[system],
            )
            for system in CHANGED_IMAGES
            if system in losses
        ),
    )
