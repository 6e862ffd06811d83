"""Outcomes study by study: the sums from which every score of the gate is computed, for each system. No report text.

An `evaluate` run keeps them as `outcomes.parquet`, one row per system and study. Two tables with an equal `Basis` hold
the same studies under the same rules, so that their systems can be compared pair by pair.
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from trrg_core.errors import DataError
from trrg_core.labels import column_name
from trrg_core.metrics.systems import System

OUTCOMES_FILE = "outcomes.parquet"

Counts = npt.NDArray[np.float64]
_METADATA = b"trrg"


class Column(StrEnum):
    """What is counted per study, besides the outcomes of each finding."""

    REPORTS = "reports"  # always 1
    ASSERTING = "asserting"  # 1 if the report states any finding
    TRUTH_AGREED = "truth.agreed"  # weight of what both reports state alike, counted twice
    TRUTH_STATED = "truth.stated"  # weight of what either report affirms, added up over both
    SIDES_BOTH = "sides.both"
    SIDES_AGREE = "sides.agree"
    SIDES_EXPECTED = "sides.expected"
    SIDES_DUE = "sides.due"  # of those expected, the ones whose finding the hypothesis affirms
    DEGREES_BOTH = "degrees.both"
    DEGREES_AGREE = "degrees.agree"
    DEGREES_DUE = "degrees.due"
    DEGREES_CHANCE = "degrees.by_chance"  # of those both state, what would agree with another reference
    ZONES_BOTH = "zones.both"
    ZONES_AGREE = "zones.agree"
    ZONES_CHANCE = "zones.by_chance"
    WORDS_MATCHED = "words.matched"
    WORDS = "words.hypothesis"
    WORDS_EXPECTED = "words.reference"
    WORDS_UNKNOWN = "words.unknown"  # of the hypothesis, that are in no reference
    MALFORMED = "malformed"  # 1 if the report repeats a sentence, or ends within one, and the reference does not


# those that files of TRRG 0.2 lack
_NEW = (
    *(Column.SIDES_DUE, Column.DEGREES_DUE, Column.WORDS_UNKNOWN, Column.MALFORMED),
    *(Column.DEGREES_CHANCE, Column.ZONES_BOTH, Column.ZONES_AGREE, Column.ZONES_CHANCE),
)


class Outcome(StrEnum):
    """What a study is for one finding; neither affirmed nor expected is counted nowhere."""

    TRUE_POSITIVE = "true_positive"
    FALSE_POSITIVE = "false_positive"
    FALSE_NEGATIVE = "false_negative"


@dataclass(frozen=True, kw_only=True)
class Basis:
    """What outcomes were counted on: `test` identifies studies, patients and reference texts; then the rules."""

    test: str
    section: str
    labeler: str
    rules: str

    def differences(self, other: "Basis") -> tuple[str, ...]:
        """Names of the fields in which two bases differ."""
        return tuple(item.name for item in fields(self) if getattr(self, item.name) != getattr(other, item.name))


@dataclass(frozen=True, kw_only=True, eq=False)
class OutcomeTable:
    """The counts of each system, `[N,K]`, a row per study in the order of `study_ids`, a column per `columns`."""

    basis: Basis
    findings: tuple[str, ...]
    study_ids: tuple[str, ...]
    subject_ids: tuple[str, ...]
    counts: Mapping[System, Counts]

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of the counts."""
        return count_columns(self.findings)


def outcome_column(outcome: Outcome, finding: str) -> str:
    """Name of the column that counts `outcome` of `finding`: `true_positive.pleural_effusion`."""
    return f"{outcome}.{column_name(finding)}"


def count_columns(findings: Sequence[str]) -> tuple[str, ...]:
    """The columns of counts: the three outcomes of each finding, then those of `Column`."""
    return (*(outcome_column(outcome, finding) for outcome in Outcome for finding in findings), *Column)


def outcomes_to_bytes(table: OutcomeTable) -> bytes:
    """`table` as a Parquet file: system, study_id, subject_id, and one column per count."""
    num = len(table.study_ids)
    stacked = np.concatenate(list(table.counts.values()))
    arrow = pa.table(
        {
            "system": [system.key for system in table.counts for _ in range(num)],
            "study_id": [*table.study_ids] * len(table.counts),
            "subject_id": [*table.subject_ids] * len(table.counts),
            **{name: stacked[:, index] for index, name in enumerate(table.columns)},
        }
    )
    described = {"basis": asdict(table.basis), "findings": table.findings}
    buffer = io.BytesIO()
    pq.write_table(arrow.replace_schema_metadata({_METADATA: json.dumps(described)}), buffer)
    return buffer.getvalue()


def outcomes_from_bytes(data: bytes) -> OutcomeTable:
    """The table that `outcomes_to_bytes` wrote. A count that TRRG 0.2 did not keep is NaN: no score of it has a value.

    Raises:
        DataError: `damaged_outcomes`, if it holds no table, a study twice, other studies of one system than of another,
            or a count that is negative or no number: a score of it would be no score.
    """
    try:
        return _read(pq.read_table(io.BytesIO(data)))
    except (pa.ArrowException, ValueError, KeyError, TypeError) as error:
        raise DataError("damaged_outcomes", f"no table of outcomes ({type(error).__name__})") from error


def _read(arrow: pa.Table) -> OutcomeTable:
    described = json.loads(arrow.schema.metadata[_METADATA])
    findings: tuple[str, ...] = tuple(described["findings"])
    columns = count_columns(findings)
    unknown = np.full(len(arrow), np.nan)
    is_known = np.array([name in arrow.column_names or name not in _NEW for name in columns])
    stacked = np.stack(
        [arrow[name].to_numpy() if known else unknown for name, known in zip(columns, is_known, strict=True)], axis=1
    )
    is_count = (np.isfinite(stacked) & (stacked >= 0)).all(axis=0) | ~is_known
    if not is_count.all():
        raise DataError("damaged_outcomes", f"column {columns[int(is_count.argmin())]!r} has values that are no counts")
    ids: dict[str, list[Any]] = {name: arrow[name].to_pylist() for name in ("system", "study_id", "subject_id")}
    systems = list(dict.fromkeys(ids["system"]))
    num = len(stacked) // len(systems)
    keys = list(zip(ids["study_id"], ids["subject_id"], strict=True))
    if len(set(keys[:num])) < num or keys != keys[:num] * len(systems):
        raise DataError("damaged_outcomes", "a study is there twice, or not in the same order for every system")
    return OutcomeTable(
        basis=Basis(**described["basis"]),
        findings=findings,
        study_ids=tuple(ids["study_id"][:num]),
        subject_ids=tuple(ids["subject_id"][:num]),
        counts={
            system: stacked[place * num : (place + 1) * num]
            for place, key in enumerate(systems)
            for system in System
            if system.key == key
        },
    )
