"""Commands about the content of a store: versions, runs, and rows that were set aside."""

import json
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import (
    DEFAULT_STORE,
    ExistingStoreOption,
    JsonOption,
    LabelSetOption,
    LimitOption,
    MinAgeOption,
    PresetOption,
    RefArgument,
    SetOption,
    write_page,
)
from trrg_core.errors import ConfigError

app = typer.Typer()
PANEL = "Versions"


@app.command(
    rich_help_panel=PANEL,
    epilog="Examples: trrg show; trrg show studies@0; trrg show rejects; trrg show evaluate-0123456789abcdef; "
    "trrg show slices:rare-findings --html page",
)
def show(
    what: Annotated[str, typer.Argument(help="A table version, a run, `rejects`, or nothing for all.")] = "",
    html: Annotated[str, typer.Option("--html", help="Folder for an HTML page of a slice.")] = "",
    store: ExistingStoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Show the content of the store, or one table version or run."""
    from flows.render.store_contents import describe_store, print_tree
    from trrg_core.storage.store import open_store
    from trrg_core.tables.commit_history import resolve_ref

    opened_store = open_store(store)
    if html:
        from flows.render.slices import page_of
        from pipelines.jobs.reslice import load_sliced

        ref = resolve_ref(opened_store, what) if what else None
        if ref is None or ref.name != "slices":
            raise ConfigError(f"--html shows a slice, as slices:NAME or slices@0; found {what or 'nothing'!r}")
        typer.echo(str(write_page(Path(html), page_of(load_sliced(opened_store, ref)))))
        return
    contents = describe_store(opened_store, what)
    if as_json:
        typer.echo(json.dumps(contents, indent=1))
    else:
        print_tree(contents)


@app.command(rich_help_panel=PANEL, epilog="Example: trrg history reports --json")
def history(
    table: Annotated[str, typer.Argument(help="studies, reports, shards, slices, predictions or rejects.")],
    store: ExistingStoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """List the versions of a table, newest first: rows, counts, rows set aside, parents, date, code."""
    from flows.render.versions import describe_history, print_history
    from trrg_core.storage.store import open_store

    versions = describe_history(open_store(store), table)
    if as_json:
        typer.echo(json.dumps(versions, indent=1))
    elif versions:
        print_history(versions)
    else:
        typer.echo(f"{table}: no version yet")


@app.command(rich_help_panel=PANEL, epilog="Examples: trrg rejects; trrg rejects reports@0; trrg rejects ingest")
def rejects(
    what: Annotated[str, typer.Argument(help="A table version, a job, or nothing for all.")] = "",
    reason: Annotated[str, typer.Option(help="Only rows with this reason code.")] = "",
    limit: LimitOption = 20,
    store: ExistingStoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Count and list the rows that were set aside: reason, ids and path, never report text."""
    from flows.render.versions import describe_rejects, print_rejects
    from trrg_core.storage.store import open_store
    from trrg_core.tables.rejects import read_rejects

    values = describe_rejects(read_rejects(open_store(store), what, reason=reason), limit)
    if as_json:
        typer.echo(json.dumps(values, indent=1))
    else:
        print_rejects(values)


@app.command(rich_help_panel=PANEL, epilog="Example: trrg diff reports@0 reports@1")
def diff(
    before: RefArgument,
    after: RefArgument,
    limit: LimitOption = 20,
    label_set: LabelSetOption = "",
    store: ExistingStoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Compare two versions of a table: studies added, removed, changed; labels by finding and rule; drift."""
    from flows.render.versions import describe_diff, print_diff
    from trrg_core.label_stats.version_comparison import compare_versions
    from trrg_core.storage.store import open_store
    from trrg_core.tables.commit_history import resolve_ref

    opened_store = open_store(store)
    old, new = resolve_ref(opened_store, before), resolve_ref(opened_store, after)
    values = describe_diff(compare_versions(opened_store, old, new, label_set=label_set), limit)
    if as_json:
        typer.echo(json.dumps(values, indent=1))
    else:
        print_diff(values, limit)


@app.command(rich_help_panel=PANEL, epilog="Examples: trrg compact studies --dry-run; trrg compact studies")
def compact(
    table: Annotated[str, typer.Argument(help="studies, reports, shards or predictions.")],
    target_mib: Annotated[int, typer.Option(min=1, help="Size of the new files, MiB.")] = 128,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count the files before and after.")] = False,
    store: ExistingStoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Merge the small files of the newest version into a new version with the same rows; old versions stay."""
    from flows.render.versions import describe_compaction, print_compaction
    from pipelines.records.code_version import code_version
    from trrg_core.storage.store import open_store
    from trrg_core.tables.compaction import compact_table

    compaction = compact_table(
        open_store(store), table, target_mib=target_mib, code_version=code_version(), dry_run=dry_run
    )
    if as_json:
        typer.echo(json.dumps(describe_compaction(compaction)))
    else:
        print_compaction(compaction, dry_run=dry_run)


@app.command(rich_help_panel=PANEL, epilog="Examples: trrg drop slices@3 --dry-run; trrg drop slices:rare-findings")
def drop(
    ref: RefArgument,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be removed.")] = False,
    min_age: MinAgeOption = 24,
    preset: PresetOption = "tiny",
    settings: SetOption = None,
    store: ExistingStoreOption = DEFAULT_STORE,
) -> None:
    """Remove one version, such as a slice, that no run, registered model or version of another table names.

    --preset or --set selects a registry on a server (register.tracking_uri).
    """
    from pipelines.registry.references import registered_names
    from trrg_core.config.load import load_config
    from trrg_core.storage.store import open_store
    from trrg_core.tables.commit_history import resolve_ref
    from trrg_core.tables.dropping import drop_version, plan_drop

    opened_store, config = open_store(store), load_config(preset, settings or ())
    version = resolve_ref(opened_store, ref)
    plan = plan_drop(opened_store, version, registered_names(opened_store, config.register_))
    if not dry_run:
        drop_version(opened_store, plan, min_age_hours=min_age)
    verb = "would be" if dry_run else "are"
    typer.echo(f"{version}: {len(plan.files):,} files, {plan.num_bytes:,} bytes {verb} freed")


@app.command(rich_help_panel=PANEL, epilog="Examples: trrg gc --keep 2; trrg gc --keep 2 --yes")
def gc(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list what would be removed; the default without --yes.")
    ] = False,
    keep: Annotated[int, typer.Option(min=1, help="Number of newest versions of each table that are always kept.")] = 3,
    keep_runs: Annotated[
        int, typer.Option(min=0, help="Number of newest finished runs of each job that are always kept; 0: all.")
    ] = 0,
    min_age: MinAgeOption = 24,
    yes: Annotated[bool, typer.Option("--yes", help="Remove the listed versions and runs.")] = False,
    preset: PresetOption = "tiny",
    settings: SetOption = None,
    store: ExistingStoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Remove versions and runs that no kept version, run, slice or registered model refers to; else list them.

    --preset or --set selects a registry on a server (register.tracking_uri).
    """
    from flows.render.versions import describe_garbage_plan, print_garbage_plan
    from trrg_core.config.load import load_config
    from trrg_core.storage.store import open_store
    from trrg_core.tables.retention import collect_garbage, plan_garbage_collection

    if yes and dry_run:
        raise ConfigError("give --dry-run or --yes, not both")
    opened_store, config = open_store(store), load_config(preset, settings or ())
    from pipelines.registry.references import registered_names

    named = registered_names(opened_store, config.register_)
    plan = plan_garbage_collection(opened_store, keep=keep, keep_runs=keep_runs or None, registered=named)
    if yes:
        collect_garbage(opened_store, plan, min_age_hours=min_age)
    if as_json:
        typer.echo(json.dumps({**describe_garbage_plan(plan), "removed": yes}, indent=1))
    else:
        print_garbage_plan(describe_garbage_plan(plan), done=yes)
