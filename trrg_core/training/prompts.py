"""Disease prompts: sentences that affirm or deny a finding, or affirm it on one side, as a radiologist writes them.

The contrastive stage draws them beside the report's own sentences and as hard negatives; perception compares a
radiograph with them. Observations without shipped prompts get templates, which have no side.
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
    """Sentences that affirm one observation, deny it, or affirm it on one side.

    `left` and `right` name the patient's side; both are empty where the observation has no side.
    """

    present: tuple[str, ...]
    absent: tuple[str, ...]
    left: tuple[str, ...] = ()
    right: tuple[str, ...] = ()

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
        )
    words = {"name": name.lower(), "Name": name.capitalize()}
    return Prompts(
        present=tuple(template.format(**words) for template in _PRESENT),
        absent=tuple(template.format(**words) for template in _ABSENT),
    )


@cache
def _shipped_prompts() -> dict[str, dict[str, Any]]:
    text = resources.files("trrg_core.training").joinpath("prompts.yaml").read_text("utf-8")
    return dict(yaml.safe_load(text))
