"""The space of the nearest neighbour: pixels alone, the same for every model."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.core.toy_corpus import draw
from trrg_core.generation.film_space import FILM_SIZE, fit_film_space, read_film
from trrg_core.metrics.floors import nearest_neighbour


def film(number: int, findings: str = "", view: str = "PA") -> list[dict]:
    return [{"view_position": view, "jpeg": draw(number, findings)}]


def brighter(views: list[dict]) -> list[dict]:
    pixels = np.asarray(Image.open(io.BytesIO(views[0]["jpeg"]))).astype(np.float64)
    buffer = io.BytesIO()
    Image.fromarray((0.6 * pixels + 60).astype(np.uint8)).save(buffer, format="JPEG", quality=95)
    return [{**views[0], "jpeg": buffer.getvalue()}]


def test_the_neighbour_has_the_same_findings_and_not_the_same_grain():
    mixes = ("", "e", "p", "c", "ep", "ec", "pc", "epc")
    train = np.stack([read_film(film(number, mixes[number % 8])) for number in range(64)])
    space = fit_film_space(train)
    asked = np.stack([read_film(film(1000 + number, mixes[number % 8])) for number in range(16)])
    found = nearest_neighbour(space.place(asked), space.place(train))
    assert [mixes[index % 8] for index in found] == [mixes[number % 8] for number in range(16)]


def test_exposure_does_not_count_and_the_frontal_film_is_read():
    own = read_film(film(3, "e"))
    assert np.abs(read_film(brighter(film(3, "e"))) - own).max() < 0.3
    assert np.array_equal(read_film(film(9, "p", "LATERAL") + film(3, "e")), own)
    assert own.shape == (FILM_SIZE,)


def test_directions_have_variance_one_and_constant_pixels_none():
    films = np.zeros((40, FILM_SIZE), dtype=np.float32)
    films[:, 0] = [1, -1] * 20
    films[:, 1] = [9] * 20 + [-9] * 20
    placed = fit_film_space(films).place(films)
    assert placed.shape == (40, 2)
    assert placed.T @ placed / 40 == pytest.approx(np.eye(2), abs=1e-4)
    assert fit_film_space(films[::2]).place(films).shape == (40, 1)
    alone = fit_film_space(films[:1])
    assert alone.place(films).shape == (40, 0)


def test_without_a_training_film_there_is_no_space():
    with pytest.raises(ValueError, match="no training film"):
        fit_film_space(np.zeros((0, FILM_SIZE), dtype=np.float32))
