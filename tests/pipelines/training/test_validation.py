"""When training stops by the loss on `validate`."""

import math

import pytest

from pipelines.training.validation import has_converged


@pytest.mark.parametrize(
    ("validated", "patience", "expected"),
    [
        ([3.0, 2.0, 1.0], 1, False),
        ([3.0, 2.0, 2.0], 1, True),
        ([1.0, 2.0], 2, False),
        ([1.0, 2.0, 1.5], 2, True),
        ([1.0, 2.0, 0.9], 2, False),
        ([1.0, math.nan, math.nan], 2, True),
        ([1.0, 2.0, 3.0, 4.0], 0, False),
        ([], 1, False),
    ],
)
def test_training_stops_after_as_many_losses_that_are_no_lower(
    validated: list[float], patience: int, expected: bool
) -> None:
    losses = [row for value in validated for row in ({"loss": 0.1}, {"loss": 0.1, "validate_loss": value})]
    assert has_converged(losses, patience) is expected
