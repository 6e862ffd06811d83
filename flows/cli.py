"""The front door: `trrg`. Every verb reads its options, calls one thing, and prints what came of it."""

import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from trrg_core.errors import ConfigError, DataError, StorageError, TrrgError

app = typer.Typer(
    name="trrg",
    help="Retrain a truthful radiology report generator. Research software, not for clinical use.",
    epilog="Start with: trrg sample --studies 200 corpus && trrg run --source-root corpus",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)

EXIT_CODES = {ConfigError: 2, DataError: 3, StorageError: 75}

StoreOption = Annotated[str, typer.Option("--store", help="Folder or s3:// prefix where everything is kept.")]
PresetOption = Annotated[str, typer.Option("--preset", help="tiny, base, or a YAML file.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting, e.g. finetune.clues=off. Repeats.")
]
SourceOption = Annotated[str, typer.Option("--source", help="Reader: mimic-cxr (the default), iu-xray or plain.")]
RootOption = Annotated[str, typer.Option("--source-root", help="Folder or s3:// prefix of the studies; only read.")]
InputOption = Annotated[
    list[str] | None,
    typer.Option("--input", metavar="NAME=REF", help="An input, e.g. shards=shards@2; default: the newest. Repeats."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of words.")]


def main() -> None:
    """Run the command line; an expected error is one line and an exit code, not a traceback."""
    _set_up()
    try:
        app()
    except TrrgError as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        sys.exit(next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), 1))


@app.command(epilog="Example: trrg sample --studies 1600 --seed 7 demo/corpus")
def sample(
    folder: Annotated[Path, typer.Argument(help="New folder for the tree; the truth is written beside it.")],
    studies: Annotated[int, typer.Option(min=1, help="Number of studies.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same bytes.")] = 7,
) -> None:
    """Write an invented corpus in the layout of MIMIC-CXR-JPG."""
    from flows.views import say_sample, written_before
    from pipelines.progress import track
    from trrg_core.sources.sample.layout import write_sample

    if written_before(folder, studies, seed):
        typer.echo(f"{folder}: {studies} studies of seed {seed} are there already")
        return
    try:
        with track("studies", studies) as advance:
            told = 0

            def on_progress(done: int) -> None:
                nonlocal told
                advance(done - told)
                told = done

            summary = write_sample(
                folder, num_studies=studies, seed=seed, on_progress=on_progress, num_processes=os.cpu_count() or 1
            )
    except ValueError as error:
        raise ConfigError(str(error)) from error
    say_sample(folder, studies, seed, summary)


def _job_command(name: str, summary: str) -> None:
    """Add the verb of job `name`."""

    def command(
        store: StoreOption = "./trrg-store",
        preset: PresetOption = "tiny",
        source: SourceOption = "",
        source_root: RootOption = "",
        settings: SetOption = None,
        inputs: InputOption = None,
        as_json: JsonOption = False,
    ) -> None:
        from flows.entry import read_config
        from pipelines.jobs import describe, find_job, newest_outputs, run_job, to_json
        from trrg_core.storage import open_store

        config = read_config(preset, source, source_root, settings or ())
        given = dict(_parse_input(text) for text in inputs or ())
        wanted = tuple(name for name in find_job(name_of_job).inputs if name not in given)
        result = run_job(name_of_job, config, store, {**newest_outputs(open_store(store), wanted), **given})
        typer.echo(to_json(result) if as_json else describe(result))

    name_of_job = name
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
    _job_command(_name, _summary)


@app.command(epilog="Example: trrg run --source mimic-cxr --source-root corpus --store ./trrg-store --set seed=3")
def run(
    store: StoreOption = "./trrg-store",
    preset: PresetOption = "tiny",
    source: SourceOption = "",
    source_root: RootOption = "",
    settings: SetOption = None,
    enter_at: Annotated[str, typer.Option("--from", help="First job to run; what comes before is taken as it is.")] = (
        "ingest"
    ),
) -> None:
    """Run the retraining flow: ingest to register, each stage found if it was done before."""
    from flows.entry import read_config, take_earlier
    from flows.views import say_run
    from pipelines.jobs import find_job

    find_job(enter_at)
    # a wrong setting or a missing earlier result stops here, before a server is started
    read_config(preset, source, source_root, settings or ())
    take_earlier(store, enter_at)
    from flows.retraining import retrain

    results = retrain(
        source_root=source_root, store=store, source=source or None, preset=preset, settings=settings, enter_at=enter_at
    )
    say_run(results, store)


@app.command(epilog="Example: trrg config --preset base --set engine.zero_stage=3")
def config(preset: PresetOption = "tiny", settings: SetOption = None) -> None:
    """Print the whole configuration as YAML, each value with its meaning."""
    from flows.views import explain_config
    from trrg_core.config import load_config

    typer.echo(explain_config(load_config(preset, settings or ())))


@app.command(epilog="Examples: trrg show; trrg show studies@0; trrg show rejects; trrg show evaluate-0123456789abcdef")
def show(
    what: Annotated[str, typer.Argument(help="A table version, a run, `rejects`, or nothing for all.")] = "",
    store: StoreOption = "./trrg-store",
    as_json: JsonOption = False,
) -> None:
    """Show what the store holds, or one thing of it."""
    from flows.views import describe_store, print_tree
    from trrg_core.storage import open_store

    found = describe_store(open_store(store), what)
    if as_json:
        typer.echo(json.dumps(found, indent=1))
    else:
        print_tree(found)


@app.command(epilog="Example: trrg check --store s3://bucket/prefix")
def check(store: StoreOption = "./trrg-store") -> None:
    """Check this machine: packages, Java, GPU, names that shadow ours, and whether the store can be written."""
    from flows.checks import run_checks

    failed = 0
    for found in run_checks(store):
        typer.secho(
            f"{'ok  ' if found.passed else 'FAIL'} {found.name}: {found.detail}", fg=None if found.passed else "red"
        )
        failed += not found.passed
    if failed:
        sys.exit(1)


@app.command("parse-text", epilog="Example: trrg parse-text --input reports.jsonl > parsed.jsonl")
def parse_text(
    source: Annotated[str, typer.Option("--input", help="JSON lines with id and text; - is standard input.")] = "-",
    labels: Annotated[str, typer.Option(help="Label set: chexpert14, nih14 or a YAML file.")] = "chexpert14",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line (the default).")] = True,
) -> None:
    """Parse reports, one JSON object a line in, one a line out. No cluster is started."""
    from trrg_core.report.jsonl import parse_jsonl
    from trrg_core.report.parser import ReportParser

    text = _read_text(source, "--input")
    # not splitlines(): a JSON string may hold U+2028 and its like as they are
    for parsed in parse_jsonl(text.split("\n"), ReportParser(labels)):
        sys.stdout.write(json.dumps(parsed, ensure_ascii=False) + "\n")


@app.command(epilog='Example: trrg explain "No pleural effusion. Possible pneumonia."')
def explain(
    report: Annotated[str, typer.Argument(help="A report's text, or the path of a text file.")],
    html: Annotated[str, typer.Option("--html", help="Write a page with coloured spans to this file.")] = "",
) -> None:
    """Show what the parser reads in a report: each mention, what is asserted of it, and the rule that decided."""
    from trrg_core.report.explain import explain_html, explain_terminal

    # os.path: pathlib raises, and so quotes the report, when a text is too long for a file's name
    text = _read_text(report, "REPORT") if os.path.isfile(report) else report
    if html:
        if not Path(html).parent.is_dir():
            raise ConfigError(f"--html {html}: there is no folder {Path(html).parent}")
        Path(html).write_text(explain_html(text), "utf-8")
        typer.echo(f"{html} written")
    else:
        from rich.console import Console

        Console().print(explain_terminal(text))


@app.command(epilog="Example: trrg ui --port 4200")
def ui(
    port: Annotated[int, typer.Option(help="Port on the loopback interface.")] = 4200,
    store: StoreOption = "./trrg-store",
) -> None:
    """Start the Prefect UI on loopback and serve the `retrain` deployment, so that a person can start it there."""
    from flows.serving import serve_ui

    serve_ui(port=port, store=store)


def _read_text(path: str, option: str) -> str:
    try:
        return (sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()).decode("utf-8")
    except OSError as error:
        raise ConfigError(f"{option} {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        # not chained: its message may quote the report
        raise ConfigError(f"{option} {path} is not UTF-8") from None


def _parse_input(text: str) -> tuple[str, str]:
    name, separator, ref = text.partition("=")
    if not separator:
        raise ConfigError(f"--input {text!r}: expected NAME=REF, e.g. shards=shards@2")
    return name, ref


def _set_up() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    for name in ("pipelines", "trrg_core", "flows"):
        logging.getLogger(name).setLevel(logging.INFO)
    for name, value in {
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "TOKENIZERS_PARALLELISM": "false",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }.items():
        os.environ.setdefault(name, value)


if __name__ == "__main__":
    main()
