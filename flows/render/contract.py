"""The checks of a data contract as plain values and as a table."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from flows.render.terminal import Column, build_table, print_line, print_table
from trrg_core.slicing.contract import Check, ContractSpec
from trrg_core.tables.table_ref import TableRef


def describe_contract(ref: TableRef, contract: ContractSpec, checks: Sequence[Check]) -> dict[str, Any]:
    """The checks as numbers; a share of no study is null."""
    rows = [asdict(check) | {"is_met": check.is_met} for check in checks]
    return {
        "ref": str(ref),
        "contract": contract.model_dump(mode="json", exclude_defaults=True) | {"name": contract.name},
        "checks": [row | {"found": row["found"] if math.isfinite(row["found"]) else None} for row in rows],
        "missed": sum(not check.is_met for check in checks),
    }


def print_contract(ref: TableRef, contract: ContractSpec, checks: Sequence[Check]) -> None:
    """Print the checks as a table and a verdict."""
    columns = [
        Column("check", whole=True),
        Column("split", whole=True),
        Column("expected", whole=True),
        Column("found", number=True),
        Column("met", whole=True),
    ]
    rows = [
        [
            check.name,
            check.split,
            _expected(check),
            _number(check.found, check.is_share),
            "yes" if check.is_met else "no",
        ]
        for check in checks
    ]
    print_table(build_table(columns, rows, title=f"{contract.name}: {ref}"))
    missed = [f"{check.name} ({check.split})" for check in checks if not check.is_met]
    held = len(checks) - len(missed)
    print_line(f"{held} of {len(checks)} checks are met" + (f"; not: {', '.join(missed)}" if missed else ""))


def _expected(check: Check) -> str:
    low, high = (None if end is None else _number(end, check.is_share) for end in (check.low, check.high))
    if low is None or high is None:
        return f"<= {high}" if low is None else f">= {low}"
    return f"{low} to {high}"


def _number(value: float, is_share: bool) -> str:
    if not math.isfinite(value):
        return "no study"
    return f"{value:.1%}" if is_share else f"{value:,.0f}"
