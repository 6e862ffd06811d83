"""Slices: `reslice` compiles a spec, `combine` and `compare-slices` take several, `contract` checks a version."""

import json
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import (
    DEFAULT_STORE,
    JsonOption,
    LabelSetOption,
    RefArgument,
    StoreOption,
    check_folder_of,
    write_page,
)
from trrg_core.errors import ConfigError

app = typer.Typer()


@app.command(
    epilog="Examples: trrg reslice rare-findings.yaml --dry-run; trrg reslice --template fewer-denials; then trrg run "
    "--from pretrain --slice slices:fewer-denials"
)
def reslice(
    spec: Annotated[Path | None, typer.Argument(help="YAML file with the request for the slice.")] = None,
    template: Annotated[str, typer.Option("--template", help="A spec that comes with TRRG, in place of a file.")] = "",
    templates: Annotated[bool, typer.Option("--templates", help="List the specs that come with TRRG.")] = False,
    store: StoreOption = DEFAULT_STORE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Compute and show the slice; write nothing.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Commit nothing and exit with 1 if a target is missed.")
    ] = False,
    png: Annotated[str, typer.Option("--png", help="Draw the labels before and after into this file.")] = "",
    html: Annotated[str, typer.Option("--html", help="Folder for an HTML page of the slice.")] = "",
    label_set: LabelSetOption = "",
    as_json: JsonOption = False,
) -> None:
    """Compile another sample of the train studies: quotas, caps, fewer denials. `validate` and `test` do not change."""
    from flows.render.slices import describe_sliced, draw_slice, page_of, print_slice
    from flows.render.terminal import print_line
    from pipelines.jobs.reslice import make_slice
    from trrg_core.slicing.spec import list_templates, load_slice_spec, load_template
    from trrg_core.storage.store import open_store

    if templates:
        for name, purpose in list_templates().items():
            print_line(f"{name}: {purpose}")
        return
    if (spec is None) == (not template):
        raise ConfigError("give the YAML file of a spec or --template NAME; --templates lists the names")
    if png:
        check_folder_of(png, "--png")
    asked = load_template(template) if spec is None else load_slice_spec(spec)
    sliced = make_slice(open_store(store), asked, label_set=label_set, dry_run=dry_run, strict=strict)
    if png:
        draw_slice(sliced, Path(png))
    if html:
        write_page(Path(html), page_of(sliced))
    if as_json:
        print_line(json.dumps(describe_sliced(sliced)))
    else:
        print_slice(sliced)
    if strict and sliced.plan.infeasible:
        raise typer.Exit(1)


@app.command(
    epilog="Examples: trrg contract contract.yaml shards; trrg contract contract.yaml slices:rare-findings --json"
)
def contract(
    spec: Annotated[Path, typer.Argument(help="YAML file of the contract.")],
    ref: RefArgument,
    label_set: LabelSetOption = "",
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Check sizes, prevalence, views and patients across splits of any version; exit with 1 if a bound is missed."""
    from flows.render.contract import describe_contract, print_contract
    from trrg_core.slicing.checked_version import read_checked_version
    from trrg_core.slicing.contract import check_contract, load_contract
    from trrg_core.storage.store import open_store
    from trrg_core.tables.commit_history import resolve_ref

    asked = load_contract(spec)
    opened_store = open_store(store)
    version = read_checked_version(opened_store, resolve_ref(opened_store, ref), label_set=label_set)
    checks = check_contract(version.labels, asked, version.slice_reader)
    if as_json:
        typer.echo(json.dumps(describe_contract(version.ref, asked, checks), indent=1))
    else:
        print_contract(version.ref, asked, checks)
    if not all(check.is_met for check in checks):
        raise typer.Exit(1)


@app.command(epilog="Example: trrg compare-slices shards slices:rare-findings slices:fewer-denials")
def compare_slices(
    refs: Annotated[
        list[str], typer.Argument(metavar="REF...", help="Slices of one base, and the base if wanted, as shards@0.")
    ],
    label_set: LabelSetOption = "",
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Show several slices side by side: sizes, labels, views, and how many studies they have in common."""
    from flows.render.slice_comparison import describe_comparison, print_comparison
    from pipelines.jobs.combine import compare
    from trrg_core.storage.store import open_store
    from trrg_core.tables.commit_history import resolve_ref

    opened_store = open_store(store)
    columns = compare(opened_store, [resolve_ref(opened_store, ref) for ref in refs], label_set=label_set)
    if as_json:
        typer.echo(json.dumps(describe_comparison(columns), indent=1))
    else:
        print_comparison(columns)


@app.command(epilog="Example: trrg combine minus slices:rare-findings slices:fewer-denials --name only-rare")
def combine(
    operation: Annotated[str, typer.Argument(help="union, minus or intersect.")],
    refs: Annotated[list[str], typer.Argument(metavar="REF...", help="Slices of one base, at least two.")],
    name: Annotated[str, typer.Option("--name", help="Name of the new slice; by default the operation.")] = "",
    label_set: LabelSetOption = "",
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Commit the union, difference or intersection of slices as a new slice, made from all of them."""
    from flows.render.slices import describe_sliced, print_slice
    from pipelines.jobs.combine import combine as combine_committed
    from trrg_core.slicing.combining import parse_operation
    from trrg_core.storage.store import open_store
    from trrg_core.tables.commit_history import resolve_ref

    opened_store, chosen = open_store(store), parse_operation(operation)
    versions = [resolve_ref(opened_store, ref) for ref in refs]
    combined = combine_committed(opened_store, chosen, versions, name=name, label_set=label_set)
    if as_json:
        typer.echo(json.dumps(describe_sliced(combined)))
    else:
        print_slice(combined)
