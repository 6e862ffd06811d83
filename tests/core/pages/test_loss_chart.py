"""The picture of a run's losses."""

import math

import pytest

from trrg_core.pages.loss_chart import draw_losses, running_mean


def test_a_panel_for_each_part_and_the_same_bytes_for_the_same_losses() -> None:
    losses = [{"loss": 1 / step, "scale": 14.0} for step in range(1, 200)] + [{"loss": math.nan, "validate_loss": 0.5}]
    picture = draw_losses(losses, title="pretrain-1")
    assert picture == draw_losses(losses, title="pretrain-1")
    text = picture.decode()
    assert text.startswith("<?xml")
    assert all(f"<!-- {name} -->" in text for name in ("loss", "scale", "validate_loss", "pretrain-1"))


def test_a_run_without_steps_gives_an_empty_picture() -> None:
    assert draw_losses([], title="empty").startswith(b"<?xml")


@pytest.mark.parametrize(
    ("values", "size", "means"),
    [
        ([1, 2, 3, 4], 1, [1, 2, 3, 4]),
        ([1, 2, 3, 4], 2, [1, 1.5, 2.5, 3.5]),
        ([1, math.nan, 3], 2, [1, 1, 3]),
    ],
)
def test_means_are_of_the_values_before(values: list[float], size: int, means: list[float]) -> None:
    assert running_mean(values, size) == means
