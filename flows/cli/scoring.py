"""Commands that score files of reports of any system: no store, no cluster, no model."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.options import JsonOption, check_folder_of
from trrg_core.errors import ConfigError, DataError
from trrg_core.storage.given_file import write_given_file

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from trrg_core.labels import LabelSet
    from trrg_core.metrics.nlg import LanguageOptions
    from trrg_core.metrics.report_files.report_file import ReportFile, Section
    from trrg_core.metrics.report_files.report_pairs import ReportPairs

    Chosen = npt.NDArray[np.bool_]

app = typer.Typer()
PANEL = "Scores of files"

LabelsOption = Annotated[
    str,
    typer.Option("--labels", help="Observations of the clinical scores: chexpert14, nih14, a YAML file, or none."),
]
SectionOption = Annotated[
    str,
    typer.Option(
        help="Which text of a reference, if its file has several: findings, impression, findings+impression or report."
    ),
]
IdColumnOption = Annotated[
    str, typer.Option("--id-column", help="Column of ids in both files, if it has a name of its own.")
]
PredictionColumnOption = Annotated[str, typer.Option("--prediction-column", help="Column of the predicted texts.")]
ReferenceColumnOption = Annotated[str, typer.Option("--reference-column", help="Column of the reference texts.")]
CorpusOption = Annotated[str, typer.Option(help="Whose cleaner and length protocol r2gen has: mimic-cxr or iu-xray.")]
MeteorOption = Annotated[bool, typer.Option("--meteor/--no-meteor", help="METEOR 1.5; it starts Java.")]
ResamplesOption = Annotated[
    int, typer.Option(min=0, max=100_000, help="Bootstrap resamples of patients, or of studies; 0: no intervals.")
]
ColumnsOption = Annotated[
    str,
    typer.Option("--columns", help="CSV, JSON lines or Parquet with the columns that slices are chosen by, and ids."),
]
SliceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--slice",
        metavar="SQL",
        help="Studies to score by themselves: a predicate over the columns, e.g. \"view_position = 'AP'\". Repeatable.",
    ),
]
SlicesOption = Annotated[
    bool,
    typer.Option("--slices", help="Also by view, sex, age, prior, length of the reference, and rare findings."),
]
SeedOption = Annotated[int, typer.Option(min=0, help="Seed of the resamples.")]


@app.command(
    rich_help_panel=PANEL,
    epilog="Examples: trrg score predictions.json references.json; "
    "trrg score predictions.csv references.csv --json > scores.json",
)
def score(
    predictions: Annotated[str, typer.Argument(help="Predicted reports: CSV, JSON lines or JSON.")],
    references: Annotated[str, typer.Argument(help="Reference reports, with the same ids; may be the same file.")],
    labels: LabelsOption = "chexpert14",
    section: SectionOption = "findings",
    id_column: IdColumnOption = "",
    prediction_column: PredictionColumnOption = "",
    reference_column: ReferenceColumnOption = "",
    corpus: CorpusOption = "mimic-cxr",
    meteor: MeteorOption = True,
    resamples: ResamplesOption = 1000,
    seed: SeedOption = 7,
    columns: ColumnsOption = "",
    slice_by: SliceOption = None,
    slices: SlicesOption = False,
    outside: Annotated[
        str,
        typer.Option("--outside", help="YAML file of programs that compute metrics of others: RadGraph, GREEN, ..."),
    ] = "",
    rexrank: Annotated[
        str, typer.Option("--rexrank", help="Also write the pairs as ReXrank's JSON into this file.")
    ] = "",
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail if any id or row of either file is not scored.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Every score in the table, not only the first ones.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Score anybody's reports against references: language, findings, facts, with intervals. No run, no cluster."""
    from trrg_core.metrics.outside.outside_settings import read_outside_settings
    from trrg_core.metrics.report_files.file_scores import FileOptions, score_pairs
    from trrg_core.metrics.report_files.report_pairs import pair_reports

    if rexrank:
        check_folder_of(rexrank, "--rexrank")
    label_set = read_label_set(labels)
    settings = read_outside_settings(outside) if outside else None
    chosen = find_section(section)
    predicted = read_predictions(predictions, id_column, prediction_column)
    referenced = read_references(references, id_column, reference_column, chosen)
    pairs = pair_reports(predicted, referenced)
    if strict:
        check_complete(pairs)
    options = FileOptions(
        language=language_options(corpus, meteor), label_set=label_set, resamples=resamples, seed=seed
    )
    with showing_steps() as notify:
        chosen_rows = choose_slices(pairs, label_set, columns, id_column, slice_by or [], built_in=slices)
        scores = score_pairs(pairs, options, slices=chosen_rows, outside=settings, notify=notify)
    if rexrank:
        write_rexrank(rexrank, predicted, referenced, chosen)
    if as_json:
        typer.echo(json.dumps(scores.to_json() | {"files": [predictions, references]}, indent=1, allow_nan=False))
        return
    from flows.render.report_scores import print_scores

    print_scores(scores, label_set, everything=everything)


@app.command(
    rich_help_panel=PANEL,
    epilog="Examples: trrg compare predictions.json others.json references.json; "
    "trrg compare predictions.csv others.csv references.csv --metric bleu4.full --metric trrg13.macro.f1.u0",
)
def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="Reports of a system.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Reports of another system.")],
    references: Annotated[str, typer.Argument(help="Reference reports, with the same ids.")],
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", help="A score to compare, by its name; a dozen by default. Can be repeated."),
    ] = None,
    labels: LabelsOption = "chexpert14",
    section: SectionOption = "findings",
    id_column: IdColumnOption = "",
    prediction_column: PredictionColumnOption = "",
    reference_column: ReferenceColumnOption = "",
    corpus: CorpusOption = "mimic-cxr",
    meteor: MeteorOption = True,
    resamples: ResamplesOption = 2000,
    seed: SeedOption = 7,
    columns: ColumnsOption = "",
    slice_by: SliceOption = None,
    slices: SlicesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compare two systems on the same studies: paired differences, intervals, p-values adjusted for their number."""
    from flows.render.report_scores import compared_scores, print_comparison
    from trrg_core.metrics.report_files.file_scores import FileOptions, canonical_name, compare_pairs
    from trrg_core.metrics.report_files.report_pairs import pair_two

    label_set, chosen = read_label_set(labels), find_section(section)
    ours, theirs = (read_predictions(path, id_column, prediction_column) for path in (first, second))
    pairs = pair_two(ours, theirs, read_references(references, id_column, reference_column, chosen))
    names = tuple(map(canonical_name, metric or ())) or compared_scores(label_set, pairs[0].references)
    options = FileOptions(
        language=language_options(corpus, meteor and any(name.startswith("meteor") for name in names)),
        label_set=label_set,
        resamples=resamples,
        seed=seed,
    )
    with showing_steps() as notify:
        chosen_rows = choose_slices(pairs[0], label_set, columns, id_column, slice_by or [], built_in=slices)
        comparison = compare_pairs(*pairs, options, names=names, slices=chosen_rows, notify=notify)
    unknown = [name for name in names if name not in comparison.differences]
    if metric and unknown:
        raise ConfigError(f"--metric {unknown[0]}: no such score of both systems; trrg score --all lists them")
    if as_json:
        typer.echo(json.dumps(comparison.to_json() | {"files": [first, second, references]}, indent=1, allow_nan=False))
    else:
        print_comparison(comparison)


def choose_slices(
    pairs: "ReportPairs",
    label_set: "LabelSet | None",
    columns: str,
    id_column: str,
    predicates: list[str],
    *,
    built_in: bool,
) -> dict[str, "Chosen"]:
    """Which pairs are in each slice, by name; a slice without any is an error.

    Raises:
        ConfigError: for a predicate that is not valid over the columns, or chooses no study.
    """
    if not (predicates or built_in or columns):
        return {}
    from trrg_core.metrics.report_files.slice_columns import affirmed_findings, read_columns
    from trrg_core.metrics.study_slices import built_in_slices
    from trrg_core.slicing.predicate import matching_rows

    rows = read_columns(columns, pairs, id_column=id_column)
    affirmed = affirmed_findings(pairs.references, label_set) if built_in and label_set else None
    slices = built_in_slices(rows, affirmed) if built_in else {}
    for predicate in predicates:
        chosen = matching_rows(rows, predicate)
        if not chosen.any():
            raise ConfigError(f"--slice {predicate!r} chooses none of {len(chosen)} studies")
        slices[predicate] = chosen
    return slices


def read_label_set(name: str) -> "LabelSet | None":
    """The label set of `--labels`; None for `none`."""
    from trrg_core.labels import load_label_set

    return None if name == "none" else load_label_set(name)


def find_section(name: str) -> "Section":
    """The section of `--section`.

    Raises:
        ConfigError: for an unknown one.
    """
    from trrg_core.metrics.report_files.report_file import SECTIONS

    found = next((section for section in SECTIONS if section == name), None)
    if found is None:
        raise ConfigError(f"--section {name!r}: expected one of {', '.join(SECTIONS)}")
    return found


def read_predictions(path: str, id_column: str, text_column: str) -> "ReportFile":
    """The file of predictions; an empty name of a column means the first known one."""
    from trrg_core.metrics.report_files.report_file import ColumnChoice, read_report_file

    return read_report_file(
        path, role="predictions", columns=ColumnChoice(id_column=id_column, text_column=text_column)
    )


def read_references(path: str, id_column: str, text_column: str, section: "Section") -> "ReportFile":
    """The file of references."""
    from trrg_core.metrics.report_files.report_file import ColumnChoice, read_report_file

    columns = ColumnChoice(id_column=id_column, text_column=text_column, section=section)
    return read_report_file(path, role="references", columns=columns)


def language_options(corpus: str, meteor: bool) -> "LanguageOptions":
    """Every protocol of a file.

    Raises:
        ConfigError: for an unknown corpus.
    """
    from trrg_core.metrics.nlg import LanguageOptions
    from trrg_core.metrics.r2gen_text import MAX_TOKENS
    from trrg_core.metrics.systems import FILE_PROTOCOLS

    known = {name: name for name in MAX_TOKENS}
    if corpus not in known:
        raise ConfigError(f"--corpus {corpus!r}: expected one of {', '.join(known)}")
    return LanguageOptions(protocols=FILE_PROTOCOLS, corpus=known[corpus], meteor=meteor)


def check_complete(pairs: "ReportPairs") -> None:
    """Check that every id and row of both files is scored.

    Raises:
        DataError: if not; it counts what is left out (`incomplete_files`).
    """
    left_out = {
        "without a prediction": len(pairs.only_referenced),
        "without a reference": len(pairs.only_predicted),
        "with a blank prediction": len(pairs.empty_predictions),
        "with a blank reference": len(pairs.empty_references),
        "set aside": len(pairs.set_aside),
    }
    found = [f"{count} {what}" for what, count in left_out.items() if count]
    if found:
        raise DataError("incomplete_files", f"--strict: {', '.join(found)}; without --strict they are listed")


def write_rexrank(path: str, predictions: "ReportFile", references: "ReportFile", section: "Section") -> None:
    """Write the pairs of two files as ReXrank's JSON.

    Raises:
        ConfigError: if the file cannot be written.
    """
    from trrg_core.metrics.report_files.rexrank import rexrank_to_bytes

    write_given_file(path, rexrank_to_bytes(predictions, references, section=section), "--rexrank")


@contextmanager
def showing_steps() -> Iterator[Callable[[str], None]]:
    """A function that shows what is being done, on a terminal only; standard output stays that of the result."""
    if not sys.stderr.isatty():
        yield lambda step: None
        return
    from rich.console import Console

    with Console(stderr=True).status("") as status:
        yield lambda step: status.update(f"{step} ...")
