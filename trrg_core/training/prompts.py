"""Disease prompts: sentences that affirm or deny a finding, as a radiologist writes them.

The contrastive stage draws them beside the report's own sentences and takes the opposite one as a hard negative;
perception compares a radiograph with both. Observations without shipped prompts get templates.
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
    """Sentences that affirm one observation, and sentences that deny it."""

    present: tuple[str, ...]
    absent: tuple[str, ...]


def load_prompts(observations: Sequence[str]) -> tuple[Prompts, ...]:
    """One `Prompts` per observation, in order: the shipped ones, or templates filled with its name."""
    shipped = _shipped_prompts()
    return tuple(_prompts_of(name, shipped.get(name)) for name in observations)


def _prompts_of(name: str, entry: dict[str, Any] | None) -> Prompts:
    if entry is not None:
        return Prompts(present=tuple(entry["present"]), absent=tuple(entry["absent"]))
    words = {"name": name.lower(), "Name": name.capitalize()}
    return Prompts(
        present=tuple(template.format(**words) for template in _PRESENT),
        absent=tuple(template.format(**words) for template in _ABSENT),
    )


@cache
def _shipped_prompts() -> dict[str, dict[str, Any]]:
    text = resources.files("trrg_core.training").joinpath("prompts.yaml").read_text("utf-8")
    return dict(yaml.safe_load(text))
