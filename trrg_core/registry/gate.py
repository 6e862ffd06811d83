"""The promotion gate: may this model become champion?

The scores of the challenger are compared with those of the floors and of the champion. A challenger that fails gives a
`Decision`, not an error.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from trrg_core.config.settings import RegisterConfig
from trrg_core.metrics.systems import System, TruthRate

_Check = tuple[bool, str]


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Whether to promote, and every reason for or against it, in the order checked."""

    promote: bool
    reasons: tuple[str, ...]


def decide(
    challenger: Mapping[str, float],
    *,
    floors: Mapping[System, Mapping[str, float]],
    champion: Mapping[str, float] | None,
    config: RegisterConfig,
    gate_score: str,
) -> Decision:
    """Whether the challenger may become champion.

    It must beat every floor by more than `min_f1_gain`, stay within `max_f1_drop` of the champion, and write at least
    `min_distinct_share` distinct reports. A score that is missing or not a number counts against it.

    Args:
        challenger: its scores by name, on the same studies as the others.
        floors: scores by name of each floor; at least one.
        champion: scores of the present champion, None when there is none.
        config: the bounds.
        gate_score: name of the clinical score that is compared, such as `trrg14.micro.f1.u0`.

    Raises:
        ValueError: if there is no floor to compare with.
    """
    if not floors:
        raise ValueError("no floor to compare with: score the modal report or the nearest neighbour as well")
    checks = [
        *_check_floors(challenger, floors, gate_score, config.min_f1_gain),
        _check_champion(challenger, champion, gate_score, config.max_f1_drop),
        _check_distinct(challenger, config.min_distinct_share),
    ]
    return Decision(promote=all(passed for passed, _ in checks), reasons=tuple(reason for _, reason in checks))


def _check_floors(
    challenger: Mapping[str, float], floors: Mapping[System, Mapping[str, float]], name: str, margin: float
) -> list[_Check]:
    checks = []
    for floor, scores in floors.items():
        gain = _gain(challenger, scores, name)
        # a tie is not enough: a model that always writes the modal report ties with it
        passed = gain > margin
        checks.append((passed, _explain(passed, gain, name, floor, f"more than {margin:+.3f}")))
    return checks


def _check_champion(
    challenger: Mapping[str, float], champion: Mapping[str, float] | None, name: str, drop: float
) -> _Check:
    if champion is None:
        return True, "pass: there is no champion yet"
    gain = _gain(challenger, champion, name)
    passed = gain >= -drop
    return passed, _explain(passed, gain, name, "the champion", f"at least {-drop:+.3f}")


def _gain(challenger: Mapping[str, float], other: Mapping[str, float], name: str) -> float:
    # rounded, so that 0.51 - 0.50 is 0.01
    return round(challenger.get(name, math.nan) - other.get(name, math.nan), 9)


def _explain(passed: bool, gain: float, name: str, other: str, needed: str) -> str:
    if math.isnan(gain):
        return f"fail: {name} is missing for the challenger or {other}"
    return f"{_word(passed)}: {name} is {gain:+.3f} against {other}; needed {needed}"


def _check_distinct(challenger: Mapping[str, float], least: float) -> _Check:
    share = challenger.get(TruthRate.DISTINCT_SHARE, math.nan)
    if math.isnan(share):
        return False, f"fail: {TruthRate.DISTINCT_SHARE} of the challenger is missing"
    passed = share >= least
    return passed, f"{_word(passed)}: {share:.1%} of its reports are distinct; needed at least {least:.1%}"


def _word(passed: bool) -> str:
    return "pass" if passed else "fail"
