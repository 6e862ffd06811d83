"""Commands about labels: their distribution, its drift between versions, and the studies with a label."""

import json
import sys
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
PANEL = "Labels"


@app.command(rich_help_panel=PANEL, epilog="Examples: trrg labels shards@0; trrg labels slices@1 --png labels.png")
def labels(
    ref: RefArgument,
    png: Annotated[str, typer.Option("--png", help="Also draw the chart into this file.")] = "",
    label_set: LabelSetOption = "",
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Count labels by finding, assertion and split, with bars: of reports, shards, or a slice's train rows."""
    from flows.render.labels import describe_counts, print_counts
    from trrg_core.label_stats.distribution import label_distribution
    from trrg_core.label_stats.labelled_version import read_labelled_version
    from trrg_core.storage.store import open_store
    from trrg_core.tables.commit_history import resolve_ref

    if png:
        check_folder_of(png, "--png")
    opened_store = open_store(store)
    version = resolve_ref(opened_store, ref)
    labelled = read_labelled_version(opened_store, version, label_set=label_set)
    counts = label_distribution(labelled.table, labelled.slice_reader)
    if png:
        from trrg_core.pages.label_chart import draw_counts

        draw_counts(counts, png, title=str(version))
    if as_json:
        typer.echo(json.dumps(describe_counts(counts), indent=1))
    else:
        print_counts(counts)


@app.command(
    rich_help_panel=PANEL,
    epilog="Examples: trrg drift shards@0 shards@1 --psi 0.1 --fail; trrg drift shards@0 slices@0 --html page",
)
def drift(
    before: RefArgument,
    after: RefArgument,
    split: Annotated[str, typer.Option(help="train, validate or test.")] = "train",
    psi: Annotated[float, typer.Option(help="Population stability index from which a shift is an alarm.")] = 0.2,
    js: Annotated[float, typer.Option(help="Jensen-Shannon divergence, bits, from which a shift is an alarm.")] = 0.05,
    ratio: Annotated[float, typer.Option(help="Factor by which a label's share grew or shrank, for an alarm.")] = 1.5,
    p_value: Annotated[float, typer.Option(help="A shift with a larger p-value may be chance: no alarm.")] = 0.001,
    new_words: Annotated[float, typer.Option(help="Share of words never used before, for an alarm.")] = 0.05,
    only_alarms: Annotated[bool, typer.Option("--alarms", help="Show only the alarms.")] = False,
    fail: Annotated[bool, typer.Option("--fail", help="Exit with 1 when there is an alarm.")] = False,
    html: Annotated[str, typer.Option("--html", help="Folder for an HTML page of the drift.")] = "",
    label_set: LabelSetOption = "",
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Measure how labels, report length, views and vocabulary drifted from one version to another."""
    from flows.render.labels import describe_drift, parse_thresholds, print_drift
    from trrg_core.label_stats.version_comparison import measure_drift
    from trrg_core.storage.store import open_store
    from trrg_core.tables.commit_history import resolve_ref

    limits = parse_thresholds(psi=psi, js=js, ratio=ratio, p_value=p_value, new_words=new_words)
    opened_store = open_store(store)
    old, new = resolve_ref(opened_store, before), resolve_ref(opened_store, after)
    measured = measure_drift(opened_store, old, new, split=split, thresholds=limits, label_set=label_set)
    if html:
        from trrg_core.pages.drift_page import DriftPage, render_drift

        page = DriftPage(before=str(old), after=str(new), split=split, drift=measured)
        typer.echo(str(write_page(Path(html), render_drift(page))), err=as_json)
    if as_json:
        typer.echo(json.dumps(describe_drift(measured), indent=1))
    else:
        print_drift(measured, only_alarms=only_alarms)
    if fail and measured.alarms:
        sys.exit(1)


@app.command(
    rich_help_panel=PANEL, epilog='Example: trrg view shards@0 --finding "Pleural Effusion" --says UNCERTAIN --out look'
)
def view(
    ref: RefArgument,
    out: Annotated[
        Path, typer.Option("--out", help="Folder of the page; it contains report text, keep it with the data.")
    ] = Path("trrg-view"),
    finding: Annotated[str, typer.Option(help="Only studies with a label of this observation.")] = "",
    says: Annotated[
        str, typer.Option(help="Only studies with this label of the finding: PRESENT, ABSENT or UNCERTAIN.")
    ] = "",
    split: Annotated[str, typer.Option(help="Only train, validate or test.")] = "",
    limit: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Greatest number of studies; the page contains their images.")
    ] = 200,
    label_set: LabelSetOption = "",
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Write an HTML page for browsing studies: image, report with coloured spans, labels, filters. No server needed."""
    from trrg_core.labels import Assertion
    from trrg_core.pages.browser import render_browser
    from trrg_core.pages.browser_page import StudyFilter, build_browser_page
    from trrg_core.storage.store import open_store
    from trrg_core.tables.commit_history import resolve_ref

    if says and says.upper() not in list(Assertion):
        raise ConfigError(f"--says {says!r}: expected one of {', '.join(Assertion)}")
    assertion = Assertion(says.upper()) if says else None
    study_filter = StudyFilter(finding=finding, assertion=assertion, split=split, limit=limit)
    opened_store = open_store(store)
    page = build_browser_page(opened_store, resolve_ref(opened_store, ref), study_filter, label_set=label_set)
    written = write_page(out, render_browser(page))
    count = f"{len(page.cards)} of {page.num_matching} studies"
    typer.echo(f"{written}: {count}; it holds report text, keep it with the data")
