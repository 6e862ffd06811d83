"""Commands of the chain: an invented corpus, each job by itself, and the whole run."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from flows import leash
from flows.choices import OnDrift
from flows.cli.options import (
    DEFAULT_STORE,
    InputOption,
    JsonOption,
    LocalOption,
    OverrideOption,
    PresetOption,
    RootOption,
    SetOption,
    SourceOption,
    StoreOption,
    parse_input,
)
from pipelines.running.catalog import FIRST_JOB, JOBS, Job, find_job
from trrg_core.errors import StorageError, TrrgError

if TYPE_CHECKING:
    from trrg_core.config.settings import TrrgConfig

app = typer.Typer()


@app.command(epilog="Example: trrg sample --studies 1600 --seed 7 demo/corpus")
def sample(
    folder: Annotated[
        Path,
        typer.Argument(
            help="New folder for the tree, first written as FOLDER.partial; the ground truth is written beside it."
        ),
    ],
    studies: Annotated[int, typer.Option(min=1, max=10_000_000, help="Number of studies.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Random seed; the same seed gives the same bytes.")] = 7,
    styles: Annotated[
        Literal["plain", "mixed"],
        typer.Option(
            help="Styles of reports: prose alone, or shorthand, templates, lists, capitals and British spelling too."
        ),
    ] = "plain",
) -> None:
    """Write an invented corpus in the layout of MIMIC-CXR-JPG."""
    from flows.cli.sample_corpus import draw_sample, is_drawn

    if is_drawn(folder, studies, seed, styles):
        typer.echo(f"{folder}: already holds {studies} studies of seed {seed}")
        return
    summary = draw_sample(folder, studies, seed, styles)
    typer.echo(
        f"{folder}: {summary.num_studies} studies of {summary.num_patients} patients, {summary.num_images} images; "
        f"ground truth in {summary.truth_path}"
    )


def _add_job(job: Job) -> None:
    """Add the command that runs `job`."""

    def command(
        store: StoreOption = DEFAULT_STORE,
        preset: PresetOption = "tiny",
        source: SourceOption = "",
        source_root: RootOption = "",
        settings: SetOption = None,
        inputs: InputOption = None,
        as_json: JsonOption = False,
    ) -> None:
        from flows.entry import check_source, read_config

        config = read_config(preset, source, source_root, settings or ())
        if job.reads_source:
            check_source(config)
        run_one_job(job, config, store, inputs or (), as_json=as_json)

    def training_command(
        store: StoreOption = DEFAULT_STORE,
        preset: PresetOption = "tiny",
        source: SourceOption = "",
        source_root: RootOption = "",
        settings: SetOption = None,
        inputs: InputOption = None,
        local: LocalOption = False,
        as_json: JsonOption = False,
    ) -> None:
        from flows.entry import read_config

        # here means neither on Ray workers of this machine nor as a job of a cluster
        here = ("engine.local=true", 'ray.jobs_address=""') if local else ()
        config = read_config(preset, source, source_root, [*(settings or ()), *here])
        run_one_job(job, config, store, inputs or (), as_json=as_json)

    def registering_command(
        store: StoreOption = DEFAULT_STORE,
        preset: PresetOption = "tiny",
        source: SourceOption = "",
        source_root: RootOption = "",
        settings: SetOption = None,
        inputs: InputOption = None,
        override: OverrideOption = "",
        as_json: JsonOption = False,
    ) -> None:
        from flows.entry import read_config

        reason = [f"register.override={json.dumps(override)}"] if override else []
        config = read_config(preset, source, source_root, [*(settings or ()), *reason])
        run_one_job(job, config, store, inputs or (), as_json=as_json)

    chosen = training_command if job.group == "training" else registering_command if job.output == "model" else command
    chosen.__doc__ = job.summary
    source_words = " --source-root corpus" if job.reads_source else ""
    app.command(
        job.name,
        epilog=f"Example: trrg {job.name}{source_words} --store ./trrg-store",
        rich_help_panel=f"Jobs: {job.group}",
    )(chosen)


def run_one_job(job: Job, config: "TrrgConfig", store: str, inputs: Sequence[str], *, as_json: bool) -> None:
    """Run `job` on the given inputs, by default the newest ones, and print its result."""
    from pipelines.records.job_result import describe, to_json
    from pipelines.running.catalog import check_input_names
    from pipelines.running.newest_outputs import newest_outputs
    from pipelines.running.run_job import run_job
    from trrg_core.storage.store import open_store

    leash.hold()  # a local Ray that the job starts must not outlive it
    given = dict(parse_input(text) for text in inputs)
    check_input_names(job, given)
    missing = [name for name in job.inputs if name not in given]
    result = run_job(job.name, config, store, {**newest_outputs(open_store(store), missing, given), **given})
    typer.echo(to_json(result) if as_json else describe(result))


# `generate` is in `model_use`: it also takes images
for _job in JOBS.values():
    if _job.name != "generate":
        _add_job(_job)


@app.command(epilog="Example: trrg run --source mimic-cxr --source-root corpus --store ./trrg-store --set seed=3")
def run(
    store: StoreOption = DEFAULT_STORE,
    preset: PresetOption = "tiny",
    source: SourceOption = "",
    source_root: RootOption = "",
    settings: SetOption = None,
    enter_at: Annotated[
        str, typer.Option("--from", help="First job to run; results of earlier jobs are taken as they are.")
    ] = FIRST_JOB,
    slice_ref: Annotated[str, typer.Option("--slice", help="Train on this slice, e.g. slices@0.")] = "",
    on_drift: Annotated[
        OnDrift,
        typer.Option(help="What to do when the data has drifted from the data that the champion was trained on."),
    ] = "warn",
) -> None:
    """Run the retraining flow, from ingest to register; the earlier result of a stage is reused."""
    from flows.entry import check_source, check_temporary_folder, find_earlier_results, read_config
    from flows.render.run_summary import print_run
    from trrg_core.labels import load_label_set
    from trrg_core.storage.store import open_store

    # a wrong setting or a missing earlier result is reported here, before a server is started
    first = find_job(enter_at)
    config = read_config(preset, source, source_root, settings or ())
    if first.reads_source:
        check_source(config)
    find_earlier_results(store, enter_at)
    open_store(store).check_writable()
    check_temporary_folder()
    leash.hold()  # a server or a cluster that this run starts must not outlive it
    from flows.prefect_server import protect_temporary_server

    protect_temporary_server()
    from flows.outcome import finished_results
    from flows.retraining import retrain_with

    label_set = load_label_set(config.parse.label_set)
    try:
        results = retrain_with(config, store, enter_at, slice_ref, on_drift)
    except TrrgError:
        raise
    except Exception as error:
        finished = finished_results()
        if finished is None:
            if isinstance(error, RuntimeError) and "Prefect API server" in str(error):
                message = "the Prefect server of the run did not start in time; run again, or start one with `trrg up`"
                raise StorageError(message) from error
            raise
        print_run(finished, label_set)
        typer.secho(
            f"warning: the Prefect server is lost ({type(error).__name__}); the run is complete, and its results are "
            "in the store",
            fg="yellow",
            err=True,
        )
        sys.stdout.flush()
        os._exit(0)  # Prefect would wait for its server without end
    print_run(results, label_set)
