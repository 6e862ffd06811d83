import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.core.toy_corpus import draw
from trrg_core.imaging.augmentation import _affine_grid, augment
from trrg_core.imaging.transforms import letterbox, letterbox_all


def test_letterbox_keeps_the_aspect_and_the_sides():
    square = letterbox(draw(0, "p"), side_px=64)  # 64 high, 56 wide, dark stripe on the left
    assert square.shape == (64, 64)
    assert square.dtype == np.uint8
    assert (square[:, :4] == 0).all()
    assert (square[:, 60:] == 0).all()
    assert square[10, 9] < 40 < square[10, 50]


@pytest.mark.parametrize("count", [1, 50])  # a few in turn, many by threads
def test_images_are_letterboxed_in_their_order(count):
    jpegs = [draw(number, "p") for number in range(count)]
    squares = letterbox_all(jpegs, side_px=32)
    assert all(np.array_equal(square, letterbox(jpeg, side_px=32)) for square, jpeg in zip(squares, jpegs, strict=True))
    with pytest.raises(OSError, match="identify"):
        letterbox_all([*jpegs, b"no image"], side_px=32)


def test_augmentation_is_seeded_small_and_never_a_flip():
    image = torch.zeros(1, 64, 64)
    image[:, 20:44, 4:24] = 1.0
    assert torch.equal(augment(image, seed=3), augment(image, seed=3))
    assert not torch.equal(augment(image, seed=3), augment(image, seed=4))
    for seed in range(50):
        moved = augment(image, seed=seed)
        assert moved[0, :, :32].sum() > 4 * moved[0, :, 32:].sum()


def test_the_grid_of_an_augmentation_is_that_of_torch():
    theta = torch.randn(3, 2, 3, generator=torch.Generator().manual_seed(0))
    expected = functional.affine_grid(theta, [3, 1, 20, 30], align_corners=False)
    torch.testing.assert_close(_affine_grid(theta, 20, 30), expected, rtol=0, atol=1e-6)
