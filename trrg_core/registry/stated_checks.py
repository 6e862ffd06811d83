"""Does the model tell as many sides and degrees as another one on the same studies? What is left out is not wrong.

Without this a model that names none is never wrong in one, and wins by saying less.
"""

from collections.abc import Iterator

from trrg_core.config.gate_settings import GateConfig
from trrg_core.metrics.outcomes import Column
from trrg_core.metrics.paired import Pooled, Resampler, share_of
from trrg_core.registry.check import Bound, Check, Verdict, check_estimate

_FEW = "so few test patients have such findings that too many resamples of patients have none"
# what is stated where the reference states it, per what, and what must be frequent enough to be judged, in the other's
_STATED = {
    "sides_stated": (
        (Column.SIDES_BOTH, Column.SIDES_EXPECTED),
        Column.SIDES_EXPECTED,
        "the share of the findings with a side that are stated with one",
    ),
    "degrees_stated": (
        (Column.DEGREES_BOTH, Column.REPORTS),
        Column.DEGREES_BOTH,
        "the number of findings per report that are stated with a degree, where the reference has one,",
    ),
}


def check_stated(
    key: str, model: Pooled, other: Pooled, resampler: Resampler, config: GateConfig, *, words: str
) -> Iterator[Check]:
    """`KEY.sides_stated` and `KEY.degrees_stated`: sides and degrees must not be shown to be fewer than of another.

    Args:
        key: what the names of the checks begin with.
        model: the pooled outcomes of the model.
        other: those of the model or the floor that it is compared with.
        resampler: the one that pooled both.
        config: the bounds.
        words: what the other one is.
    """
    bound = Bound(relation=">=", value=0.0)
    for name, (parts, counted, stated) in _STATED.items():
        check, reason = f"{key}.{name}", f"{stated} against the {words}"
        if (cases := other.of(counted)[0]) < config.min_positives:
            few = f"{reason}: {cases:.0f} cases are too few to judge"
            yield Check(name=check, verdict=Verdict.NOT_JUDGED, reason=few, bound=bound)
        else:
            estimate = resampler.difference(model, other, share_of(*parts))
            yield check_estimate(check, estimate, bound, reason, end="high", few=_FEW)
