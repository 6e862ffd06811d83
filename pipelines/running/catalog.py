"""The catalog of jobs, in the order of the chain: the only list of job names, read by the CLI, the flows and the tests.

A job `NAME` is the module `pipelines.jobs.NAME` with a function `run(config, store, inputs) -> JobResult`; inputs and
results are references, never rows. `reslice` is not listed: it is driven by a spec of its own instead of the
configuration, and no run needs it; training reads its output as the optional input `slice`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from trrg_core.errors import ConfigError
from trrg_core.tables.table_ref import TableRef


@dataclass(frozen=True, kw_only=True)
class Job:
    """A stage of the chain: the results it reads, by output name of their jobs, and the result it writes."""

    name: str
    summary: str
    group: Literal["data", "training", "evaluation"]
    inputs: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    output: str
    writes_table: bool = False  # a version of table `output`; otherwise a run of this job

    @property
    def reads_source(self) -> bool:
        """Whether the job reads the source tree instead of earlier results."""
        return not self.inputs

    def inputs_of(self, refs: Mapping[str, str]) -> dict[str, str]:
        """The entries of `refs` that this job reads."""
        return {name: refs[name] for name in (*self.inputs, *self.optional) if name in refs}


JOBS: Mapping[str, Job] = {
    job.name: job
    for job in (
        Job(
            name="ingest",
            summary="Read a source tree into `studies`.",
            group="data",
            output="studies",
            writes_table=True,
        ),
        Job(
            name="parse",
            summary="Parse reports into sentences, mentions and labels.",
            group="data",
            inputs=("studies",),
            output="reports",
            writes_table=True,
        ),
        Job(
            name="shard",
            summary="Write training shards from `studies` and `reports`.",
            group="data",
            inputs=("studies", "reports"),
            output="shards",
            writes_table=True,
        ),
        Job(
            name="pretrain",
            summary="Train stage 1, the sentence-level contrastive model.",
            group="training",
            inputs=("shards",),
            optional=("slice",),
            output="contrastive",
        ),
        Job(
            name="finetune",
            summary="Train stage 2, the language model with disease clues.",
            group="training",
            inputs=("shards", "contrastive"),
            optional=("slice",),
            output="generator",
        ),
        Job(
            name="generate",
            summary="Generate a report for every study of a split.",
            group="evaluation",
            inputs=("shards", "generator"),
            output="predictions",
            writes_table=True,
        ),
        Job(
            name="evaluate",
            summary="Score predictions beside the floors and write the HTML report.",
            group="evaluation",
            inputs=("shards", "generator", "predictions"),
            output="scores",
        ),
        Job(
            name="register",
            summary="Register the model, and promote it when it passes the gate.",
            group="evaluation",
            inputs=("generator", "scores"),
            output="model",
        ),
    )
}
FIRST_JOB = next(iter(JOBS))


def check_input_names(job: Job, names: Iterable[str]) -> None:
    """Check that a job reads all inputs of these names.

    Raises:
        ConfigError: if it does not read one, which would otherwise count for nothing.
    """
    known = (*job.inputs, *job.optional)
    for name in names:
        if name not in known:
            reads = f"it reads {', '.join(known)}" if known else "it reads the source only"
            raise ConfigError(f"--input {name}=...: {job.name} has no such input: {reads}")


def check_inputs(refs: Mapping[str, str]) -> None:
    """Check that each reference is of a result of the job whose output it is given as.

    Raises:
        ConfigError: if one is a version of another table, or a run of another job.
    """
    for name, ref in refs.items():
        table, made_by = "slices" if name == "slice" else "", ""
        for job in JOBS.values():
            if job.output == name:
                table, made_by = (name, "") if job.writes_table else ("", job.name)
        if table and TableRef.parse(ref).name != table:
            raise ConfigError(f"--input {name}={ref}: expected a version of {table}, e.g. {table}@0")
        if made_by and not ref.startswith(f"{made_by}-"):
            raise ConfigError(f"--input {name}={ref}: expected a run of {made_by}; `trrg show` lists runs")


def find_job(name: str) -> Job:
    """The job called `name`.

    Raises:
        ConfigError: if there is none.
    """
    if name not in JOBS:
        raise ConfigError(f"no job {name!r}: expected one of {', '.join(JOBS)}")
    return JOBS[name]


def jobs_before(name: str) -> tuple[Job, ...]:
    """The jobs that come before job `name` in the chain.

    Raises:
        ConfigError: if there is no such job.
    """
    find_job(name)
    names = list(JOBS)
    return tuple(JOBS[earlier] for earlier in names[: names.index(name)])


def jobs_from(name: str) -> tuple[Job, ...]:
    """Job `name` and those that come after it in the chain.

    Raises:
        ConfigError: if there is no such job.
    """
    return tuple(JOBS.values())[len(jobs_before(name)) :]
