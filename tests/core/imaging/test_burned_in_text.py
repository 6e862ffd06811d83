import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from infra.bench.burned_in_text import measure
from trrg_core.imaging.burned_in_text import count_text_rows
from trrg_core.imaging.intensity import Grey


def film(text: str = "", *, at: tuple[int, int] = (30, 30), ground: int = 90, ink: int = 255, scale: int = 1) -> Grey:
    image = Image.new("L", (800 * scale, 1000 * scale), ground)
    font = ImageFont.load_default(size=24 * scale)
    ImageDraw.Draw(image).text((at[0] * scale, at[1] * scale), text, fill=ink, font=font)
    noise = np.random.default_rng(0).normal(0, 3, (image.height, image.width))
    return np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8)


def test_precision_and_recall_on_drawn_films() -> None:
    precision, recall, counts = measure(16)
    assert precision >= 0.9
    assert recall >= 0.8
    assert sum(drawn for _, drawn in counts.values()) == 16


@pytest.mark.parametrize("scale", [1, 3])
@pytest.mark.parametrize(("ground", "ink"), [(90, 255), (250, 20)])
def test_a_row_of_letters_is_found_at_any_resolution_and_polarity(scale: int, ground: int, ink: int) -> None:
    assert count_text_rows(film("DOE JANE 1961", ground=ground, ink=ink, scale=scale)) >= 1


@pytest.mark.parametrize("quarter_turns", [1, 3])
def test_a_row_up_or_down_a_side_is_found(quarter_turns: int) -> None:
    assert count_text_rows(np.rot90(film("DOEJANE\n12031961"), quarter_turns)) == 2
    assert count_text_rows(np.rot90(film("PA"), quarter_turns)) == 0


def test_rows_are_counted() -> None:
    assert count_text_rows(film("DOEJANE\n12031961")) == 2


@pytest.mark.parametrize("text", ["", "L", "PA"])
def test_a_side_marker_is_no_text(text: str) -> None:
    assert count_text_rows(film(text)) == 0


def test_the_middle_of_the_film_is_not_looked_at() -> None:
    assert count_text_rows(film("DOE JANE 1961", at=(300, 480))) == 0


@pytest.mark.parametrize("shape", [(1, 1), (3, 400), (400, 3)])
def test_any_shape_is_taken(shape: tuple[int, int]) -> None:
    assert count_text_rows(np.zeros(shape, np.uint8)) == 0
