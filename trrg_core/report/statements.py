"""Statements of one sentence that do not speak of each other, each of which is read by itself.

"The nodes are not enlarged; the right effusion is small" holds two, "effusion on the left; it is small" one.
"""

import re
from collections.abc import Iterator, Sequence

from trrg_core.report.scan import Hit, Plain, Scan

# where a statement can end: at a semicolon, or in front of a clause with a subject of its own
_JOINT = re.compile(r";(?= )|, and(?= (?:the|there|his|her|no)\b)")
_SEMICOLON = ";"
# what speaks of something before it, or leaves out what was named there
_REFERS = re.compile(
    r"\b(?:it|its|they|their|them|one|ones|none|nothing|that|those|this|these|both|either|neither|former|latter|same"
    r"|other|another|opposite|ipsilateral|contralateral|also|too|all|each|respectively|so|which|else|likewise|similarly"
    r"|there(?! (?:is|are|was|were|remains?|has)\b)|there (?:is|are) not|correspond[a-z]+|associated|accompanying"
    r"|adjacent|again|still|further)\b"
    r"|\b(?:is|are|was|were|has|have|does|do|did) not(?=[.;,]?$)|\bnot(?=[.;,]?$)"
)
_DEGREE = r"(?:small|moderate|large|trace|tiny|mild|minimal|severe|marked)"
_OPENS_ELLIPSIS = re.compile(
    r" ?(?:or|nor|and|but|with|to|of|in|on|at|is|are|has|have|less|more|larger|smaller|new|unchanged|stable|improved"
    r"|worse|likely|probably|possibly|presumably|y\b|n\b|(?:the )?(?:left|right|l|r|lt|rt|bilateral)"
    rf" (?:is|are|has|was|side|one|none|clear|more|less|normal|sharp|{_DEGREE})|{_DEGREE}(?: on| in| at|,|$))\b"
)
# what holds for the statements before it: "; both unchanged in position"
_OF_ALL = re.compile(r"[;,] (?:both|all|each|neither)\b")
# what is said in front holds for both clauses: "compared with May, the effusion is larger, and the heart is"
_FRAME = re.compile(
    r"(?:[a-z]+ )?(?:compared|relative|comparison|since|unlike|on|in|at|over|within|if|whether|although)\b"
)
_MOST = 12


def split_statements(scan: Scan) -> list[Scan]:
    """The statements of `scan` that can be read apart, in order; `scan` itself where there is one."""
    text = scan.plain.text
    if (_SEMICOLON not in text and ", and " not in text) or ":" in text or "(" in text:
        return [scan]
    cuts = list(_cuts(scan))
    if not cuts:
        return [scan]
    ends = [*[start for start, _ in cuts], len(text)]
    return [_part(scan, start, end) for start, end in zip([0, *[behind for _, behind in cuts]], ends, strict=True)]


def _cuts(scan: Scan) -> Iterator[tuple[int, int]]:
    """Where a statement ends and the next one begins."""
    text = scan.plain.text
    is_framed = _FRAME.match(text) is not None
    joints = [joint for joint in _JOINT.finditer(text) if joint[0] == _SEMICOLON or not is_framed][:_MOST]
    begin = 0
    for number, joint in enumerate(joints):
        end = joints[number + 1].start() if number + 1 < len(joints) else len(text)
        start = joint.end()
        if (
            _OF_ALL.search(text, joint.start())
            or _REFERS.search(text, start, end)
            or _OPENS_ELLIPSIS.match(text, start, end)
        ):
            continue
        before, behind = (_within(scan.hits, *span) for span in ((begin, joint.start()), (start, end)))
        if not (_names(before) and _names(behind)):
            continue
        if joint[0] != _SEMICOLON and not (_is_clause(behind) and _is_whole(before)):
            continue
        yield joint.start(), start
        begin = start


def _within(hits: Sequence[Hit], start: int, end: int) -> list[Hit]:
    return [hit for hit in hits if start <= hit.start and hit.end <= end]


def _names(hits: list[Hit]) -> bool:
    return any(hit.entry.is_finding for hit in hits) or (
        any(hit.entry.is_place for hit in hits) and any(hit.entry.is_state for hit in hits)
    )


def _is_clause(hits: list[Hit]) -> bool:
    """Whether a verb follows the first thing that is named, with no comma or "and" between."""
    for hit in hits:
        if hit.entry.role in ("comma", "and", "new_item", "with"):
            return False
        if hit.entry.has_verb:
            return True
    return False


def _is_whole(hits: list[Hit]) -> bool:
    """Whether the statement has a verb or a denial of its own."""
    return any(hit.entry.has_verb or hit.entry.terms[0].name.startswith("absent.") for hit in hits)


def _part(scan: Scan, start: int, end: int) -> Scan:
    offsets = scan.plain.offsets[start:end] if scan.plain.offsets is not None else tuple(range(start, end))
    text = scan.plain.text[start:end]
    skipped = len(text) - len(text.lstrip(" "))
    plain = Plain(text[skipped:], offsets[skipped:], scan.plain.words)
    moved = start + skipped
    hits, attributes = (
        [Hit(hit.start - moved, hit.end - moved, hit.entry) for hit in listed if moved <= hit.start and hit.end <= end]
        for listed in (scan.hits, scan.attributes)
    )
    return Scan(plain, hits, attributes, any(hit.entry.is_target for hit in hits))
