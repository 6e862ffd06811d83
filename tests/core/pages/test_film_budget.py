"""Films that are made smaller so that a page stays small: which size, and what becomes of films that are no images."""

import io

import numpy as np
from PIL import Image

from trrg_core.imaging.decode import encode_jpeg
from trrg_core.pages.film_budget import fit_films
from trrg_core.pages.shown_film import Film

NOISE = encode_jpeg(np.random.default_rng(1).integers(0, 256, (300, 200), dtype=np.uint8))


def size_of(film: Film) -> tuple[int, int]:
    with Image.open(io.BytesIO(film.jpeg)) as image:
        return image.size


def test_films_that_fit_stay_as_they_are() -> None:
    films = [Film(jpeg=NOISE, view_position="PA"), Film(jpeg=b"not decoded")]
    assert fit_films(films, max_bytes=len(NOISE) + 11) == films


def test_films_that_do_not_fit_are_all_shown_in_the_largest_size_that_does() -> None:
    films = [Film(jpeg=NOISE, view_position="PA"), Film(jpeg=NOISE, view_position="LATERAL")]
    fitted = fit_films(films, max_bytes=50_000)
    assert sum(len(film.jpeg) for film in fitted) <= 50_000
    assert {size_of(film) for film in fitted} == {(171, 256)}  # 200 x 300 at the next size below
    assert [film.view_position for film in fitted] == ["PA", "LATERAL"]
    assert {size_of(film) for film in fit_films(films, max_bytes=10)} == {(43, 64)}


def test_a_film_that_is_no_image_is_left_without_one_where_sizes_change() -> None:
    broken = Film(jpeg=NOISE[: len(NOISE) // 2], view_position="AP")
    fitted = fit_films([broken, Film(jpeg=NOISE)], max_bytes=len(NOISE))
    assert fitted[0] == Film(jpeg=b"", view_position="AP")
    assert fitted[1].jpeg.startswith(b"\xff\xd8")
    assert fit_films([], max_bytes=0) == []
