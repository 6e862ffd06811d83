"""The promises of the gate on fewer nights than the bench runs."""

import pytest

from infra.bench.gate import BETTER, MAX_DRIFT, WORSE, promote_nights, run_series
from infra.bench.gate_nights import expected_f1
from trrg_core.config.gate_settings import GateConfig

CONFIG = GateConfig(bootstrap_samples=300)
NIGHTS = 40


def test_a_worse_model_is_hardly_ever_promoted_and_a_better_one_mostly() -> None:
    assert promote_nights(-WORSE, NIGHTS, 1500, CONFIG).promoted <= 0.05
    assert promote_nights(BETTER, NIGHTS, 1500, CONFIG).promoted >= 0.6


@pytest.mark.parametrize("decline", [0.0, -0.01])
def test_fifty_nights_do_not_carry_the_champion_down(decline: float) -> None:
    final, _ = run_series(3, 1500, CONFIG, lambda generator: decline or generator.normal(0.0, 0.01))
    assert expected_f1(0.0) - final <= MAX_DRIFT
