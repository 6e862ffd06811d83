import pytest

from trrg_core.config.settings import OptimizerConfig
from trrg_core.training.schedule import learning_rate_scale

OPTIMIZER = OptimizerConfig(warmup_share=0.1)


def test_the_warm_up_is_linear_and_ends_at_the_peak() -> None:
    scales = [learning_rate_scale(step, 40, OPTIMIZER) for step in range(4)]
    assert scales == [0.25, 0.5, 0.75, 1.0]


def test_the_decay_is_half_a_cosine() -> None:
    assert learning_rate_scale(4, 40, OPTIMIZER) == 1.0
    assert learning_rate_scale(22, 40, OPTIMIZER) == pytest.approx(0.5)
    assert learning_rate_scale(13, 40, OPTIMIZER) == pytest.approx(0.5 * (1 + 2**-0.5))


def test_the_rate_is_zero_at_the_end_and_stays_there() -> None:
    assert learning_rate_scale(40, 40, OPTIMIZER) == 0.0
    assert learning_rate_scale(1000, 40, OPTIMIZER) == 0.0


def test_without_a_warm_up_the_first_step_is_at_the_peak() -> None:
    assert learning_rate_scale(0, 40, OptimizerConfig(warmup_share=0)) == 1.0


def test_a_run_of_one_step_is_at_the_peak() -> None:
    assert learning_rate_scale(0, 1, OPTIMIZER) == 1.0
