"""Where a film lies among the training films by its pixels alone: the space in which the nearest neighbour is sought.

Films in, vectors out. The space depends on the training studies of a data version and on nothing that is learned by a
model, so that the floor of the nearest neighbour is the same for every model that is judged on these data.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trrg_core.imaging.transforms import shrink_to_square
from trrg_core.training.views import choose_views

Vectors = NDArray[np.float32]

# small enough that the outline of heart, lungs and opacities counts and not the grain of the film
_SIDE_PX = 16
# of the 256 directions of such pixels; each counts alike, or exposure would outweigh all else
_COMPONENTS = 50
# of fewer films the last directions are grain, which must not count as much as the rest
_FILMS_PER_COMPONENT = 10
FILM_SIZE = _SIDE_PX**2


@dataclass(frozen=True, kw_only=True, eq=False)
class FilmSpace:
    """The mean film `[P]` of the training studies, and the directions `[P,K]` in which they vary, to variance 1."""

    mean: Vectors
    directions: Vectors

    def place(self, films_NP: Vectors) -> Vectors:
        """The vectors `[N,K]` of films."""
        return np.asarray((films_NP - self.mean) @ self.directions, dtype=np.float32)


def read_film(views: Sequence[Mapping[str, Any]]) -> Vectors:
    """The pixels `[P]` of a study's best frontal film, in lengths of standard deviation from their mean.

    Raises:
        OSError: if the bytes are not an image.
    """
    (view,) = choose_views(views, num_views=1)
    pixels = shrink_to_square(view["jpeg"], side_px=_SIDE_PX).astype(np.float64).ravel()
    spread = float(pixels.std())
    return np.asarray((pixels - pixels.mean()) / spread if spread else np.zeros_like(pixels), dtype=np.float32)


def fit_film_space(films_NP: Vectors) -> FilmSpace:
    """The space of training films: their principal components, each scaled to variance 1.

    Raises:
        ValueError: if there is no film.
    """
    if not len(films_NP):
        raise ValueError("no training film: there is no space to look for a neighbour in")
    mean = films_NP.mean(axis=0, dtype=np.float64)
    centred = films_NP - mean
    variances, axes = np.linalg.eigh(centred.T @ centred / len(films_NP))
    kept = np.argsort(-variances)[: min(_COMPONENTS, max(1, len(films_NP) // _FILMS_PER_COMPONENT))]
    kept = kept[variances[kept] > 1e-6 * max(variances.max(), math.ulp(1.0))]
    return FilmSpace(
        mean=mean.astype(np.float32), directions=(axes[:, kept] / np.sqrt(variances[kept])).astype(np.float32)
    )
