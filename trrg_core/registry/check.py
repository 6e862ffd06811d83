"""One check of the gate: a number, its interval, the bound it is held to, and the verdict in words."""

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

from trrg_core.metrics.paired import Estimate

# the verdict is second: on a narrow screen the last columns are out of sight
CHECK_COLUMNS = ("check", "verdict", "number", "interval", "needed")

# why the recall of a finding may have no interval
FEW_PATIENTS = "so few test patients have it that too many resamples of patients have none"

Relation = Literal[">", ">=", "<="]
Bounded = Literal["number", "lower end", "upper end"]


class Verdict(StrEnum):
    """The outcome of a check. INSUFFICIENT never passes; NOT_JUDGED had nothing to count and decides nothing."""

    PASS = "pass"
    FAIL = "fail"
    INSUFFICIENT = "insufficient evidence"
    NOT_JUDGED = "not judged"


@dataclass(frozen=True, kw_only=True)
class Bound:
    """What a number, or an end of its interval, must satisfy, and the setting that says so; none where it is fixed."""

    relation: Relation
    value: float
    setting: str = ""
    of: Bounded = "number"

    def admits(self, number: float) -> bool:
        """Whether `number` satisfies the bound; a value that is not a number does not."""
        rounded = round(number, 9) if math.isfinite(number) else number  # 0.51 - 0.50 is 0.01
        return {
            ">": rounded > self.value,
            ">=": rounded >= self.value,
            "<=": rounded <= self.value,
        }[self.relation]

    def __str__(self) -> str:
        source = f" ({self.setting})" if self.setting else ""
        return f"{self.relation} {self.value:g}{source}"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check by name. `low` and `high` are None where a single number decides; all are None where there is none."""

    name: str
    verdict: Verdict
    reason: str
    number: float | None = None
    low: float | None = None
    high: float | None = None
    bound: Bound | None = None

    @property
    def is_against(self) -> bool:
        """Whether it stands against a promotion: a failure, or too little evidence."""
        return self.verdict in (Verdict.FAIL, Verdict.INSUFFICIENT)


def check_number(
    name: str,
    number: float,
    bound: Bound,
    words: str,
    *,
    otherwise: Verdict = Verdict.FAIL,
) -> Check:
    """A check of a single number; `words` says what it is, `otherwise` is the verdict where the bound is broken."""
    is_number = math.isfinite(number)
    verdict = Verdict.PASS if is_number and bound.admits(number) else otherwise
    shown = f"{number:.4g}" if is_number else "missing"
    return Check(
        name=name,
        verdict=verdict,
        reason=f"{words} is {shown}; needed {bound}",
        number=number if is_number else None,
        bound=bound,
    )


def check_estimate(
    name: str, estimate: Estimate, bound: Bound, words: str, *, end: Literal["low", "high"] = "low", few: str = ""
) -> Check:
    """A check of the lower or upper end of an interval; one that cannot be computed fails.

    Where too few cases are the only cause of that, `few` says of what, and the evidence is insufficient.
    """
    decisive = getattr(estimate, end)
    if not all(map(math.isfinite, (estimate.value, estimate.low, estimate.high))):
        verdict = Verdict.INSUFFICIENT if few else Verdict.FAIL
        reason = f"{words} cannot be computed{f': {few}' if few else ''}; needed {bound}"
        return Check(name=name, verdict=verdict, reason=reason, bound=bound)
    of: Bounded = "lower end" if end == "low" else "upper end"
    return Check(
        name=name,
        verdict=Verdict.PASS if bound.admits(decisive) else Verdict.FAIL,
        reason=f"{words} is {estimate.value:+.3f}, interval {estimate.low:+.3f} to {estimate.high:+.3f}; "
        f"its {of} must be {bound}",
        number=estimate.value,
        low=estimate.low,
        high=estimate.high,
        bound=replace(bound, of=of),
    )


def check_cells(check: Check) -> tuple[str, ...]:
    """A check as the cells of a table, in the order of `CHECK_COLUMNS`."""
    number = "-" if check.number is None else f"{check.number:.4g}"
    interval = "-" if check.low is None or check.high is None else f"{check.low:+.3f} to {check.high:+.3f}"
    return (check.name, check.verdict, number, interval, _needed(check.bound))


def _needed(bound: Bound | None) -> str:
    if bound is None:
        return "-"
    return str(bound) if bound.of == "number" else f"{bound.of} {bound}"
