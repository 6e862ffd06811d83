"""The gate behind stage 1: is its perception good enough to build stage 2 on it?

The metrics of a pretrain run and the bounds in; the reasons against it out.
"""

from collections.abc import Mapping

from trrg_core.config.settings import PerceptionGateConfig

_PERCEPTION = ("perception", "zero_shot")


def failed_bounds(metrics: Mapping[str, float], config: PerceptionGateConfig) -> tuple[str, ...]:
    """The bounds that a pretrain run fails, as sentences with the numbers; none if it passes.

    A run that `not_judged` names is not judged, and a value that had no case is not missing: a corpus without one-sided
    findings has no side accuracy.

    Args:
        metrics: of the run, as the job records them.
        config: the bounds.
    """
    if not_judged(metrics, config):
        return ()
    found = {
        **{f"min_{name}": _first(metrics, name) for name in ("macro_auroc", "side_accuracy")},
        **{
            f"min_{name}": metrics.get(f"flip_{name}")
            for name in ("polarity_present", "polarity_absent", "side", "severity")
        },
    }
    return tuple(
        f"{bound.removeprefix('min_')} is {value:.3f}, needed at least {getattr(config, bound):.3f} "
        f"(perception_gate.{bound})"
        for bound, value in found.items()
        if value is not None and not value >= getattr(config, bound)
    )


def not_judged(metrics: Mapping[str, float], config: PerceptionGateConfig) -> str:
    """Why a pretrain run cannot be judged: too few test studies, with the numbers; empty if it is judged."""
    found = metrics.get("test_studies", 0)
    if found >= config.min_studies:
        return ""
    return f"not judged: {found:g} test studies, at least {config.min_studies} needed (perception_gate.min_studies)"


def _first(metrics: Mapping[str, float], name: str) -> float | None:
    return next((metrics[key] for prefix in _PERCEPTION if (key := f"{prefix}_{name}") in metrics), None)
