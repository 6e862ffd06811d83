"""The result of a job: passed between tasks, printed as one line, stored as JSON."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from trrg_core.runs.results import RunResult
from trrg_core.tables.commit_history import Commit

COUNTS_SHOWN = 8


@dataclass(frozen=True, kw_only=True)
class JobResult:
    """A job's output reference, its counts, rejects by reason, and whether an earlier result was reused."""

    job: str
    ref: str
    counts: Mapping[str, float] = field(default_factory=dict)
    rejects: Mapping[str, int] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    reused: bool = False
    seconds: float = 0.0

    @classmethod
    def of_commit(cls, job: str, commit: Commit | None, *, reused: bool = False) -> Self:
        """The result recorded in the commit of a table version."""
        assert commit is not None, f"{job}: its commit is missing from the history of the table"
        return cls(job=job, ref=str(commit.ref), counts=commit.counts, rejects=commit.rejects, reused=reused)

    @classmethod
    def of_run(cls, run: RunResult, *, reused: bool = False) -> Self:
        """The result recorded by a finished run."""
        notes = {key: value for key, value in run.notes.items() if isinstance(value, str)}
        return cls(job=run.job, ref=run.run_id, counts=run.metrics, notes=notes, reused=reused)


def describe(result: JobResult) -> str:
    """The last log line of a job: reference, counts, rejects, seconds."""
    shown = list(result.counts.items())[:COUNTS_SHOWN]
    more = len(result.counts) - len(shown)
    counts = ", ".join(f"{name} {value:g}" for name, value in shown) + (f" and {more} more" if more else "")
    reasons = ", ".join(f"{reason} {count}" for reason, count in result.rejects.items())
    aside = f", set aside {sum(result.rejects.values())} ({reasons})" if result.rejects else ""
    reused = " (reused)" if result.reused else ""
    return f"{result.job}: {result.ref}{reused}; {counts}{aside}; {result.seconds:.1f} s"


def to_json(result: JobResult) -> str:
    """`result` as one line of JSON."""
    return json.dumps(
        {
            "job": result.job,
            "ref": result.ref,
            "counts": dict(result.counts),
            "rejects": dict(result.rejects),
            "notes": dict(result.notes),
            "reused": result.reused,
            "seconds": round(result.seconds, 3),
        }
    )


def from_json(text: str) -> JobResult:
    """The result from the text that `to_json` returned."""
    return JobResult(**json.loads(text))
