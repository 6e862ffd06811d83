"""Sections: a report's text in, its named parts out, each with the rule that found it.

MIMIC-CXR's layout is read by the same rules as MIT-LCP's section parser
(github.com/MIT-LCP/mimic-cxr, txt/section_parser.py), so that our sections join with published ones.
"""

import re
from collections.abc import Sequence
from functools import cache

from trrg_core.report.lexicon import load_rules
from trrg_core.report.parsed import ParsedReport, Section

_MIMIC_HEADING = re.compile(r"\n ([A-Z ()/,-]+):\s")
# "\n \n" in MIMIC's files, which MIT-LCP's parser looks for; other files have no space there
_BLANK_LINE = re.compile(r"\n[ \t\r]?\n")
_ADDED_PARAGRAPH = "mimic:last paragraph"


def find_sections(text: str) -> tuple[Section, ...]:
    """The sections of a report in text order; empty for blank text. Offsets cover the text after the heading."""
    if not text.strip():
        return ()
    sections = _mimic_sections(text) or _loose_sections(text)
    if not sections:
        return _with_last_paragraph(text, [Section(name="full report", start=0, end=len(text), rule="no heading")])
    return tuple(sections)


def report_section(report: ParsedReport | Sequence[Section], text: str, name: str) -> str:
    """The text of section `name` ("findings", "impression", "findings+impression"), "" when the report has none.

    The last section of a name wins, as in MIT-LCP's parser; runs of whitespace become one space.
    """
    sections = report.sections if isinstance(report, ParsedReport) else report
    last = {section.name: section for section in sections}
    wanted = [last[part] for part in name.split("+") if part in last]
    return " ".join(" ".join(text[section.start : section.end].split()) for section in wanted)


def label_section(sections: Sequence[Section]) -> Section | None:
    """The one section that MIT-LCP's script labels: impression, else findings, last paragraph, comparison."""
    last = {section.name: section for section in sections}
    order = ("impression", "findings", "last_paragraph", "comparison")
    return next((last[name] for name in order if name in last), None)


def sections_read(sections: Sequence[Section]) -> tuple[Section, ...]:
    """The sections that describe the current images: only they yield mentions and labels."""
    rules = load_rules()["sections.yaml"]
    never, fallback = set(rules["never"]), set(rules["fallback"])
    plain = tuple(section for section in sections if section.name not in never and section.name not in fallback)
    return plain or tuple(section for section in sections if section.name in fallback)


@cache
def _plain_names() -> dict[str, str]:
    plain = load_rules()["sections.yaml"]["plain"]
    return {heading: name for name, headings in plain.items() for heading in headings}


@cache
def _view_heading() -> re.Pattern[str]:
    return re.compile("|".join(load_rules()["sections.yaml"]["views"]))


@cache
def _loose_heading() -> re.Pattern[str]:
    names = "|".join(sorted(load_rules()["sections.yaml"]["loose"], key=len, reverse=True))
    line = rf"(?:^|\n)[ \t]*((?i:{names})(?:/(?i:{names}))?|[A-Z][A-Z (),/-]{{2,60}})[ \t]*:"
    return re.compile(rf"{line}|\b({names.upper()})[ \t]*:")


@cache
def _name_heading(heading: str) -> tuple[str, str]:
    """(section name, rule) of a heading in lower case."""
    if heading in _plain_names():
        return _plain_names()[heading], f"heading:{heading}"
    for part in load_rules()["sections.yaml"]["contains"]:
        if part in heading:
            return part, f"heading contains:{part}"
    view = _view_heading().search(heading)
    return ("findings", f"view heading:{view[0]}") if view else (heading, "heading as written")


def _mimic_sections(text: str) -> tuple[Section, ...]:
    heading = _MIMIC_HEADING.search(text)
    if heading is None:
        return ()
    sections = [Section(name="preamble", start=0, end=heading.start(1), rule="before the first heading")]
    while heading is not None:
        name, rule = _name_heading(heading[1].lower().strip())
        # a heading that follows on the very next line is skipped, as in MIT-LCP's parser ("avoid some bad parses")
        skip = max(text.find("\n", heading.end()), heading.end())
        following = _MIMIC_HEADING.search(text, skip)
        end = following.start() if following else len(text)
        sections.append(Section(name=name, start=heading.end(), end=end, rule=rule))
        heading = following
    kept = [
        section
        for section in sections
        if section.name not in ("impression", "findings") or text[section.start : section.end].strip()
    ]
    return _with_last_paragraph(text, kept)


def _with_last_paragraph(text: str, sections: list[Section]) -> tuple[Section, ...]:
    """`sections`, the last one cut at its first blank line when nothing is named findings or impression."""
    last = sections[-1]
    blank = _BLANK_LINE.search(text, last.start, last.end)
    if blank is None or any(section.name in ("impression", "findings") for section in sections):
        return tuple(sections)
    head = Section(name=last.name, start=last.start, end=blank.start(), rule=last.rule)
    tail = Section(name="last_paragraph", start=blank.end(), end=last.end, rule=_ADDED_PARAGRAPH)
    return (*sections[:-1], head, tail)


def _loose_sections(text: str) -> tuple[Section, ...]:
    headings = list(_loose_heading().finditer(text))
    if not headings:
        return ()
    ends = [*(heading.start() for heading in headings[1:]), len(text)]
    sections = [Section(name="preamble", start=0, end=headings[0].start(), rule="before the first heading")]
    for heading, end in zip(headings, ends, strict=True):
        name, rule = _name_heading((heading[1] or heading[2]).lower())
        sections.append(Section(name=name, start=heading.end(), end=end, rule=f"loose {rule}"))
    kept = [section for section in sections if text[section.start : section.end].strip()]
    return _with_last_paragraph(text, kept) if kept else ()
