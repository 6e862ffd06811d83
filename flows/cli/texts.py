"""Verbs that read report text by itself: no store, no cluster."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import check_folder_of, read_text

app = typer.Typer()


@app.command("parse-text", epilog="Example: trrg parse-text --input reports.jsonl > parsed.jsonl")
def parse_text(
    source: Annotated[str, typer.Option("--input", help="JSON lines with id and text; - is standard input.")] = "-",
    labels: Annotated[str, typer.Option(help="Label set: chexpert14, nih14 or a YAML file.")] = "chexpert14",
    as_json: Annotated[
        bool, typer.Option("--json/--table", help="One JSON object a line, or a table of the labels for people.")
    ] = True,
) -> None:
    """Parse reports, one JSON object a line in, one a line out. No cluster is started."""
    from trrg_core.report.jsonl import parse_jsonl
    from trrg_core.report.parser import ReportParser

    text = read_text(source, "--input")
    # not splitlines(): a JSON string may hold U+2028 and its like as they are
    reports = parse_jsonl(text.split("\n"), ReportParser(labels))
    if as_json:
        for parsed in reports:
            sys.stdout.write(json.dumps(parsed, ensure_ascii=False) + "\n")
    else:
        from flows.render.report_labels import print_report_labels

        print_report_labels(reports)


@app.command(epilog='Example: trrg explain "No pleural effusion. Possible pneumonia."')
def explain(
    report: Annotated[str, typer.Argument(help="A report's text, or the path of a text file.")],
    html: Annotated[str, typer.Option("--html", help="Write a page with coloured spans to this file.")] = "",
) -> None:
    """Show what the parser reads in a report: each mention, what is asserted of it, and the rule that decided."""
    from trrg_core.report.explain import explain_html, explain_terminal

    # os.path: pathlib raises, and so quotes the report, when a text is too long for a file's name
    text = read_text(report, "REPORT") if os.path.isfile(report) else report
    if html:
        check_folder_of(html, "--html")
        Path(html).write_text(explain_html(text), "utf-8")
        typer.echo(f"{html} written")
    else:
        from flows.render.terminal import open_console

        open_console().print(explain_terminal(text))
