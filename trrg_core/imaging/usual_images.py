"""How radiographs usually look: whether an image is like those that a model was trained on.

A model writes a confident report of any image: of a radiograph that lies on its side, of its negative, of a photograph.
Thumbnails of training images span a small space. An image is judged by how much of its thumbnail lies outside that
space, and how far from its middle the rest lies; the limits come from images of `validate`. It is a coarse check: an
image that passes is not thereby a chest radiograph of good quality, and one turned left to right passes.

N images, P pixels of a thumbnail, K components.
"""

# ruff: noqa: N815 -- names carry their axes

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trrg_core.imaging.transforms import shrink_to_square

Floats = NDArray[np.float32]

MIN_IMAGES = 100  # of training, without which nothing is known of how images usually look
MIN_LIMIT_IMAGES = 20
_SIDE_PX = 16
_COMPONENTS = 24
_LIMIT_SHARE = 0.995
_MARGIN = 1.05
_LEAST_SPREAD = 1e-6
_LEAST_CONTRAST = 1e-3
_PARTS = ("mean_P", "components_KP", "spread_K", "limits_2")
# what may have been done to an image that is then like the others
_CORRECTIONS: Mapping[str, Callable[[Floats], Floats]] = {
    "rotated by 180 degrees": lambda square: np.rot90(square, 2),
    "rotated clockwise by 90 degrees": lambda square: np.rot90(square, 1),
    "rotated counterclockwise by 90 degrees": lambda square: np.rot90(square, 3),
    "inverted, white where others are black": lambda square: -square,
    "upside down": lambda square: square[::-1],
}


@dataclass(frozen=True, kw_only=True)
class ImageJudgment:
    """How far an image is from the usual ones: above 1 it is unlike them.

    `looks` says what makes it like them if it is undone, as in "rotated by 180 degrees"; empty where nothing does.
    """

    deviation: float
    looks: str = ""

    @property
    def is_unusual(self) -> bool:
        """Whether the image is unlike those of training."""
        return self.deviation > 1


@dataclass(frozen=True, kw_only=True)
class UsualImages:
    """The principal components of thumbnails of training images, and the limits of what is usual.

    `limits_2` are of the root mean square outside the components, and along them in standard deviations.
    """

    mean_P: Floats
    components_KP: Floats
    spread_K: Floats
    limits_2: Floats

    def judge(self, jpeg: bytes) -> ImageJudgment:
        """The judgment of an image.

        Raises:
            OSError: if the bytes are not an image.
        """
        thumbnail = thumbnail_of(jpeg)
        deviation = self._deviation(thumbnail)
        if deviation <= 1:
            return ImageJudgment(deviation=deviation)
        square = thumbnail.reshape(_SIDE_PX, _SIDE_PX)
        undone = {name: self._deviation(undo(square).ravel()) for name, undo in _CORRECTIONS.items()}
        likeliest = min(undone, key=undone.__getitem__)
        return ImageJudgment(deviation=deviation, looks=likeliest if undone[likeliest] <= 1 else "")

    def tensors(self) -> dict[str, Floats]:
        """The arrays by name, as `from_tensors` takes them."""
        return {name: getattr(self, name) for name in _PARTS}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Any]) -> "UsualImages":
        """What `tensors` gave.

        Raises:
            ValueError: if an array is missing, or they do not fit each other.
        """
        if missing := [name for name in _PARTS if name not in tensors]:
            raise ValueError(f"{missing[0]} is missing")
        found = cls(**{name: np.asarray(tensors[name], dtype=np.float32) for name in _PARTS})
        num_components = len(found.spread_K)
        shapes = ((_SIDE_PX**2,), (num_components, _SIDE_PX**2), (num_components,), (2,))
        if tuple(array.shape for array in found.tensors().values()) != shapes:
            raise ValueError("the shapes of its arrays do not fit each other")
        return found

    def _deviation(self, thumbnail_P: Floats) -> float:
        return float((_distances(self, thumbnail_P[None]) / self.limits_2).max())


def thumbnail_of(jpeg: bytes) -> Floats:
    """The pixels of an image of 16 x 16, with mean 0 and standard deviation 1: `[P]`.

    Raises:
        OSError: if the bytes are not an image.
    """
    pixels = shrink_to_square(jpeg, side_px=_SIDE_PX).astype(np.float32).ravel() / 255
    centered = pixels - pixels.mean()
    return np.asarray(centered / (centered.std() + _LEAST_CONTRAST), dtype=np.float32)


def learn_usual_images(train: Iterable[Floats], validate: Iterable[Floats]) -> UsualImages | None:
    """What thumbnails of training images have in common, with the limits that 99.5 % of those of `validate` keep.

    None with fewer than 100 images of training or 20 of `validate`: of so few, any other image would be unlike.
    """
    train_NP, validate_NP = (np.stack(part) if (part := list(images)) else None for images in (train, validate))
    if train_NP is None or validate_NP is None or len(train_NP) < MIN_IMAGES or len(validate_NP) < MIN_LIMIT_IMAGES:
        return None
    mean_P = train_NP.mean(0)
    _, _, axes = np.linalg.svd(train_NP - mean_P, full_matrices=False)
    components_KP = axes[:_COMPONENTS].astype(np.float32)
    spread_K = ((train_NP - mean_P) @ components_KP.T).std(0) + np.float32(_LEAST_SPREAD)
    found = UsualImages(
        mean_P=mean_P, components_KP=components_KP, spread_K=spread_K, limits_2=np.ones(2, dtype=np.float32)
    )
    limits_2 = _MARGIN * np.quantile(_distances(found, validate_NP), _LIMIT_SHARE, axis=0) + _LEAST_SPREAD
    return UsualImages(**{**found.tensors(), "limits_2": limits_2.astype(np.float32)})


def _distances(usual: UsualImages, thumbnail_NP: Floats) -> Floats:
    """`[N,2]`: the root mean square of what the components leave, and of what they take, in their deviations."""
    centered_NP = thumbnail_NP - usual.mean_P
    along_NK = centered_NP @ usual.components_KP.T
    outside_NP = centered_NP - along_NK @ usual.components_KP
    parts = (outside_NP, along_NK / usual.spread_K)
    return np.stack([np.sqrt((part**2).mean(1)) for part in parts], axis=1)
