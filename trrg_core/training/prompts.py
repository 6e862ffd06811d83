"""Disease prompts: sentences that affirm or deny a finding, or affirm it on one side or in one degree, in report style.

The contrastive stage draws them beside the report's own sentences and as hard negatives; perception compares a
radiograph with them. Observations without shipped prompts get templates, which have no side and no degree.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

_PRESENT = ("There is {name}.", "{Name} is present.", "Findings are consistent with {name}.")
_ABSENT = ("No {name}.", "There is no {name}.", "No evidence of {name}.")


@dataclass(frozen=True)
class Prompts:
    """Sentences that affirm one observation, deny it, or affirm it on one side or in one degree.

    `left` and `right` name the patient's side; both are empty where the observation has no side. `degrees` holds the
    sentences of a slight, a moderate and a severe finding; it is empty where reports grade the observation rarely.
    """

    present: tuple[str, ...]
    absent: tuple[str, ...]
    left: tuple[str, ...] = ()
    right: tuple[str, ...] = ()
    degrees: tuple[tuple[str, ...], ...] = ()

    @property
    def has_degree(self) -> bool:
        """Whether the observation is graded."""
        return bool(self.degrees)

    @property
    def has_side(self) -> bool:
        """Whether the observation has a side."""
        return bool(self.left)


def load_prompts(observations: Sequence[str]) -> tuple[Prompts, ...]:
    """One `Prompts` per observation, in order: the shipped ones, or templates filled with its name."""
    shipped = _shipped_prompts()
    return tuple(_prompts_of(name, shipped.get(name)) for name in observations)


def _prompts_of(name: str, entry: dict[str, Any] | None) -> Prompts:
    if entry is not None:
        left = tuple(entry.get("left", ()))
        return Prompts(
            present=tuple(entry["present"]),
            absent=tuple(entry["absent"]),
            left=left,
            right=tuple(text.replace("left", "right").replace("Left", "Right") for text in left),
            degrees=_degree_prompts(entry.get("degrees")),
        )
    words = {"name": name.lower(), "Name": name.capitalize()}
    return Prompts(
        present=tuple(template.format(**words) for template in _PRESENT),
        absent=tuple(template.format(**words) for template in _ABSENT),
    )


def _degree_prompts(entry: dict[str, list[str]] | None) -> tuple[tuple[str, ...], ...]:
    """The templates of `entry`, filled with each of its words in turn."""
    if entry is None:
        return ()
    return tuple(tuple(text.format(degree=word) for text in entry["texts"]) for word in entry["words"])


@cache
def _shipped_prompts() -> dict[str, dict[str, Any]]:
    text = resources.files("trrg_core.training").joinpath("prompts.yaml").read_text("utf-8")
    return dict(yaml.safe_load(text))
