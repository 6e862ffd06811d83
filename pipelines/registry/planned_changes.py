"""The change plan of a store, checked against what differs between a challenger and the champion."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.records.fingerprint import input_content
from pipelines.registry.rivals import Standing
from trrg_core.registry import champion_checks
from trrg_core.registry.change_plan import (
    CODE,
    DATA,
    PLAN_FILE,
    SLICE,
    DeclaredPlan,
    changed_settings,
    check_changes,
    check_criteria,
    read_plan,
)
from trrg_core.registry.check import Check, Verdict
from trrg_core.runs.results import read_result
from trrg_core.runs.stored_model import trained_settings
from trrg_core.storage.store import Store


def declared_plan(store: Store) -> DeclaredPlan | None:
    """The change plan of the store; None where there is none, and then everything may change.

    Raises:
        ConfigError: if the file is no plan.
    """
    return read_plan(store.read_bytes(PLAN_FILE)) if store.exists(PLAN_FILE) else None


def check_plan(
    store: Store,
    declared: DeclaredPlan,
    *,
    generator: str,
    champions: Sequence[Standing],
    bounds: Mapping[str, Any],
) -> list[Check]:
    """The checks of a plan: the bounds of the gate, and what differs from the champion where there is one."""
    checks = [check_criteria(declared, bounds)]
    for champion in champions:
        if champion.role == champion_checks.CHAMPION:
            checks.append(_check_against(store, declared, champion, generator))
    return checks


def _check_against(store: Store, declared: DeclaredPlan, champion: Standing, generator: str) -> Check:
    before, after = _described(store, champion.known.generator), _described(store, generator)
    if before is None or after is None:
        missing = champion.known.generator if before is None else generator
        reason = f"the configuration of {missing} is not in the store, so that no change can be checked"
        return Check(name="plan.changes", verdict=Verdict.FAIL, reason=reason)
    settings = changed_settings(before["settings"], after["settings"])
    others = tuple(name for name in (DATA, SLICE, CODE) if before[name] != after[name])
    return check_changes(declared, (*others, *settings))


def _described(store: Store, run_id: str) -> dict[str, Any] | None:
    """The settings, data, slice and code of a training run; None if it or its model is gone."""
    settings, result = trained_settings(store, run_id), read_result(store, run_id)
    if result is None or settings is None:
        return None
    return {
        "settings": settings,
        DATA: input_content(store, result.inputs["shards"]),
        SLICE: input_content(store, result.inputs["slice"]) if "slice" in result.inputs else "",
        CODE: result.code_version,
    }
