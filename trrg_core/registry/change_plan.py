"""The declared change plan: what may change from a champion to the next model, and the bounds that were agreed.

`change_plan.yaml` of the store names settings by pattern. Whatever else differs between the two models is refused, and
so is a gate whose bounds are not those of the plan. Each decision records the hash of the plan.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from pydantic import Field, ValidationError

from trrg_core.config.section import ConfigSection
from trrg_core.config.values import explain_errors, load_yaml
from trrg_core.errors import ConfigError
from trrg_core.registry.check import Check, Verdict

PLAN_FILE = "change_plan.yaml"

# names of changes that are no settings
DATA, SLICE, CODE = "data", "slice", "code"
# where and how often a model is scored and registered does not change the model
_NOT_OF_THE_MODEL = ("ray.*", "register.*", "evaluate.*", "source.root")


class ChangePlan(ConfigSection):
    """What may change without a new review."""

    name: str = Field(description="Name of the plan, as it is shown.")
    may_change: tuple[str, ...] = Field(
        (), description="Settings that may change, by name or pattern; `data`, `slice` and `code` are names as well."
    )
    criteria: dict[str, Any] = Field(default_factory=dict, description="Bounds of the gate by name, as agreed.")


@dataclass(frozen=True, kw_only=True)
class DeclaredPlan:
    """A plan and the SHA-256 of its file."""

    plan: ChangePlan
    sha256: str


def read_plan(data: bytes) -> DeclaredPlan:
    """The plan of a YAML file.

    Raises:
        ConfigError: if it is no plan; names the wrong key.
    """
    values = load_yaml(data, PLAN_FILE)
    try:
        plan = ChangePlan.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{PLAN_FILE}: {explain_errors(error, ChangePlan)}") from error
    return DeclaredPlan(plan=plan, sha256=hashlib.sha256(data).hexdigest())


def changed_settings(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the settings that differ between the configurations of two models, sorted."""
    old, new = dict(_flatten(before)), dict(_flatten(after))
    names = sorted({*old, *new})
    return tuple(
        name
        for name in names
        if (name not in old or name not in new or old[name] != new[name])
        and not any(fnmatchcase(name, pattern) for pattern in _NOT_OF_THE_MODEL)
    )


def check_criteria(declared: DeclaredPlan, bounds: Mapping[str, Any]) -> Check:
    """Whether the gate has the bounds of the plan."""
    other = [
        f"{name} is {bounds.get(name, 'unknown')}, agreed {value}"
        for name, value in declared.plan.criteria.items()
        if bounds.get(name, None) != value
    ]
    return _check("plan.criteria", declared, "the bounds of the gate are not those of the plan", other)


def check_changes(declared: DeclaredPlan, changes: tuple[str, ...]) -> Check:
    """Whether all `changes` from the champion are declared."""
    patterns = declared.plan.may_change
    outside = [name for name in changes if not any(fnmatchcase(name, pattern) for pattern in patterns)]
    return _check("plan.changes", declared, "changes outside the plan", outside)


def _check(name: str, declared: DeclaredPlan, words: str, broken: list[str]) -> Check:
    plan = f"change plan {declared.plan.name!r} ({declared.sha256[:12]})"
    if broken:
        return Check(name=name, verdict=Verdict.FAIL, reason=f"{plan}: {words}: {', '.join(broken)}")
    return Check(name=name, verdict=Verdict.PASS, reason=f"{plan} is kept")


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
