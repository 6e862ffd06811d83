"""Films of a page, made smaller where there are so many that the page would become too large to open or send."""

from collections.abc import Sequence
from dataclasses import replace

from trrg_core.errors import DataError
from trrg_core.imaging.decode import decode_image, encode_jpeg, resize_long_side
from trrg_core.pages.shown_film import Film

# with 500 studies of two views and four heat maps the page is at most 20 MB: films make a third of it
MAX_FILM_BYTES = 4_500_000
_SIDES_PX = (512, 384, 320, 256, 224, 192, 160, 128, 96, 64)
_QUALITY = 80
_SAMPLE = 40


def fit_films(films: Sequence[Film], *, max_bytes: int = MAX_FILM_BYTES) -> list[Film]:
    """The films as they are where they have at most `max_bytes` together; else all in the largest size that fits.

    No film is enlarged. The smallest size is kept even where it does not fit. A film that cannot be decoded is left
    without an image.
    """
    if _size(films) <= max_bytes:
        return list(films)
    # a sample tells nearly the size, so that few films are made smaller more than once
    sample = films[:: -(-len(films) // _SAMPLE)]
    share = max_bytes * _size(sample) / _size(films)
    likely = next((side for side in _SIDES_PX if _size(_shrink_all(sample, side)) <= share), _SIDES_PX[-1])
    fitted: list[Film] = []
    for side_px in (side for side in _SIDES_PX if side <= likely):
        fitted = _shrink_all(films, side_px)
        if _size(fitted) <= max_bytes:
            break
    return fitted


def _size(films: Sequence[Film]) -> int:
    return sum(len(film.jpeg) for film in films)


def _shrink_all(films: Sequence[Film], side_px: int) -> list[Film]:
    return [_shrink(film, side_px) for film in films]


def _shrink(film: Film, side_px: int) -> Film:
    try:
        pixels = decode_image(film.jpeg)
    except DataError:
        return replace(film, jpeg=b"")
    smaller = encode_jpeg(resize_long_side(pixels, side_px), _QUALITY)
    return replace(film, jpeg=min(smaller, film.jpeg, key=len))
