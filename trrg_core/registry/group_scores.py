"""The fairness part of a model's card: the scores of each group of the test studies, and which groups are not compared.

Groups are the usual slices of an evaluation by sex, age and view. The differences are stated, not judged: how large one
may be depends on the use.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ATTRIBUTES = ("sex", "age", "view")  # a group is named by its attribute and its value: `sex F`, `age 40 to 64`
NOT_KEPT = "race, ethnicity, language and insurance: not assessed, no table of the store keeps them"
NO_SLICES = "not assessed: the evaluation has no scores by slice; `trrg evaluate` of this version makes them"

Interval = tuple[float | None, float | None, float | None]  # value and both ends of 95 %; None is unknown


@dataclass(frozen=True, kw_only=True)
class Group:
    """A group of the test studies, such as `sex F`: its size and the model's scores in it."""

    name: str
    num_studies: int
    num_patients: int
    num_positive: int
    micro_f1: Interval
    truth_score: Interval

    @property
    def attribute(self) -> str:
        """What the group is by: the first word of its name."""
        return self.name.partition(" ")[0]

    def to_json(self) -> dict[str, Any]:
        """The group as plain values."""
        names = ("value", "low", "high")
        return {
            "studies": self.num_studies,
            "patients": self.num_patients,
            "positive findings": self.num_positive,
            "micro-F1": dict(zip(names, self.micro_f1, strict=True)),
            "truth score": dict(zip(names, self.truth_score, strict=True)),
        }


def groups_from_json(slices: Sequence[Mapping[str, Any]]) -> tuple[Group, ...]:
    """The groups among the slices of an evaluation, whose file has one object per slice; other slices are left out."""
    return tuple(
        Group(
            name=item["name"],
            num_studies=item["num_studies"],
            num_patients=item["num_patients"],
            num_positive=item["num_positive"],
            micro_f1=_interval(item["micro_f1"]),
            truth_score=_interval(item["truth_score"]),
        )
        for item in slices
        if str(item["name"]).startswith(tuple(f"{attribute} " for attribute in ATTRIBUTES))
    )


def compare_groups(groups: Sequence[Group]) -> str:
    """One line per attribute: the lowest and the highest micro-F1 of its groups, or why they are not compared."""
    if not groups:
        return NO_SLICES
    lines = [_compare(name, [group for group in groups if group.attribute == name]) for name in ATTRIBUTES]
    return "\n".join(f"- {line}" for line in (*lines, NOT_KEPT))


def _compare(attribute: str, groups: Sequence[Group]) -> str:
    if not groups:
        return f"{attribute}: not assessed, no test study states it"
    scored = [(group.micro_f1[0], group) for group in groups if group.micro_f1[0] is not None]
    if len(groups) == 1:
        return f"{attribute}: not assessed, all test studies that state it are in {_sized(groups[0])}"
    if len(scored) < 2:
        return f"{attribute}: not assessed, fewer than two of its {len(groups)} groups have a score"
    (low, worst), (high, best) = min(scored, key=lambda pair: pair[0]), max(scored, key=lambda pair: pair[0])
    span = f"from {low:.3f} ({_sized(worst)}) to {high:.3f} ({_sized(best)})"
    line = f"{attribute}: micro-F1 {span}; {_overlap(worst, best)}"
    unscored = [group.name for group in groups if group.micro_f1[0] is None]
    return f"{line}; without a score: {', '.join(unscored)}" if unscored else line


def _sized(group: Group) -> str:
    return f"{group.name}, {group.num_studies} studies"


def _overlap(worst: Group, best: Group) -> str:
    end, start = worst.micro_f1[2], best.micro_f1[1]
    if end is None or start is None:
        return "without intervals"
    if end < start:
        return "their intervals of 95 % do not overlap"
    return "their intervals of 95 % overlap, which does not show that they are equal"


def _interval(value: Mapping[str, float | None]) -> Interval:
    return value["value"], value["low"], value["high"]
