"""Commands that use a trained model: reports for images, and a server."""

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from flows.cli.chain import run_one_job
from flows.cli.options import (
    DEFAULT_STORE,
    InputOption,
    PresetOption,
    RootOption,
    SetOption,
    SourceOption,
    StoreOption,
    check_page,
)
from flows.render.plain_text import printable_line
from pipelines.running.catalog import find_job
from trrg_core.errors import ConfigError
from trrg_core.storage.given_file import write_given_file

if TYPE_CHECKING:
    from pipelines.serving.limits import ServingLimits
    from pipelines.serving.run_server import ServerSettings
    from trrg_core.config.settings import TrrgConfig
    from trrg_core.generation.study_context import StudyContext
    from trrg_core.generation.study_files import StudyFiles
    from trrg_core.generation.written_files import WrittenFiles

app = typer.Typer()
PANEL = "A trained model"
GENERATED_TITLE = "Generated reports"


@app.command(
    rich_help_panel=PANEL,
    epilog="Examples: trrg generate --view PA film.jpg; "
    "trrg generate --study 7 --view PA --view LATERAL front.dcm side.dcm; "
    "trrg generate --clue 'Pleural Effusion=left' --clue Pneumothorax=absent film.jpg; "
    "trrg generate --indication 'Cough.' --prior earlier.txt film.jpg; "
    "trrg generate --html reports.html studies; trrg generate --store ./trrg-store",
)
def generate(
    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[IMAGE]...", help="JPEG, PNG or DICOM files, and folders of them; none runs the job `generate`."
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            help="With images: models:/NAME@ALIAS, models:/NAME/VERSION, a run of the store, or a model folder; "
            "models:/trrg@champion by default."
        ),
    ] = "",
    study: Annotated[str, typer.Option(metavar="ID", help="With images: all of them are one study with this id.")] = "",
    views: Annotated[
        list[str] | None,
        typer.Option(
            "--view",
            metavar="POSITION",
            help="With images: PA, AP, LATERAL, LL or OTHER, once for all images or once for each in order; "
            "otherwise that of the DICOM header.",
        ),
    ] = None,
    clues: Annotated[
        list[str] | None,
        typer.Option(
            "--clue",
            metavar="FINDING=WORDS",
            help="With images: what you say of a finding, which the report then follows instead of the image: absent, "
            "present, a side, a degree, e.g. 'Pleural Effusion=left small'. Repeatable.",
        ),
    ] = None,
    indication: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            help="With images of one study: why it was made, for a model trained with `finetune.context` indication.",
        ),
    ] = "",
    prior: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help="With images of one study: a text file with the report of the earlier study, for a model trained with "
            "`finetune.context` prior.",
        ),
    ] = "",
    html: Annotated[str, typer.Option("--html", help="With images: write a page with films and heat maps.")] = "",
    store: StoreOption = DEFAULT_STORE,
    preset: PresetOption = "tiny",
    source: SourceOption = "",
    source_root: RootOption = "",
    settings: SetOption = None,
    inputs: InputOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON: one line per study; of the job, its result.")
    ] = False,
) -> None:
    """Write reports for images with a trained model; without images, run the job `generate` on a split of the shards.

    Each file is a study of its own. The images that lie directly in one folder are films of one study, so a folder per
    study gives a report each. With --study all images are films of one study.

    Prints each report with the evidence for its sentences and the clues it was written from. An image that cannot be
    read is set aside with its reason, and the exit code is 1.
    """
    of_images = {
        "--model": model,
        "--study": study,
        "--view": views,
        "--clue": clues,
        "--indication": indication,
        "--prior": prior,
        "--html": html,
    }
    of_job = {"--source": source, "--source-root": source_root, "--input": inputs}
    for option, value in (of_job if images else of_images).items():
        if value:
            raise ConfigError(f"{option} goes {'with the job: give no images' if images else 'with images: give some'}")
    if images:
        studies = _find_studies(images, study, views or (), html)
        context = _read_context(indication, prior, num_studies=len(studies))
        known = _Given(clues=tuple(clues or ()), context=context)
        if _write_for_images(studies, model, store, preset, settings or (), known=known, html=html, as_json=as_json):
            sys.exit(1)
        return
    from flows.entry import read_config

    config = read_config(preset, source, source_root, settings or ())
    run_one_job(find_job("generate"), config, store, inputs or (), as_json=as_json)


def _find_studies(images: Sequence[str], study: str, views: Sequence[str], html: str) -> "list[StudyFiles]":
    from trrg_core.generation.study_files import find_studies

    if html:
        check_page(html, "--html")
    return find_studies(images, study_id=study, view_positions=views)


def _read_context(indication: str, prior: str, *, num_studies: int) -> "StudyContext":
    from trrg_core.generation.study_context import StudyContext, read_prior_report

    if (indication or prior) and num_studies > 1:
        raise ConfigError(f"--indication and --prior are of one study, and the images are {num_studies}: give --study")
    return StudyContext(indication=indication.strip(), prior_report=read_prior_report(prior) if prior else "")


class _Given(NamedTuple):
    """What a person says of the studies: clues in words, and their context."""

    clues: tuple[str, ...]
    context: "StudyContext"


def _write_for_images(
    studies: "Sequence[StudyFiles]",
    model: str,
    store: str,
    preset: str,
    settings: Sequence[str],
    *,
    known: "_Given",
    html: str,
    as_json: bool,
) -> int:
    """Print or write the report of each study; the number of images that were set aside."""
    # torch's threads spin while they wait: on a busy machine that made one report take 50 seconds instead of 2
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from pipelines.registry.find_model import DEFAULT_MODEL, find_model
    from trrg_core.config.load import load_config
    from trrg_core.storage.store import open_store

    opened_store = open_store(store)
    found = find_model(opened_store, load_config(preset, settings).register_, model or DEFAULT_MODEL)
    # torch takes seconds to import: a model that does not exist is reported before
    from pipelines.serving.load_writer import load_writer
    from trrg_core.generation.written_files import write_files

    writer = load_writer(opened_store, found, settings)
    given = writer.parse_clues(known.clues)
    if num_unread := writer.num_unread_tokens(known.context):
        typer.echo(
            f"note: the model has no room for the last {num_unread} tokens of what --indication and --prior tell: "
            "shorten it to what matters",
            err=True,
        )
    results: list[WrittenFiles] = []
    num_rejected = 0
    for result in write_files(writer, studies, given=given, context=known.context, with_heat_maps=bool(html)):
        for film in result.rejected:
            typer.echo(printable_line(f"set aside: {film.name}: {film.reason}: {film.message}"), err=True)
        num_rejected += len(result.rejected)
        if html:
            results.append(result)
        if as_json or not html:
            _print_study(result, found.name, as_json=as_json)
    if html:
        _write_page(results, found.name, html)
    return num_rejected


def _print_study(result: "WrittenFiles", model: str, *, as_json: bool) -> None:
    from flows.render.written_studies import print_written
    from trrg_core.generation.study_record import record_line

    if as_json:
        typer.echo(record_line(result.study_id, result.written, model=model, rejected=result.rejected))
    elif result.written is not None:
        print_written(result.written, model)


def _write_page(results: "Sequence[WrittenFiles]", model: str, html: str) -> None:
    from trrg_core.pages.written_page import WrittenPage, render_written

    page = WrittenPage(
        title=GENERATED_TITLE,
        model=model,
        studies=tuple(result.written for result in results if result.written is not None),
        rejected=tuple(film for result in results for film in result.rejected),
    )
    write_given_file(html, render_written(page), "--html")
    typer.echo(
        f"wrote {html}: {len(page.studies)} studies; it holds report text and films, keep it with the data", err=True
    )


@app.command(
    rich_help_panel=PANEL,
    epilog="Examples: trrg serve; trrg serve --store demo/store --port 8000 --replicas 2",
)
def serve(
    model: Annotated[
        str,
        typer.Option(
            help="models:/NAME@ALIAS, models:/NAME/VERSION, a run of the store, or a model folder; "
            "when an alias moves, the other model is loaded and takes over."
        ),
    ] = "models:/trrg@champion",
    host: Annotated[str, typer.Option(help="Address to listen on; any other than this machine needs a token.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
    replicas: Annotated[int, typer.Option(min=1, help="Processes that hold the model, each with a CPU or GPU.")] = 1,
    batch: Annotated[int, typer.Option(min=1, help="Greatest number of studies that are written together.")] = 8,
    max_pending: Annotated[
        int, typer.Option(min=1, help="Requests that may be pending; further ones are answered with 503.")
    ] = 64,
    max_megabytes: Annotated[int, typer.Option(min=1, help="Greatest size of one request, MiB.")] = 64,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds until a report that is not written is given up.")] = 60,
    poll: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks at the alias of the model.")] = 15,
    store: StoreOption = DEFAULT_STORE,
    preset: PresetOption = "tiny",
    settings: SetOption = None,
) -> None:
    """Serve a trained model over HTTP with Ray Serve, with a page to drop films on, until interrupted.

    POST /v1/reports takes the films of one study and answers as `trrg generate --json` prints; on the page
    and with fields `clue` a person corrects its clues. /docs describes it.
    If the environment variable TRRG_SERVE_TOKEN is set, requests need it as a bearer token.
    """
    from pipelines.serving.limits import MIB, ServingLimits
    from pipelines.serving.run_server import ServerSettings, check_address
    from trrg_core.config.load import load_config
    from trrg_core.extras import require_package
    from trrg_core.storage.store import open_store

    require_package("uvicorn", "trrg serve")
    from pipelines.serving.http_answers import configured_token

    limits = ServingLimits(
        max_pending=max_pending,
        max_body_bytes=max_megabytes * MIB,
        max_film_bytes=max_megabytes * MIB,
        report_timeout_s=timeout,
        token_sha256=configured_token(),
    )
    server = ServerSettings(host=host, port=port, num_replicas=replicas, batch_size=batch, poll_s=poll)
    check_address(server, limits)
    config = load_config(preset, settings or ())
    _serve_until_stopped(open_store(store).uri, model, config, settings or (), server, limits)


def _serve_until_stopped(
    store: str,
    model: str,
    config: "TrrgConfig",
    settings: Sequence[str],
    server: "ServerSettings",
    limits: "ServingLimits",
) -> None:
    import signal

    from flows import leash
    from pipelines.registry.find_model import find_model
    from pipelines.serving.model_choice import ModelChoice
    from pipelines.serving.model_settings import check_settings
    from pipelines.serving.run_server import running_server
    from trrg_core.storage.store import open_store

    check_settings(settings)
    found = find_model(open_store(store), config.register_, model)
    choice = ModelChoice(store=store, reference=model, register=config.register_, settings=tuple(settings))
    leash.hold()  # Ray must not outlive the server
    typer.echo(f"starting Ray Serve with {found.name} ...")
    with running_server(choice, server, limits, config.ray) as address:
        token = "with a bearer token" if limits.token_sha256 else "without a token"
        typer.echo(f"serving at {address} {token}; description: {address}/docs; stop with Ctrl-C")
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            signal.pause()
        except KeyboardInterrupt:
            typer.echo("stopping")
