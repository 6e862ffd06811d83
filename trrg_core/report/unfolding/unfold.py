"""Forms in a report: its text in, the same statements in plain lines out, before anything else is read.

"Effusion | none | moderate" below "Finding | Right | Left" is read as "Effusion, right: none" and "Effusion, left:
moderate", and "Effusion: [x] none [ ] small" as "Effusion: none". A report without such marks is left as it is.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from trrg_core.report.parsed import Mention, ParsedReport, Sentence, build_value
from trrg_core.report.unfolding.blocks import block_edits
from trrg_core.report.unfolding.boxes import box_edits
from trrg_core.report.unfolding.choices import choice_edits
from trrg_core.report.unfolding.edits import Edit, Edited, apply_edits
from trrg_core.report.unfolding.tables import table_edits

# what forms are made of; a search for one character takes a fifth of that for two
_CHARACTERS = ("[", "{", "|", "\t", "<", "+", "*")
_IN_PARENTHESES = ("(x)", "(X)", "( )", "()", "(-)", "(s)", "(0 ", "(0=")
_AT_SLASH = ("N/A", "n/a", "/N", "/n", "/y", "one/", "ent/", "mal/", "es/", "core ", "rade ")
# how the labels end that tell something of a side, or of a finding above them
_LABELS = frozenset(
    (
        *("left", "ight", "lity", "side", "sent", "ence", "seen", "atus", "lobe", "size", "rity", "situ", "ible"),
        *("fied", "gles", "ulci", "agms", "ases", "ices", "hila", "omes", "rend", "rade"),
    )
)
_STAGES: tuple[Callable[[str], Iterator[Edit]], ...] = (choice_edits, table_edits, box_edits, block_edits)
# "Finding;Present;Side" in a line of its own
_ROW = re.compile(r"(?:\A|\n)[A-Za-z][\w /]{0,30}(?:;[\w /()]{1,30}){1,6};?(?=\n)")
_SIGNS = re.compile("[\u2610-\u2612\u2713\u2714\u2717\u2718\u2705\u274c\u25a1\u25a0]")


@dataclass(frozen=True)
class Unfolded:
    """The text that is read in place of a report, and the steps that lead to it."""

    text: str
    steps: tuple[Edited, ...]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where [start, end) stands in the report."""
        for step in reversed(self.steps):
            start, end = step.span(start, end)
        return start, end


def unfold(text: str) -> Unfolded | None:
    """The forms in `text` written out; None for a text without any."""
    if not _may_hold_form(text):
        return None
    steps: list[Edited] = []
    for stage in _STAGES:
        edited = apply_edits(text, stage(text))
        if edited is not None:
            steps.append(edited)
            text = edited.text
    return Unfolded(text, tuple(steps)) if steps else None


def in_report(report: ParsedReport, text: str, form: Unfolded) -> ParsedReport:
    """`report`, which is the parse of `form`, with the offsets of `text`, of which `form` was made."""
    sections = []
    for section in report.sections:
        start, end = form.span(section.start, section.end)
        sections.append(replace(section, start=start, end=end))
    sentences: list[Sentence] = []
    reached = 0
    for sentence in report.sentences:
        start, end = form.span(sentence.start, sentence.end)
        start = max(start, reached)
        if start >= end and sentences:  # nothing of its own: it is part of the one before
            last = sentences[-1]
            more = tuple(_moved(one, form, last.start, last.end) for one in sentence.mentions)
            sentences[-1] = replace(last, mentions=last.mentions + more)
            continue
        reached = end
        mentions = tuple(_moved(one, form, start, end) for one in sentence.mentions)
        sentences.append(replace(sentence, text=text[start:end], start=start, end=end, mentions=mentions))
    return replace(report, sections=tuple(sections), sentences=tuple(sentences))


def _moved(mention: Mention, form: Unfolded, low: int, high: int) -> Mention:
    """`mention` in the sentence [low, high) of the report, which is its span where none of its words are in it."""
    start, end = form.span(mention.start, mention.end)
    start, end = (start, end) if low <= start < end <= high else (low, high)
    return build_value(Mention, vars(mention) | {"start": start, "end": end})


def _may_hold_form(text: str) -> bool:
    for mark in _CHARACTERS:
        if mark in text:
            return True
    return (
        ".." in text
        or _has_label(text, ":")
        or ("(" in text and any(map(text.__contains__, _IN_PARENTHESES)))
        or ("/" in text and any(map(text.__contains__, _AT_SLASH)))
        or (not text.isascii() and _SIGNS.search(text) is not None)
        or ("?" in text and _has_label(text, "?"))
        or (";" in text and "\n" in text and _ROW.search(text) is not None)
    )


def _has_label(text: str, mark: str) -> bool:
    at = text.find(mark)
    while at >= 0:
        end = text[max(0, at - 4) : at].lower()
        if end in _LABELS or (end[-1:] in ("l", "r") and not end[-2:-1].isalpha()):
            return True
        at = text.find(mark, at + 1)
    return False
