import math

from trrg_core.config.settings import PerceptionGateConfig
from trrg_core.registry.perception_gate import failed_bounds, not_judged

GOOD = {
    "test_studies": 200.0,
    "perception_macro_auroc": 0.97,
    "perception_side_accuracy": 0.98,
    "flip_polarity_present": 0.99,
    "flip_polarity_absent": 0.96,
    "flip_side": 0.98,
    "flip_severity": 0.7,
}
BOUNDS = PerceptionGateConfig(
    min_macro_auroc=0.95,
    min_side_accuracy=0.95,
    min_polarity_present=0.95,
    min_polarity_absent=0.95,
    min_side=0.95,
    min_severity=0.5,
)


def test_a_good_run_passes() -> None:
    assert failed_bounds(GOOD, BOUNDS) == ()


def test_each_bound_stops_alone_and_names_the_numbers_and_the_setting() -> None:
    for name in GOOD.keys() - {"test_studies"}:
        (reason,) = failed_bounds({**GOOD, name: 0.4}, BOUNDS)
        bound = "min_" + name.removeprefix("perception_").removeprefix("flip_")
        assert reason.endswith(f"(perception_gate.{bound})")
        assert "0.400" in reason
        assert f"{getattr(BOUNDS, bound):.3f}" in reason


def test_zero_shot_runs_are_judged_by_their_own_names() -> None:
    zero_shot = {name.replace("perception_", "zero_shot_"): value for name, value in GOOD.items()}
    assert failed_bounds(zero_shot, BOUNDS) == ()
    assert len(failed_bounds({**zero_shot, "zero_shot_macro_auroc": 0.5}, BOUNDS)) == 1


def test_not_a_number_fails() -> None:
    assert len(failed_bounds({**GOOD, "flip_side": math.nan}, BOUNDS)) == 1


def test_a_value_without_cases_and_a_run_on_few_studies_are_not_judged() -> None:
    without_sides = {name: value for name, value in GOOD.items() if "side" not in name}
    assert failed_bounds(without_sides, BOUNDS) == ()
    few = {**GOOD, "flip_side": 0.1, "test_studies": 99.0}
    assert failed_bounds(few, BOUNDS) == ()
    assert not_judged(few, BOUNDS) == "not judged: 99 test studies, at least 100 needed (perception_gate.min_studies)"
    assert not_judged(GOOD, BOUNDS) == ""


def test_a_degree_below_chance_stops_a_run_by_default() -> None:
    (reason,) = failed_bounds({**GOOD, "flip_severity": 0.49}, PerceptionGateConfig())
    assert reason == "severity is 0.490, needed at least 0.500 (perception_gate.min_severity)"
