"""Forms: where an answer ends and the next field begins, and fields that speak of the finding before them.

"Edema: present / Effusion: none", "[ETT removed] [line unchanged]" and "Fracture? N Nodule? Y" are several statements.
"Effusion: yes; Side: right; Size: small" is one.
"""

import re
from collections.abc import Iterator, Sequence

from trrg_core.labels import Assertion
from trrg_core.report.parsed import Mention, build_value

_LABEL = r"[A-Z][A-Za-z/ -]{1,40}(?:[(\[][^()\[\]\n]{1,40}[)\]])? ?[:?]"
# "Edema: present / Effusion: none"
_NEXT_FIELD = re.compile(rf"[;/|]/?[ \t]+(?={_LABEL})")
_ANSWERED = re.compile(r"[:?=\]]")
# "[ETT removed] [right line unchanged] Lungs: [clear]", "Effusion [none] Nodule [left]"
_BRACKETS = re.compile(
    r"(\[[^\[\]\n]*[A-Za-z]{2}[^\[\]\n]*\])[ \t]+(?=(\[[^\[\]\n]*[A-Za-z]{2}[^\[\]\n]*\])|[A-Z][A-Za-z/ -]{1,40}[:\[])"
)
# "Fracture? N Nodule? Y"
_LETTER = re.compile(r"[?:] ?[YN][ \t]+(?=[A-Z][A-Za-z -]{2,40}[?:])")
# a field that tells of the one before it: "Effusion size: small", "Side: left"
_FIELD = re.compile(
    r"(?:([A-Za-z][A-Za-z ]{2,30}?) )?"
    r"(sides?|sizes?|location|site|position|laterality|severity|degree|grade|change|extent|distribution|amount)"
    r"(?: ?[(\[][^()\[\]\n]{1,60}[)\]])? ?:[ \t]*(?=\S)",
    re.IGNORECASE,
)
_KINDS = ("laterality", "severity", "change", "anatomy", "size")


def may_hold_fields(text: str) -> bool:
    """Whether `text` can be a form: nearly no prose has a colon, a question or a bracket."""
    return ":" in text or "?" in text or "]" in text


def field_breaks(text: str, start: int, end: int) -> Iterator[int]:
    """Where in [start, end) a field of a form begins in the line of another one."""
    if "]" in text and "[" in text:
        for match in _BRACKETS.finditer(text, start, end):
            if match[2] is None or " " in match[1] or " " in match[2]:
                yield match.end()
    for match in _NEXT_FIELD.finditer(text, start, end):
        low = max(start, text.rfind("\n", start, match.start()) + 1)
        if _ANSWERED.search(text, low, match.start()):
            yield match.end()
    if "? N" in text or "? Y" in text or ": N" in text or ": Y" in text:
        yield from (match.end() for match in _LETTER.finditer(text, start, end))


def find_field(sentence: str) -> tuple[int, int] | None:
    """The span of the name of the field that `sentence` is, which tells of another one: "Side" of "Side: left"."""
    match = _FIELD.match(sentence)
    return match.span(2) if match else None


def of_field(mentions: Sequence[Mention], before: Sequence[Mention]) -> tuple[Mention, ...]:
    """The mention of a field, with what the ones `before` it say of the same finding; none where that is not so."""
    known = [other for other in before if len(mentions) == 1 and other.finding == mentions[0].finding]
    if not known or Assertion.ABSENT in (known[-1].assertion, mentions[0].assertion):
        return ()
    values = {kind: getattr(mentions[0], kind) or getattr(known[-1], kind) for kind in _KINDS}
    return (build_value(Mention, vars(mentions[0]) | values | {"assertion": known[-1].assertion}),)
