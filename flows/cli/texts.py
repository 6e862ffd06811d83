"""Commands that read report text alone: no store, no cluster."""

import csv
import json
import os
import re
import sys
from typing import Annotated, Literal

import typer

from flows.cli.options import check_page, read_text
from trrg_core.errors import ConfigError
from trrg_core.storage.given_file import write_given_file

app = typer.Typer()
PANEL = "Report text"
LabelFormat = Literal["chexbert", "jsonl"]
PolicyName = Literal["keep", "u-zeros", "u-ones", "u-ignore"]
ConventionName = Literal["literal", "chexpert"]
_FILE_NAME = re.compile(r"\S+\.(?:txt|text|csv|jsonl?|md|html?|xml|pdf|rtf|docx?)", re.IGNORECASE)


@app.command(
    "parse-text", rich_help_panel=PANEL, epilog="Example: trrg parse-text --input reports.jsonl > parsed.jsonl"
)
def parse_text(
    source: Annotated[str, typer.Option("--input", help="JSON lines with id and text; - is standard input.")] = "-",
    labels: Annotated[
        str, typer.Option(help="Label set: chexpert14, nih14, cxr-lt, padchest, vindr or a YAML file.")
    ] = "chexpert14",
    as_json: Annotated[
        bool, typer.Option("--json/--table", help="One JSON object per line, or a table of the labels.")
    ] = True,
) -> None:
    """Parse reports: reads and writes one JSON object per line. No cluster is started."""
    from trrg_core.report.jsonl import parse_jsonl
    from trrg_core.report.parser import ReportParser

    text = read_text(source, "--input")
    # not splitlines(), which also splits at U+2028 and others that a JSON string may hold unescaped
    reports = parse_jsonl(text.split("\n"), ReportParser(labels))
    if as_json:
        for parsed in reports:
            sys.stdout.write(json.dumps(parsed, ensure_ascii=False) + "\n")
    else:
        from flows.render.report_labels import print_report_labels

        print_report_labels(reports)


@app.command(rich_help_panel=PANEL, epilog="Example: trrg label reports.csv --format chexbert > labeled_reports.csv")
def label(
    source: Annotated[
        str, typer.Argument(metavar="FILE", help="CSV with a column of reports, or JSON lines; - is stdin.")
    ],
    form: Annotated[
        LabelFormat, typer.Option("--format", help="chexbert: its 14 columns. jsonl: labels.")
    ] = "chexbert",
    policy: Annotated[PolicyName, typer.Option(help="What becomes of -1: keep, u-zeros, u-ones, u-ignore.")] = "keep",
    convention: Annotated[
        ConventionName, typer.Option(help='"Likely" is uncertain (literal), or positive (chexpert).')
    ] = "literal",
    parents: Annotated[
        bool,
        typer.Option("--parents/--no-parents", help="A finding also sets what holds it, as in CheXpert's figure 1."),
    ] = False,
) -> None:
    """Label reports with the 14 observations in CheXbert's columns. Counts what was not read on standard error."""
    from trrg_core.report import chexbert
    from trrg_core.report.parser import ReportParser

    parser = ReportParser()
    texts = list(chexbert.read_texts(read_text(source, "FILE")))
    writer = csv.writer(sys.stdout, lineterminator="\n")
    if form == "chexbert":
        writer.writerow([chexbert.TEXT_COLUMN, *chexbert.COLUMNS])
    num_unread = 0
    for number, text in enumerate(texts, start=1):
        report = parser.parse(text)
        num_unread += report.unread or not report.sections
        labels = chexbert.labels_under(
            report,
            parser.label_set,
            convention=convention,
            parents=parents,
            policy=None if policy == "keep" else policy,
        )
        if form == "chexbert":
            writer.writerow(chexbert.as_row(text, labels))
        else:
            values = {name: None if value is None else int(value) for name, value in labels.items()}
            sys.stdout.write(json.dumps({"row": number, "labels": values, "unread": report.unread}) + "\n")
    if num_unread:
        typer.echo(f"nothing was read in {num_unread} of {len(texts)} reports: their labels are blank", err=True)


@app.command(rich_help_panel=PANEL, epilog='Example: trrg explain "No pleural effusion. Possible pneumonia."')
def explain(
    report: Annotated[str, typer.Argument(help="The text of a report, or the path of a text file.")],
    html: Annotated[str, typer.Option("--html", help="Write a page with coloured spans to this file.")] = "",
) -> None:
    """Show what the parser reads in a report: each mention, its assertion, and the rule that decided it."""
    from trrg_core.report.explain import explain_html, explain_terminal

    # os.path, because pathlib raises when a text is too long for a file name, and the error would quote the report
    text = read_text(report, "REPORT") if os.path.isfile(report) else report
    if os.path.isdir(report) or (_FILE_NAME.fullmatch(report) and not os.path.isfile(report)):
        raise ConfigError(f"REPORT: {report} is no text file: give the path of one, or a text")
    if html:
        check_page(html, "--html")
        write_given_file(html, explain_html(text), "--html")
        typer.echo(f"wrote {html}")
    else:
        from flows.render.terminal import open_console

        open_console().print(explain_terminal(text))
