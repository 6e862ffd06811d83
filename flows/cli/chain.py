"""Verbs of the chain: an invented corpus, each job by itself, and the whole run."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from flows.cli.options import (
    DEFAULT_STORE,
    InputOption,
    JsonOption,
    PresetOption,
    RootOption,
    SetOption,
    SourceOption,
    StoreOption,
    parse_input,
)

app = typer.Typer()


@app.command(epilog="Example: trrg sample --studies 1600 --seed 7 demo/corpus")
def sample(
    folder: Annotated[
        Path,
        typer.Argument(help="New folder for the tree, drawn as FOLDER.partial first; the truth is written beside it."),
    ],
    studies: Annotated[int, typer.Option(min=1, help="Number of studies.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same bytes.")] = 7,
) -> None:
    """Write an invented corpus in the layout of MIMIC-CXR-JPG."""
    from flows.cli.sample_corpus import draw_sample, drawn_before

    if drawn_before(folder, studies, seed):
        typer.echo(f"{folder}: {studies} studies of seed {seed} are there already")
        return
    summary = draw_sample(folder, studies, seed)
    typer.echo(
        f"{folder}: {summary.num_studies} studies of {summary.num_patients} patients, {summary.num_images} images; "
        f"truth beside it in {summary.truth_path}"
    )


def _add_job(name: str, summary: str) -> None:
    """Add the verb of job `name`."""

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
        from pipelines.records.job_result import describe, to_json
        from pipelines.running.catalog import find_job, newest_outputs, run_job
        from trrg_core.storage.store import open_store

        config = read_config(preset, source, source_root, settings or ())
        if name == "ingest":
            check_source(config)
        given = dict(parse_input(text) for text in inputs or ())
        wanted = tuple(one for one in find_job(name).inputs if one not in given)
        result = run_job(name, config, store, {**newest_outputs(open_store(store), wanted), **given})
        typer.echo(to_json(result) if as_json else describe(result))

    command.__doc__ = f"{summary[0].upper()}{summary[1:]}."
    app.command(name, epilog=f"Example: trrg {name} --store ./trrg-store", rich_help_panel="Jobs")(command)


for _name, _summary in (
    ("ingest", "read a source tree into `studies`"),
    ("parse", "parse reports into sentences, mentions and labels"),
    ("shard", "cut training shards"),
    ("pretrain", "train stage 1, the sentence-level contrastive model"),
    ("finetune", "train stage 2, the language model with disease clues"),
    ("generate", "generate a report for every study of a split"),
    ("evaluate", "score predictions beside the floors; write the HTML report"),
    ("register", "register the model; promote it when it passes the gate"),
):
    _add_job(_name, _summary)


@app.command(epilog="Example: trrg run --source mimic-cxr --source-root corpus --store ./trrg-store --set seed=3")
def run(
    store: StoreOption = DEFAULT_STORE,
    preset: PresetOption = "tiny",
    source: SourceOption = "",
    source_root: RootOption = "",
    settings: SetOption = None,
    enter_at: Annotated[str, typer.Option("--from", help="First job to run; what comes before is taken as it is.")] = (
        "ingest"
    ),
    slice_ref: Annotated[str, typer.Option("--slice", help="Train on this slice, e.g. slices@0.")] = "",
    on_drift: Annotated[
        Literal["warn", "stop", "ignore"],
        typer.Option(help="What to do when the data has drifted from what the champion learned from."),
    ] = "warn",
) -> None:
    """Run the retraining flow: ingest to register, each stage found if it was done before."""
    from flows.entry import check_source, read_config, take_earlier
    from flows.render.run_summary import print_run
    from pipelines.running.catalog import find_job
    from trrg_core.labels import load_label_set

    find_job(enter_at)
    # a wrong setting or a missing earlier result stops here, before a server is started
    config = read_config(preset, source, source_root, settings or ())
    if enter_at == "ingest":
        check_source(config)
    take_earlier(store, enter_at)
    from flows.retraining import retrain

    results = retrain(
        source_root=source_root,
        store=store,
        source=source or None,
        preset=preset,
        settings=settings,
        enter_at=enter_at,
        slice_ref=slice_ref,
        on_drift=on_drift,
    )
    print_run(results, load_label_set(config.parse.label_set))
