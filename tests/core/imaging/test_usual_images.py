"""Whether an image is like those of training: rotated and inverted ones, noise and other pictures are not."""

import io

import numpy as np
import pytest
from PIL import Image

from trrg_core.imaging.decode import encode_jpeg
from trrg_core.imaging.usual_images import UsualImages, learn_usual_images, thumbnail_of

SIDE = 64


def chest(number: int) -> np.ndarray:
    """Two dark fields of varying place and size between bright borders, the heart to the right of the middle."""
    rng = np.random.default_rng(number)
    rows, columns = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    shift, width = rng.normal(0, 0.02, 2), rng.uniform(0.14, 0.18)
    fields = sum(
        np.exp(-(((columns - x - shift[0]) / width) ** 2 + ((rows - 0.4 - shift[1]) / 0.28) ** 2)) for x in (0.28, 0.72)
    )
    heart = np.exp(-(((columns - 0.58) / rng.uniform(0.1, 0.14)) ** 2 + ((rows - 0.62) / 0.14) ** 2))
    pixels = 190 - 150 * fields + 60 * heart + rng.normal(0, 6, (SIDE, SIDE))
    return np.clip(pixels * rng.uniform(0.85, 1.1), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def usual() -> UsualImages:
    found = learn_usual_images(
        (thumbnail_of(encode_jpeg(chest(number))) for number in range(300)),
        (thumbnail_of(encode_jpeg(chest(number))) for number in range(1_000, 1_200)),
    )
    assert found is not None
    return found


def test_other_images_of_the_same_kind_are_usual(usual):
    judged = [usual.judge(encode_jpeg(chest(number))) for number in range(2_000, 2_200)]
    assert np.mean([one.is_unusual for one in judged]) < 0.04
    assert not any(one.looks for one in judged if not one.is_unusual)


@pytest.mark.parametrize(
    ("change", "looks"),
    [
        (lambda pixels: np.rot90(pixels, 1), "rotated counterclockwise by 90 degrees"),
        (lambda pixels: np.rot90(pixels, -1), "rotated clockwise by 90 degrees"),
        (lambda pixels: np.rot90(pixels, 2), "rotated by 180 degrees"),
        (lambda pixels: pixels[::-1], "upside down"),
        (lambda pixels: 255 - pixels, "inverted, white where others are black"),
        (lambda pixels: np.random.default_rng(0).integers(0, 255, pixels.shape), ""),
        (lambda pixels: np.tile(np.arange(SIDE) * 4, (SIDE, 1)), ""),
    ],
)
def test_other_images_are_unusual_and_it_is_said_what_they_look(usual, change, looks):
    for number in (2_001, 2_002, 2_003):
        judged = usual.judge(encode_jpeg(np.ascontiguousarray(change(chest(number)).astype(np.uint8))))
        assert judged.is_unusual
        assert judged.looks == looks


def test_contrast_exposure_and_size_do_not_matter(usual):
    pixels = chest(2_000)
    plain = usual.judge(encode_jpeg(pixels)).deviation
    for other in (pixels // 2, 40 + pixels // 2, np.repeat(np.repeat(pixels, 3, 0), 3, 1)):
        assert usual.judge(encode_jpeg(other)).deviation == pytest.approx(plain, abs=0.2)


def test_of_few_images_nothing_is_known():
    images = [thumbnail_of(encode_jpeg(chest(number))) for number in range(120)]
    assert learn_usual_images(images[:99], images) is None
    assert learn_usual_images(images, images[:19]) is None
    assert learn_usual_images([], []) is None
    assert learn_usual_images(images[:100], images[:20]) is not None


def test_equal_images_of_training_give_a_check_without_division_by_zero():
    one = thumbnail_of(encode_jpeg(chest(1)))
    found = learn_usual_images([one] * 100, [one] * 20)
    assert found is not None
    assert np.isfinite(found.judge(encode_jpeg(chest(2))).deviation)


def test_arrays_come_back_and_damaged_ones_are_refused(usual):
    jpeg = encode_jpeg(np.rot90(chest(5)).copy())
    assert UsualImages.from_tensors(usual.tensors()).judge(jpeg) == usual.judge(jpeg)
    with pytest.raises(ValueError, match="spread_K is missing"):
        UsualImages.from_tensors({name: array for name, array in usual.tensors().items() if name != "spread_K"})
    with pytest.raises(ValueError, match="do not fit"):
        UsualImages.from_tensors({**usual.tensors(), "mean_P": np.zeros(9)})


def test_what_is_no_image_is_an_error(usual):
    with pytest.raises(OSError):
        usual.judge(b"no image")
    buffer = io.BytesIO()
    Image.new("L", (1, 1)).save(buffer, "PNG")
    assert usual.judge(buffer.getvalue()).is_unusual
