"""Clauses that say something of a thing that is there: "it is unclear whether the left effusion is loculated".

What is doubted or denied is the predicate, not the thing: the cue moves behind the verb, so that it reaches what is
named there ("whether the opacity is pneumonia"). Where the predicate is that the thing is there, the cue stays.
"""

import re
from functools import cache

from trrg_core.report.lexicon import Entry, load_lexicon
from trrg_core.report.scan import Hit, Scan, names_finding
from trrg_core.report.telling_words import CLAUSE

_VERB = (
    r"(?:is|are|was|were|has|have|had|represents?|reflects?|remains?|looks?|appears?|lies|extends?|will|to be"
    r"|to represent"
    r"|to have|could be|may be|might be)"
)
_CLAUSE = re.compile(
    rf"\b(whether|if|that|believe|think|consider|feel) (?:the|this|these|those|his|her|its|their|such an?) "
    rf"((?:(?!(?:{_VERB}|whether|that|if|there)\b)[a-z/]+ ){{1,7}})({_VERB})\b"
)
# that it is there, or there again
_EXISTS = re.compile(
    r" (?:indeed |really |truly |actually |still |again |now |ever |since )*(?:real|genuine|true|present|there"
    r"|back|come back"
    r"|(?:re)?appeared|returned|recurred|reaccumulated|recollected|relapsed|regrown|re grown|reformed|exists?"
    r"|developed|arisen|visible|seen|persist(?:s|ed)?|been (?:present|there))\b"
)
_DENIED = re.compile(r"\b(?:no|nothing|without|never|not|nor|cannot)\b")
_DOUBTED = re.compile(
    r"\b(?:whether|unclear|uncertain|unknown|certain|sure|clear|suspect|suspected|suspicion|likely|possible|possibl[ey]"
    r"|possibility|probable|question|questionable|doubtful|conceivable|may be)\b"
    r"|(?:\bnot|cannot|\bunable|\bhard|difficult|impossible)\b[^,;]{0,24}\b(?:say|tell|know|judge|determine)\b"
)
_NO_DOUBT = re.compile(r"\b(?:no|little|without|beyond|any)(?: [a-z]+)? doubt\b|\bnothing\b[^,;]{0,40}\bsay\b")
_DENIED_OUTRIGHT = re.compile(r"\bnothing\b")
_LONGEST_INTRO = 60
_JOINTS = re.compile(r"[,;:.]|\b(?:and|but)\b(?= that\b)")
_MARKS_OF = ("change", "severity")


@cache
def _entry(phrase: str) -> Entry:
    entry: Entry = load_lexicon().automaton.get(phrase)
    return entry


def move_cues(scan: Scan) -> Scan:
    """`scan` with the cue in front of such a clause behind its verb, and without what is said there of a change."""
    if not scan.plain.words & CLAUSE:
        return scan
    text = scan.plain.text
    if " that " not in text and "whether " not in text and " if " not in text and " to be " not in text:
        return scan
    match = _CLAUSE.search(text)
    if match is None or not names_finding(scan, *match.span(2)):
        return scan
    start = max((joint.end() for joint in _JOINTS.finditer(text, 0, match.end(1))), default=0)
    cue = _cue(text[max(start, match.start() - _LONGEST_INTRO) : match.end(1)], match[1])
    if cue is None:
        return scan
    at, end = match.span(1)
    kept = [hit for hit in scan.hits if hit.entry.is_finding or not start <= hit.start < match.start(2)]
    attributes = scan.attributes
    if not _EXISTS.match(text, match.end(3)):
        at, end = match.span(3)
        joint = _JOINTS.search(text, end)
        limit = joint.start() if joint else len(text)
        if not names_finding(scan, end, limit):
            # "... is free or loculated cannot be judged"
            kept = [hit for hit in kept if not end <= hit.start < limit]
        attributes = [
            hit
            for hit in attributes
            if not (at <= hit.start < limit and any(kind in _MARKS_OF for kind, _ in hit.entry.attributes))
        ]
    kept = [hit for hit in kept if hit.end <= at or hit.start >= end]
    return Scan(scan.plain, sorted([*kept, Hit(at, end, cue)], key=lambda hit: hit.start), attributes, scan.has_target)


def _cue(intro: str, word: str) -> Entry | None:
    """What `intro`, which ends with `word`, says of the clause behind it; None where it states it."""
    if _NO_DOUBT.search(intro):
        return _entry("no evidence of") if _DENIED_OUTRIGHT.search(intro) else None
    if _DOUBTED.search(intro):
        return _entry("may represent")
    if word != "if" and _DENIED.search(intro):
        return _entry("no evidence of")
    return None
