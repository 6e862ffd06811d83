"""Clues that a person gives: what is said of a finding instead of what perception makes of it.

`Pleural Effusion=left`, `Edema=moderate`, `Pneumothorax=absent`: texts in, clues of a batch out.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from trrg_core.clue import KnownFindings
from trrg_core.errors import ConfigError
from trrg_core.labels import CODE_OF_SIDE, DEGREE_OF_SEVERITY, STATED_ABSENT, STATED_PRESENT
from trrg_core.model.clues import Clues, give_clues
from trrg_core.report.chexbert import CHILDREN
from trrg_core.report.facts import FactCodes, no_facts
from trrg_core.training.fact_tensors import facts_tensor

_PRESENT, _ABSENT = "present", "absent"
_SIDES = {name: code for name, code in CODE_OF_SIDE.items() if name}
_DEGREES = {name: degree for name, degree in DEGREE_OF_SEVERITY.items() if name}
_FORM = "expected FINDING=WORDS, as in 'Pleural Effusion=left small' or 'Pneumothorax=absent'"
_NO_CLUES = "a clue is given, and the model was trained without (finetune.clues=off): give none"
_MOST_CHARACTERS = 200  # of one clue; a whole report that is given by mistake is not repeated in an error


@dataclass(frozen=True, kw_only=True)
class GivenClue:
    """What a person says of a finding: present or absent, and of a present one the side bits and the degree 1 to 3."""

    observation: str
    is_present: bool
    sides: int = 0
    degree: int = 0


def parse_given_clues(texts: Sequence[str], findings: KnownFindings) -> tuple[GivenClue, ...]:
    """The clues that a person gives of one study, as texts `FINDING=WORDS`: absent, present, a side, a degree.

    Raises:
        ConfigError: for another form, an unknown finding or word, words that contradict each other, or as
            `check_given_clues`.
    """
    if texts and not findings.observations:
        raise ConfigError(_NO_CLUES)
    given = tuple(_parse_given_clue(text, findings) for text in texts)
    check_given_clues(given, findings)
    return given


def check_given_clues(given: Sequence[GivenClue], findings: KnownFindings) -> None:
    """Check that a model can be given these clues of one study, each finding once and none against another.

    Raises:
        ConfigError: where a word would be left out in silence, or two clues contradict each other.
    """
    if given and not findings.observations:
        raise ConfigError(_NO_CLUES)
    seen: set[str] = set()
    for clue in given:
        name = clue.observation
        if name not in findings.observations:
            raise ConfigError(f"clue {name!r}: unknown finding; {_expected(_givable(findings))}")
        if name in seen:
            raise ConfigError(f"clue {name!r}: given twice; give each finding once, with all that you say of it")
        if name == findings.no_finding:
            raise ConfigError(f"clue {name!r}: no sentence states it; give the findings, e.g. {_ABSENT}")
        if clue.sides and name not in findings.sided:
            raise ConfigError(f"clue {name!r}: the model knows no side of it; {_expected(findings.sided)}")
        if clue.degree and name not in findings.graded:
            raise ConfigError(f"clue {name!r}: the model knows no degree of it; {_expected(findings.graded)}")
        seen.add(name)
    if set(CHILDREN) <= set(findings.observations):
        _check_hierarchy({clue.observation: clue.is_present for clue in given})


def _check_hierarchy(is_present: Mapping[str, bool]) -> None:
    """Refuse a finding as absent beside one of its kinds as present: no report could state both."""
    for parent, children in CHILDREN.items():
        affirmed = [child for child in children if is_present.get(child)]
        if affirmed and is_present.get(parent) is False:
            raise ConfigError(
                f"clue {parent!r} is given as absent and {affirmed[0]!r}, which is a kind of it, as present: leave one "
                "of the two out"
            )


def with_given(clues: Clues, given: Sequence[Sequence[GivenClue]], observations: Sequence[str]) -> Clues:
    """`clues`, one per observation in order, with those of each study that a person gives."""
    codes, masks = [], []
    for of_study in given:
        by_name = {one.observation: one for one in of_study}
        parts = [list(part) for part in no_facts(len(observations))]
        for index, name in enumerate(observations):
            if name in by_name:
                one = by_name[name]
                values = (STATED_PRESENT if one.is_present else STATED_ABSENT, one.sides, one.degree, 0)
                for part, value in zip(parts, values, strict=True):
                    part[index] = value
        codes.append(FactCodes(*map(tuple, parts)))
        masks.append([name in by_name for name in observations])
    device = clues.logit_BK.device
    facts = facts_tensor(codes, len(observations)).map(lambda tensor: tensor.to(device))
    changed = give_clues(clues, facts, torch.tensor(masks, device=device).reshape(len(codes), -1))
    # a side that a person states is known also where lateral films show none
    return changed._replace(has_side_BK=changed.has_side_BK | (facts.side_NO != 0))


def _parse_given_clue(text: str, findings: KnownFindings) -> GivenClue:
    if len(text) > _MOST_CHARACTERS:
        raise ConfigError(f"clue of {len(text)} characters, at most {_MOST_CHARACTERS} are read: {_FORM}")
    name, separator, words = text.partition("=")
    of_lower = {observation.lower(): observation for observation in findings.observations}
    observation = of_lower.get(" ".join(name.lower().split()))
    if not separator or not words.split():
        raise ConfigError(f"clue {text!r}: {_FORM}")
    if observation is None:
        near = difflib.get_close_matches(name.strip().lower(), of_lower, n=1)
        hint = f"did you mean {of_lower[near[0]]!r}?" if near else _expected(_givable(findings))
        raise ConfigError(f"clue {text!r}: unknown finding {name.strip()!r}; {hint}")
    given = [word.lower() for word in words.split()]
    known = (_PRESENT, _ABSENT, *_SIDES, *_DEGREES)
    if unknown := [word for word in given if word not in known]:
        raise ConfigError(f"clue {text!r}: unknown word {unknown[0]!r}; expected some of {', '.join(known)}")
    if _ABSENT in given and _PRESENT in given:
        raise ConfigError(f"clue {text!r}: expected present or absent, not both")
    sides = [_SIDES[word] for word in given if word in _SIDES]
    degrees = [_DEGREES[word] for word in given if word in _DEGREES]
    if len(sides) > 1 or len(degrees) > 1 or (_ABSENT in given and len(given) > 1):
        raise ConfigError(
            f"clue {text!r}: one side (bilateral for both) and one degree at most, and neither of an absent finding"
        )
    return GivenClue(
        observation=observation,
        is_present=_ABSENT not in given,
        sides=sides[0] if sides else 0,
        degree=degrees[0] if degrees else 0,
    )


def _givable(findings: KnownFindings) -> list[str]:
    return [name for name in findings.observations if name != findings.no_finding]


def _expected(names: Sequence[str]) -> str:
    return f"expected one of {', '.join(names)}" if names else "nor of any other"
