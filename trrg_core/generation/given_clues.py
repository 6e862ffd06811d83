"""Clues that a person gives: what is said of a finding instead of what perception makes of it.

`Pleural Effusion=left`, `Edema=moderate`, `Pneumothorax=absent`: texts in, clues of a batch out.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from trrg_core.errors import ConfigError
from trrg_core.labels import CODE_OF_SIDE, DEGREE_OF_SEVERITY, STATED_ABSENT, STATED_PRESENT
from trrg_core.model.clues import Clues, give_clues
from trrg_core.report.facts import FactCodes, no_facts
from trrg_core.training.fact_tensors import facts_tensor

_PRESENT, _ABSENT = "present", "absent"
_SIDES = {name: code for name, code in CODE_OF_SIDE.items() if name}
_DEGREES = {name: degree for name, degree in DEGREE_OF_SEVERITY.items() if name}


@dataclass(frozen=True, kw_only=True)
class GivenClue:
    """What a person says of a finding: present or absent, and of a present one the side bits and the degree 1 to 3."""

    observation: str
    is_present: bool
    sides: int = 0
    degree: int = 0


def parse_given_clue(text: str, observations: Sequence[str]) -> GivenClue:
    """The clue of a text `FINDING=WORDS`; words are absent, present, a side and a degree.

    Raises:
        ConfigError: for another form, an unknown finding or word, or words that contradict each other.
    """
    name, separator, words = text.partition("=")
    of_lower = {observation.lower(): observation for observation in observations}
    observation = of_lower.get(" ".join(name.lower().split()))
    if not separator or not words.split():
        raise ConfigError(f"clue {text!r}: expected FINDING=WORDS, as in 'Pleural Effusion=left small'")
    if observation is None:
        near = difflib.get_close_matches(name.strip().lower(), of_lower, n=1)
        hint = f"did you mean {of_lower[near[0]]!r}?" if near else f"expected one of {', '.join(observations)}"
        raise ConfigError(f"clue {text!r}: unknown finding {name.strip()!r}; {hint}")
    given = [word.lower() for word in words.split()]
    known = (_PRESENT, _ABSENT, *_SIDES, *_DEGREES)
    if unknown := [word for word in given if word not in known]:
        raise ConfigError(f"clue {text!r}: unknown word {unknown[0]!r}; expected some of {', '.join(known)}")
    sides = [_SIDES[word] for word in given if word in _SIDES]
    degrees = [_DEGREES[word] for word in given if word in _DEGREES]
    if len(sides) > 1 or len(degrees) > 1 or (_ABSENT in given and len(given) > 1):
        raise ConfigError(f"clue {text!r}: one side and one degree at most, and neither of an absent finding")
    return GivenClue(
        observation=observation,
        is_present=_ABSENT not in given,
        sides=sides[0] if sides else 0,
        degree=degrees[0] if degrees else 0,
    )


def check_given_clues(
    given: Sequence[GivenClue], *, sided: Sequence[str], graded: Sequence[str], without: str | None
) -> None:
    """Check that a model can be given these clues, each finding once.

    Args:
        given: the clues of one study.
        sided: the findings whose clues have sides.
        graded: the findings whose clues have degrees.
        without: the observation that stands for no finding, if there is one; no sentence states it.

    Raises:
        ConfigError: where a word would be left out in silence.
    """
    seen: set[str] = set()
    for clue in given:
        name = clue.observation
        if name in seen:
            raise ConfigError(f"clue {name!r}: given twice; say all of it in one, as in {name}=left small")
        if name == without:
            raise ConfigError(f"clue {name!r}: no sentence states it; give the findings, e.g. {_ABSENT}")
        if clue.sides and name not in sided:
            raise ConfigError(f"clue {name!r}: the model knows no side of it; expected one of {', '.join(sided)}")
        if clue.degree and name not in graded:
            raise ConfigError(f"clue {name!r}: the model knows no degree of it; expected one of {', '.join(graded)}")
        seen.add(name)


def with_given(clues: Clues, given: Sequence[Sequence[GivenClue]], observations: Sequence[str]) -> Clues:
    """`clues`, one per observation in order, with those of each study that a person gives."""
    codes, masks = [], []
    for of_study in given:
        by_name = {one.observation: one for one in of_study}
        parts = [list(part) for part in no_facts(len(observations))]
        for index, name in enumerate(observations):
            if name in by_name:
                one = by_name[name]
                values = (STATED_PRESENT if one.is_present else STATED_ABSENT, one.sides, one.degree)
                for part, value in zip(parts, values, strict=True):
                    part[index] = value
        assertions, sides, degrees = (tuple(part) for part in parts)
        codes.append(FactCodes(assertions, sides, degrees))
        masks.append([name in by_name for name in observations])
    device = clues.logit_BK.device
    facts = facts_tensor(codes, len(observations)).map(lambda tensor: tensor.to(device))
    changed = give_clues(clues, facts, torch.tensor(masks, device=device).reshape(len(codes), -1))
    # a side that a person states is known also where lateral films show none
    return changed._replace(has_side_BK=changed.has_side_BK | (facts.side_NO != 0))
