"""A parse as coloured text: each span by its assertion, with the rule and cue that decided it.

For a terminal (rich) and as an HTML page (displaCy, which escapes the text).
"""

import html
from collections.abc import Iterator
from typing import Any

from trrg_core.labels import Assertion, Label
from trrg_core.report.parsed import Mention, ParsedReport
from trrg_core.report.parser import ReportParser

# colour-blind safe (Okabe and Ito, 2008): vermilion, bluish green, yellow, grey for what is not current
_COLOURS = {"PRESENT": "#d55e00", "ABSENT": "#009e73", "UNCERTAIN": "#f0e442", "ASIDE": "#bbbbbb"}
_STYLES = {"PRESENT": "bold red", "ABSENT": "green", "UNCERTAIN": "yellow", "ASIDE": "dim"}
_LABEL_WORDS = {Label.POSITIVE: "positive", Label.NEGATIVE: "negative", Label.UNCERTAIN: "uncertain"}


def explain_html(text: str, parser: ReportParser | None = None) -> str:
    """A whole HTML page that shows the parse of `text`: coloured spans, a table of mentions, the labels."""
    from spacy import displacy  # slow to import, and used by this page only

    report = (parser or ReportParser()).parse(text)
    marks = displacy.render(
        {"text": text, "ents": _spans(report), "title": None},
        style="ent",
        manual=True,
        page=False,
        jupyter=False,
        options={"colors": _COLOURS},
    )
    rows = "".join(_html_row(cells) for cells in _rows(report, text))
    labels = "".join(f"<li>{html.escape(name)}: {_LABEL_WORDS[label]}</li>" for name, label in _set_labels(report))
    return _PAGE.format(marks=marks, rows=rows, labels=labels, parser_id=html.escape(report.parser_id))


def explain_terminal(text: str, parser: ReportParser | None = None) -> Any:
    """The same as one rich renderable: `rich.print(explain_terminal(text))`."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    report = (parser or ReportParser()).parse(text)
    shown = Text(text)
    for mention in _mentions(report):
        shown.stylize(_STYLES[_kind(mention)], mention.start, mention.end)
    table = Table(title="mentions")
    for name in ("finding", "assertion", "words", "rule", "cue", "attributes"):
        # on a narrow terminal the other columns are folded
        table.add_column(name, no_wrap=name in ("finding", "assertion"), overflow="fold")
    for cells in _rows(report, text):
        table.add_row(*(Text(cell) for cell in cells))
    labels = Text(", ".join(f"{name}: {_LABEL_WORDS[label]}" for name, label in _set_labels(report)) or "no label")
    return Group(shown, table, labels, Text(report.parser_id, style="dim"))


def _mentions(report: ParsedReport) -> Iterator[Mention]:
    return (mention for sentence in report.sentences for mention in sentence.mentions)


def _kind(mention: Mention) -> str:
    return str(mention.assertion) if mention.is_current else "ASIDE"


def _spans(report: ParsedReport) -> list[dict[str, Any]]:
    """Spans for displaCy, which cannot show overlaps: of two that overlap the first is kept; the table lists both."""
    spans: list[dict[str, Any]] = []
    for mention in sorted(_mentions(report), key=lambda mention: mention.start):
        if not spans or mention.start >= spans[-1]["end"]:
            spans.append({"start": mention.start, "end": mention.end, "label": _kind(mention)})
    return spans


def _rows(report: ParsedReport, text: str) -> Iterator[tuple[str, ...]]:
    for mention in _mentions(report):
        asides = [
            word
            for word, is_so in (
                ("historical", mention.historical),
                ("hypothetical", mention.hypothetical),
                (f"of {mention.experiencer}", mention.experiencer != "patient"),
            )
            if is_so
        ]
        about = (mention.severity, mention.laterality, mention.anatomy, mention.size, mention.change, *asides)
        words = " ".join(text[mention.start : mention.end].split())
        attributes = ", ".join(filter(None, about))
        yield mention.finding, str(mention.assertion), words, mention.rule, mention.cue, attributes


def _set_labels(report: ParsedReport) -> list[tuple[str, Label]]:
    return [(name, label) for name, label in report.labels.items() if label is not None]


def _html_row(cells: tuple[str, ...]) -> str:
    colour = _COLOURS.get(str(Assertion(cells[1])), "#ffffff")
    inner = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
    return f'<tr style="border-left: 0.5em solid {colour}">{inner}</tr>'


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'">
<title>Parsed report</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; }}
table {{ border-collapse: collapse; width: 100%; }}
td, th {{ text-align: left; padding: 0.2em 0.6em; border-bottom: 1px solid #ddd; }}
.entities {{ white-space: pre-wrap; }}
</style></head><body>
<h1>Parsed report</h1>
{marks}
<h2>Mentions</h2>
<table><thead><tr><th>finding</th><th>assertion</th><th>words</th><th>rule</th><th>cue</th><th>attributes</th></tr></thead>
<tbody>{rows}</tbody></table>
<h2>Labels</h2>
<ul>{labels}</ul>
<p>{parser_id}. Research software, not for clinical use.</p>
</body></html>
"""
