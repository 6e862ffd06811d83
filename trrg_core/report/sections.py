"""Sections: a report's text in, its named parts out, each with the rule that found it.

MIMIC-CXR's layout is read by the same rules as MIT-LCP's section parser
(github.com/MIT-LCP/mimic-cxr, txt/section_parser.py), so that our sections join with published ones.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache, lru_cache

from trrg_core.report.lexicon import load_lexicon, load_rules
from trrg_core.report.lines import is_open
from trrg_core.report.parsed import ParsedReport, Section, build_value
from trrg_core.report.scan import scan_sentence

# not "  R: effusion" below a title
_MIMIC_HEADING = re.compile(r"\n (?! *[LR]:)([A-Z ()/,-]+):\s")
# "\n \n" in MIMIC's files, which MIT-LCP's parser looks for; other files have no space there
_BLANK_LINE = re.compile(r"\n[ \t\r]?\n")
_FIRST_WORD = re.compile(r"\S")
# where a statement of what was found begins behind a history without a blank line
_STATEMENT = re.compile(
    r"(?:(?<=[.;])[ \t\r]*\n?|\n)[ \t]*"
    r"(?=(?:The |Both |There (?:is|are) (?:no |a |an )?)?(?:(?i:left |right )(?=[a-z ]+ (?:is|are)\b))?"
    r"(?i:heart|lungs?|cardi|mediastin|hemithora|hemidiaph|trachea|aorta|pleura|costophrenic|bony thorax|osseous)"
    r"|(?i:(?:support )?devices|lines|tubes|airways?|bones|(?:interval )?changes?)(?: and [a-z]+)?:"
    r"|There (?:is|are) (?:no |an? )(?!history|concern|question)"
    r"|No (?:pneumothora|effusion|pleural|focal|acute (?:cardio|infilt|consol|fract)|consolid|infiltrat))"
)
# the same behind a comparison or technique, which tells nothing of the patient
_ANY_STATEMENT = re.compile(
    _STATEMENT.pattern + r"|(?:(?<=[.;])[ \t\r]*\n?|\n)[ \t]*(?=(?:(?:The|An?|There|Mild|Moderate|Severe|Small"
    r"|Large|Trace|New|Stable"
    r"|Unchanged|Worsening|Worse|Improved|Improving|Persistent|Left|Right|Bilateral|Bibasilar|Increased|Decreased) "
    r"(?!(?:prior|previous|earlier|last|most|recent|same|outside|study|studies|film|films|exam|exams|examination|comparison"
    r"|radiographs?|ct|CT|patient|view|image|images|technique|lateral|oblique)\b)"
    r"|(?:Pulmonary |Pleural )?(?:Edema|Oedema|Effusions?|Pneumothorax|Consolidation|Opacit(?:y|ies)"
    r"|Atelectasis|Infiltrates?): ))"
)
# "Effusion, right: small"
_LABEL = re.compile(r"\n[ \t]*(?:[-*+\u2022] ?|\d{1,2}[.)] )?(?=([A-Za-z][^:\n]{1,60}):)")
# "RIBS, LEFT"
_OF_SIDE = re.compile(r"[a-z /]+(?:, ?| ?\()(?:left|right)\)?[ \t]*")
_OF_THE_IMAGES = ("comparison", "technique")
_ON_LATER_IMAGES = ("recommendations", "notification")
_LONGEST_HEADING = 48
_AS_WRITTEN = "heading as written"
_ADDED_PARAGRAPH = "mimic:last paragraph"


def find_sections(text: str) -> tuple[Section, ...]:
    """The sections of a report in text order; empty for blank text. Offsets cover the text after the heading.

    A heading that itself names a finding, a side or a place that findings are said of ("PNEUMOTHORAX: Large right.")
    is part of its section's text.
    """
    if not text.strip():
        return ()
    sections = _mimic_sections(text)
    if not _states_findings(sections):
        # "INDICATION: cough. Findings: clear." in MIMIC's layout: nothing would be read
        loose = _loose_sections(text)
        sections = loose if _states_findings(loose) or not sections else sections
    return sections or _with_last_paragraph(text, [_build_section("full report", 0, len(text), "no heading")])


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
    plain = tuple([section for section in sections if section.name not in _not_plain()])
    return plain or tuple([section for section in sections if section.name in _fallback()])


def _states_findings(sections: Sequence[Section]) -> bool:
    """Whether one of `sections` is read, and not only for want of a better one."""
    return any(section.name not in _not_plain() for section in sections)


@cache
def _fallback() -> frozenset[str]:
    return frozenset(load_rules()["sections.yaml"]["fallback"])


@cache
def _not_plain() -> frozenset[str]:
    """The sections that are never read, or only for want of others."""
    return _fallback().union(load_rules()["sections.yaml"]["never"])


@cache
def _plain_names() -> dict[str, str]:
    plain = load_rules()["sections.yaml"]["plain"]
    return {heading: name for name, headings in plain.items() for heading in headings}


@cache
def _view_heading() -> re.Pattern[str]:
    return re.compile("|".join(load_rules()["sections.yaml"]["views"]))


@cache
def _line_heading() -> re.Pattern[str]:
    """A heading behind a line end: with a colon, or with nothing else in its line."""
    rules = load_rules()["sections.yaml"]
    names, usual = _in_any_case(_listed_names()), _in_any_case(rules["loose"])
    named = rf"({names}(?:(?:/| and ){names})?|[A-Z][A-Z (),/-]{{2,60}})[ \t*_]*:"
    # wrapped prose may end in such a word, so it begins with a capital: "Findings", "CONCLUSION - ..."
    bare = rf"((?=[A-Z]){usual})[ \t*_]*(?:(?=\r?\n|$)|-(?= ))"
    return re.compile(rf"\n[ \t#*_>]*(?:{named}|{bare})")


@cache
def _heading_before_colon(is_cased: bool) -> re.Pattern[str]:
    """A heading that ends where the searched stretch does: behind a stop, or in capitals where those stand out."""
    names = _in_any_case(_listed_names())
    after_stop = rf"[.;!?*_][ \t*_]*({names}(?:(?:/| and ){names})?)"
    in_capitals = rf"\b({_any_of(_listed_names()).upper()})|" if is_cased else ""
    return re.compile(rf"(?:{in_capitals}{after_stop})[ \t*_]*$")


@cache
def _listed_names() -> tuple[str, ...]:
    return (*load_rules()["sections.yaml"]["loose"], *_other_names())


def _any_of(names: Iterable[str]) -> str:
    return "|".join(re.escape(name).replace("\\ ", " ") for name in sorted(names, key=len, reverse=True))


def _in_any_case(names: Iterable[str]) -> str:
    """A pattern of `names` in any case, by first letter: a search passes over those of other letters at once."""
    by_letter: dict[str, list[str]] = {}
    for name in names:
        by_letter.setdefault(name[0], []).append(name[1:])
    return "(?:" + "|".join(f"[{one}{one.upper()}](?i:{_any_of(rest)})" for one, rest in by_letter.items()) + ")"


def _loose_headings(text: str) -> list[tuple[int, int, int]]:
    """(start, end, end with the colon) of each heading in order."""
    # a line end before the text as before any other line: the search then skips from one line end to the next
    matches = _line_heading().finditer(f"\n{text}")
    found = [
        (match.start(match.lastindex or 0) - 1, match.end(match.lastindex or 0) - 1, match.end() - 1)
        for match in matches
    ]
    reached = {end for _, _, end in found}
    is_cased = text != text.upper()
    colon = text.find(":")
    while colon >= 0:
        if colon + 1 not in reached:
            low = max(0, colon - _LONGEST_HEADING)
            before = text[low:colon]
            match = _heading_before_colon(is_cased).search(before) if _may_end_in_heading(before) else None
            if match:
                start, end = match.span(match.lastindex or 0)
                found.append((low + start, low + end, colon + 1))
        colon = text.find(":", colon + 1)
    return sorted(found)


def _may_end_in_heading(before: str) -> bool:
    return not before.isascii() or before.rstrip(" \t*_\n").lower().endswith(_listed_names())


@cache
def _other_names() -> dict[str, str]:
    also = load_rules()["sections.yaml"]["also"]
    return {heading: name for name, headings in also.items() for heading in headings}


@lru_cache(maxsize=4096)
def _name_heading(heading: str) -> tuple[str, str]:
    """(section name, rule) of a heading in lower case."""
    if heading in _plain_names():
        return _plain_names()[heading], f"heading:{heading}"
    for part in load_rules()["sections.yaml"]["contains"]:
        if part in heading:
            return part, f"heading contains:{part}"
    view = _view_heading().search(heading)
    return ("findings", f"view heading:{view[0]}") if view else (heading, _AS_WRITTEN)


@lru_cache(maxsize=4096)
def _is_content(heading: str) -> bool:
    """Whether an unknown heading states something itself: it names a finding, a side, or a place other than a lung.

    Or it tells something of what follows: "RESOLVED: left effusion".
    """
    if heading in load_rules()["sections.yaml"]["telling"]:
        return True
    scan = scan_sentence(heading, load_lexicon(), everything=True)
    places = {term.name for hit in scan.hits for term in hit.entry.terms if term.role == "place"}
    sided = any(kind == "laterality" for hit in scan.attributes for kind, _ in hit.entry.attributes)
    names_finding = any(hit.entry.is_finding for hit in scan.hits)
    return sided or names_finding or places == {"pleura"} or bool(places - {"lung", "pleura", "bone"})


@lru_cache(maxsize=4096)
def _names_finding(heading: str) -> bool:
    """Whether a heading that looks like the name of a view names a finding: "CHEST TUBES"."""
    return any(hit.entry.is_finding for hit in scan_sentence(heading, load_lexicon()).hits)


def _build_section(name: str, start: int, end: int, rule: str) -> Section:
    return build_value(Section, {"name": name, "start": start, "end": end, "rule": rule})


def _section(name: str, rule: str, heading: tuple[int, int], body: tuple[int, int], text: str) -> Section:
    """The section of a heading and the text after it."""
    words = text[heading[0] : heading[1]].lower()
    keeps_heading = (
        _names_finding(words) or _OF_SIDE.fullmatch(words) is not None
        if "view heading" in rule
        else rule.endswith(_AS_WRITTEN) and _is_content(words)
    )
    return _build_section(name, heading[0] if keeps_heading else body[0], body[1], rule)


def _mimic_sections(text: str) -> tuple[Section, ...]:
    heading = _MIMIC_HEADING.search(text)
    if heading is None:
        return ()
    sections = [_build_section("preamble", 0, heading.start(1), "before the first heading")]
    while heading is not None:
        name, rule = _name_heading(heading[1].lower().strip())
        # a heading that follows on the very next line is skipped, as in MIT-LCP's parser ("avoid some bad parses")
        skip = max(text.find("\n", heading.end()), heading.end())
        following = _MIMIC_HEADING.search(text, skip)
        end = following.start() if following else len(text)
        sections.append(_section(name, rule, heading.span(1), (heading.end(), end), text))
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
    if (
        blank is None
        or is_open(text[last.start : blank.start()].rstrip())
        or any(section.name in ("impression", "findings") for section in sections)
    ):
        return tuple(sections)
    head = _build_section(last.name, last.start, blank.start(), last.rule)
    tail = _build_section("last_paragraph", blank.end(), last.end, _ADDED_PARAGRAPH)
    return (*sections[:-1], head, tail)


def _loose_sections(text: str) -> tuple[Section, ...]:
    headings = _loose_headings(text)
    if not headings:
        return ()
    ends = [*(start for start, _, _ in headings[1:]), len(text)]
    sections = [_build_section("preamble", 0, headings[0][0], "before the first heading")]
    for (start, stop, body), end in zip(headings, ends, strict=True):
        words = text[start:stop].lower().strip()
        name, rule = _name_heading(words)
        if words in _other_names():
            name, rule = _other_names()[words], f"heading:{words}"
        sections.append(_section(name, f"loose {rule}", (start, stop), (body, end), text))
    if not any(section.name == "findings" for section in sections):
        # "Dear colleague, the lungs are clear. Conclusion: normal." has no heading over what was found
        sections[0] = replace(sections[0], name="paragraph")
    kept = [section for section in sections if text[section.start : section.end].strip()]
    whole = _with_last_paragraph(text, kept) if kept else ()
    has_findings = any(section.name == "findings" for section in whole)
    return tuple(part for section in whole for part in _parted(section, text, has_findings=has_findings))


def _parted(section: Section, text: str, *, has_findings: bool) -> Iterator[Section]:
    """`section`, and apart from it what was found where it stands behind a blank line or begins as a statement does.

    "Clinical: cough.\n\nThe heart is enlarged.\n\nImpression: ..." has no heading over what was found, and neither has
    "Comparison: none. The lungs are clear."
    """
    first = _FIRST_WORD.search(text, section.start, section.end)
    part = None
    if first is not None and section.name in load_rules()["sections.yaml"]["never"]:
        part = _BLANK_LINE.search(text, first.start(), section.end)
        if part is None and not has_findings and section.name not in _ON_LATER_IMAGES:
            pattern = _STATEMENT if section.name not in _OF_THE_IMAGES else _ANY_STATEMENT
            part = pattern.search(text, first.start(), section.end)
            # what a line with the name of a finding in front of a colon says is read, wherever it stands
            end = part.start() if part else section.end
            labels = _LABEL.finditer(text, first.start(), end)
            part = next((label for label in labels if _names_finding(label[1].lower())), part)
    if part is None or not text[part.end() : section.end].strip():
        yield section
        return
    yield Section(name=section.name, start=section.start, end=part.start(), rule=section.rule)
    yield Section(name="paragraph", start=part.end(), end=section.end, rule="loose paragraph")
