"""Observations, assertions, labels and fact codes: from what sentences assert to what a report is labelled.

A label is POSITIVE 1, NEGATIVE 0, UNCERTAIN -1, or None where the report does not mention the observation. None is
not 0. A fact code is the same as a small integer for tensors and arrays, with a value for "not mentioned".
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from functools import cache
from importlib import resources
from typing import Literal

from pydantic import Field, ValidationError

from trrg_core.config.section import ConfigSection
from trrg_core.config.values import explain_errors, load_yaml
from trrg_core.errors import ConfigError
from trrg_core.storage.given_file import read_given_file


class Assertion(StrEnum):
    """What a sentence states of a finding."""

    PRESENT = "PRESENT"
    ABSENT = "ABSENT"
    UNCERTAIN = "UNCERTAIN"


class Label(IntEnum):
    """What a report states of an observation, in CheXpert's numbers; None stands for "not mentioned"."""

    POSITIVE = 1
    NEGATIVE = 0
    UNCERTAIN = -1


Policy = Literal["u-zeros", "u-ones", "u-ignore"]
Labels = dict[str, Label | None]

LABEL_OF_ASSERTION: Mapping[Assertion, Label] = {
    Assertion.PRESENT: Label.POSITIVE,
    Assertion.ABSENT: Label.NEGATIVE,
    Assertion.UNCERTAIN: Label.UNCERTAIN,
}

# The sides that a text states of an observation, as bits; 0 where it states none. A side is the patient's.
SIDE_LEFT, SIDE_RIGHT = 1, 2
CODE_OF_SIDE: Mapping[str, int] = {"": 0, "left": SIDE_LEFT, "right": SIDE_RIGHT, "bilateral": SIDE_LEFT | SIDE_RIGHT}
# The degree that a text states of an observation, 1 to 3; 0 where it states none.
DEGREE_OF_SEVERITY: Mapping[str, int] = {
    "": 0,
    **dict.fromkeys(("trace", "minimal", "small", "mild", "borderline"), 1),
    "moderate": 2,
    **dict.fromkeys(("large", "severe"), 3),
}

NUM_DEGREES = 3

# The zones of the lungs in which a text places an observation, as bits; other places have none.
ZONE_UPPER, ZONE_MIDDLE, ZONE_LOWER = 1, 2, 4
ZONE_OF_ANATOMY: Mapping[str, int] = {
    **dict.fromkeys(("left upper lobe", "right upper lobe", "lung apex"), ZONE_UPPER),
    **dict.fromkeys(("right middle lobe", "lingula", "mid lung"), ZONE_MIDDLE),
    **dict.fromkeys(("left lower lobe", "right lower lobe", "lung base", "costophrenic angle"), ZONE_LOWER),
}

# What a text states of an observation, as a small integer.
NOT_STATED, STATED_PRESENT, STATED_ABSENT, STATED_UNCERTAIN = 0, 1, 2, 3
CODE_OF_ASSERTION: Mapping[Assertion, int] = {
    Assertion.PRESENT: STATED_PRESENT,
    Assertion.ABSENT: STATED_ABSENT,
    Assertion.UNCERTAIN: STATED_UNCERTAIN,
}
_CODE_OF_LABEL = {LABEL_OF_ASSERTION[assertion]: code for assertion, code in CODE_OF_ASSERTION.items()}
# By definition null for "No Finding" says that something abnormal is stated, which is a denial of it.
_NULL_IS_DENIAL = "No Finding"

# positive > uncertain > negative: one clear sentence outweighs any number of weaker ones (CheXpert, section 3)
_BY_STRENGTH = tuple(
    (assertion, LABEL_OF_ASSERTION[assertion])
    for assertion in (Assertion.PRESENT, Assertion.UNCERTAIN, Assertion.ABSENT)
)
_ABNORMAL = (Label.POSITIVE, Label.UNCERTAIN)


@dataclass(frozen=True, kw_only=True)
class LabelSet:
    """A named set of observations and the lexicon findings that count towards each.

    `findings` maps an observation to finding ids of the parser's lexicon. `no_finding` is the observation that
    holds when none of the others but `not_abnormal` ones is positive or uncertain, or None if the set has none.
    `abnormal` are findings outside every observation that exclude it too (a hernia is not "No Finding").
    """

    name: str
    observations: tuple[str, ...]
    findings: Mapping[str, tuple[str, ...]]
    no_finding: str | None = None
    not_abnormal: tuple[str, ...] = ()
    abnormal: tuple[str, ...] = ()

    def __hash__(self) -> int:
        # mappings have no hash of their own; equal label sets have equal names and observations
        return hash((self.name, self.observations))

    def observations_of(self, finding: str) -> tuple[str, ...]:
        """Observations that `finding` counts towards, in the set's order."""
        return tuple(name for name in self.observations if finding in self.findings.get(name, ()))


def column_name(observation: str) -> str:
    """`observation` as a table column: "Pleural Effusion" -> "pleural_effusion"."""
    return observation.lower().replace(" ", "_")


def stated_codes(labels: Mapping[str, int | None], observations: Sequence[str]) -> list[int]:
    """The fact code of each of `observations`, from label values by column name; all NOT_STATED without labels."""
    return [_stated_code(labels, name) for name in observations]


def _stated_code(labels: Mapping[str, int | None], observation: str) -> int:
    label = labels.get(column_name(observation))
    if label is not None:
        return _CODE_OF_LABEL[Label(label)]
    return STATED_ABSENT if observation == _NULL_IS_DENIAL and labels else NOT_STATED


def aggregate(assertions: Iterable[Assertion]) -> Label | None:
    """The strongest label among `assertions`; None when there are none. Order does not matter."""
    stated = tuple(assertions)  # an assertion is hashed in Python, and compared in C
    for assertion, label in _BY_STRENGTH:
        if assertion in stated:
            return label
    return None


def label_report(
    assertions: Mapping[str, Iterable[Assertion]], label_set: LabelSet, others: Iterable[Assertion] = ()
) -> Labels:
    """One label per observation of `label_set`, from the assertions of each observation.

    "No Finding" is POSITIVE when no abnormal observation is POSITIVE or UNCERTAIN, else None (CheXpert, 2019);
    `others` are the assertions of the set's `abnormal` findings.
    """
    labels: Labels = dict.fromkeys(label_set.observations)
    abnormal = aggregate(others) in _ABNORMAL
    for name, of_name in assertions.items():
        if name in labels:
            label = labels[name] = aggregate(of_name)
            if label in _ABNORMAL and name != label_set.no_finding and name not in label_set.not_abnormal:
                abnormal = True
    if label_set.no_finding is not None:
        labels[label_set.no_finding] = None if abnormal else Label.POSITIVE
    return labels


def apply_policy(label: Label | None, policy: Policy) -> Label | None:
    """`label` with UNCERTAIN read by `policy`: as negative, as positive, or as not mentioned."""
    if label is not Label.UNCERTAIN:
        return label
    return {"u-zeros": Label.NEGATIVE, "u-ones": Label.POSITIVE, "u-ignore": None}[policy]


def load_label_set(name: str) -> LabelSet:
    """The label set `name`: a shipped one or the path of a YAML file of the same form.

    Shipped are `chexpert14`, `nih14`, `cxr-lt`, `padchest` and `vindr`.

    Raises:
        ConfigError: if there is no such set, or the file holds none.
    """
    shipped = resources.files("trrg_core.report.rules.label_sets")
    known = sorted(entry.name.removesuffix(".yaml") for entry in shipped.iterdir() if entry.name.endswith(".yaml"))
    if name in known:
        return _parse_label_set(shipped.joinpath(f"{name}.yaml").read_bytes(), name)
    try:
        text = read_given_file(name)
    except ConfigError as error:
        message = f"no label set {name[:100]!r}: expected one of {known} or the path of a YAML file; {error}"
        raise ConfigError(message) from error
    return _parse_label_set(text, name)


class _LabelSetFile(ConfigSection):
    """The form of the YAML file of a label set."""

    name: str
    observations: tuple[str, ...] = Field(min_length=1)
    findings: dict[str, tuple[str, ...]]
    no_finding: str | None = None
    not_abnormal: tuple[str, ...] = ()
    abnormal: tuple[str, ...] = ()


@cache
def _parse_label_set(text: bytes, where: str) -> LabelSet:
    try:
        return LabelSet(**dict(_LabelSetFile.model_validate(load_yaml(text, where))))
    except ValidationError as error:
        raise ConfigError(f"{where}: {explain_errors(error, _LabelSetFile)}") from error
