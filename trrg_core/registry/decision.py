"""The decision of the gate as a record: every check with its numbers, bound and reason. It is kept as JSON."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from trrg_core.errors import DataError
from trrg_core.registry.check import Bound, Check, Verdict, check_cells

DECISION_FILE = "decision.json"
# key of the facts: sha256 of each file of the evaluation that the decision was made from, by name
EVALUATION_FILES = "evaluation_files"


class Ruling(StrEnum):
    """What the gate decided. OVERRIDDEN is a promotion by a person against the checks."""

    PROMOTED = "promoted"
    REFUSED = "refused"
    INSUFFICIENT = "insufficient evidence"
    OVERRIDDEN = "promoted by a person"


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The checks in the order made, and what they were made on.

    `score` is the name of the score that is compared. `facts` are plain values: models, runs, counts, bounds.
    `override` is the reason of a person to promote the model whatever the checks say; empty for none.
    """

    checks: tuple[Check, ...]
    score: str = ""
    override: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ruling(self) -> Ruling:
        """A failure outweighs missing evidence; a person outweighs both."""
        against = {check.verdict for check in self.checks if check.is_against}
        if not against:
            return Ruling.PROMOTED
        if self.override:
            return Ruling.OVERRIDDEN
        return Ruling.REFUSED if Verdict.FAIL in against else Ruling.INSUFFICIENT

    @property
    def passes(self) -> bool:
        """Whether no check stands against the model."""
        return self.ruling is Ruling.PROMOTED

    @property
    def promote(self) -> bool:
        """Whether the model becomes champion."""
        return self.ruling in (Ruling.PROMOTED, Ruling.OVERRIDDEN)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Every check in words, and the reason of a person if there is one."""
        given = (f"override: {self.override}",) if self.override else ()
        return (*given, *(f"{check.verdict}: {check.reason}" for check in self.checks))

    @property
    def against(self) -> tuple[str, ...]:
        """The checks in words that stand against a promotion."""
        return tuple(f"{check.verdict}: {check.reason}" for check in self.checks if check.is_against)


def decision_to_bytes(decision: Decision) -> bytes:
    """The record of a decision as JSON."""
    record = {
        "ruling": decision.ruling,
        "promote": decision.promote,
        "override": decision.override,
        "score": decision.score,
        **decision.facts,
        "checks": [_check_to_json(check) for check in decision.checks],
    }
    return json.dumps(record, indent=1, allow_nan=False).encode()


def decision_from_bytes(data: bytes) -> Decision:
    """The decision that `decision_to_bytes` wrote.

    Raises:
        DataError: `damaged_record`, if it holds none.
    """
    try:
        record = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _damaged() from error
    return decision_from_record(record)


def decision_from_record(record: Any) -> Decision:
    """As `decision_from_bytes`, of what its JSON holds."""
    known = ("ruling", "promote", "override", "score", "checks")
    try:
        return Decision(
            checks=tuple(_check_from_json(row) for row in record["checks"]),
            score=record["score"],
            override=record["override"],
            facts={name: value for name, value in record.items() if name not in known},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged() from error


def _damaged() -> DataError:
    return DataError("damaged_record", "a decision is damaged: restore it from a backup")


def _check_to_json(check: Check) -> dict[str, Any]:
    interval = None if check.low is None else [check.low, check.high]
    return {
        "name": check.name,
        "verdict": check.verdict,
        "number": check.number,
        "interval": interval,
        "bound": asdict(check.bound) if check.bound else None,
        "reason": check.reason,
    }


def _check_from_json(row: Mapping[str, Any]) -> Check:
    low, high = row["interval"] or (None, None)
    return Check(
        name=row["name"],
        verdict=Verdict(row["verdict"]),
        reason=row["reason"],
        number=row["number"],
        low=low,
        high=high,
        bound=Bound(**row["bound"]) if row["bound"] else None,
    )


def tags_of(decision: Decision) -> dict[str, str]:
    """The decision as short strings by name, for a registry: the ruling, an override, and each check.

    The hashes of the evaluation's files are there as one hash.
    """
    override = {"override": decision.override} if decision.override else {}
    files = decision.facts.get(EVALUATION_FILES)
    digest = {EVALUATION_FILES: hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()} if files else {}
    checks = {check.name: _sum_up(check) for check in decision.checks}
    return {"ruling": decision.ruling, **override, **digest, **checks}


def _sum_up(check: Check) -> str:
    _, verdict, number, interval, bound = check_cells(check)
    measured = number if check.low is None else f"{number}, interval {interval}"
    return f"{verdict}: {measured}, needed {bound}"
