"""Statements in parentheses, and neighbors of a subject, which no cue outside reaches, nor their cues anything outside.

"No pneumothorax (small left effusion)" holds such a statement; "(PTX)" and "(pleural or pericardial)" only explain.
"""

import re
from collections.abc import Sequence

from trrg_core.report.scan import Hit

_OWN_STATEMENT = re.compile(
    r"(?:a |an |there |with |but |no |only |just |also |otherwise |now )*"
    r"(?:small|mild|moderate|mod|large|tiny|trace|minimal|slight|severe|stable|unchanged|new|old|chronic|known|left|right|"
    r"bilateral|bibasilar|improved|worse|persistent|residual|likely|probabl[ey]|possibl[ey]|no|there|with|but)\b"
    r"|[^()]* (?:only|noted|seen|present|persists|as before|again)$"
    r"|(?![^()]*\b(?:or|and)\b)[a-z ]+ (?:at|in|on|over) the (?:left|right)\b[^()]*$"
)
# and one that begins with what only explains, whatever it says: "(that is, ...)"
_EXPLAINS = re.compile(r"(?:i\.?e|e\.?g|that is|such as|including|or|nor|and|which|if|whether|for|as|than)\b")
# "no effusion or, in spite of the fall, fracture"
_WITHIN_LIST = re.compile(
    r" (?:in spite of|despite|notwithstanding|given|considering|in view of|in light of|because of|contrary to|as)\b"
)
_LIMITS = re.compile(r" (?:limits?|obscures?|precludes?|overl(?:ies|ying)|hides?|mimics?|simulates?) ")
# "a mass underlying the consolidation is not seen": what the subject is near, up to the verb
_NEAR_SUBJECT = re.compile(
    r"(?:accompanying|alongside|complicating|underlying|beneath|adjacent to|next to|close to|associated with"
    r"|related to|distinct from|separate from)\b"
)
_STOPS = ("stop.in_spite", "stop.dictated")
_LIST_JOINTS = ("comma", "new_item")
_JOINTS = ("comma", "and", "new_item", "stop", "with", "colon", "open", "close")


def find_asides(hits: Sequence[Hit], text: str) -> dict[int, int]:
    """Index of the opening hit -> index of the closing one, of each statement in parentheses that names a finding.

    So is what stands between commas behind the "or" of a list.
    """
    asides: dict[int, int] = {}
    opened = -1
    names_finding = False
    for index, hit in enumerate(hits):
        if hit.entry.role == "open":
            opened, names_finding = index, False
        elif hit.entry.role == "close":
            if opened >= 0 and names_finding and _is_own(hits[opened : index + 1], text):
                asides[opened] = index
            opened = -1
        elif hit.entry.role == "comma" and text.endswith(" or", 0, hit.start) and _WITHIN_LIST.match(text, hit.end):
            closing = next((at for at in range(index + 1, len(hits)) if hits[at].entry.role in _LIST_JOINTS), -1)
            if closing > 0:
                asides[index] = closing
        else:
            names_finding = names_finding or hit.entry.is_target
    return asides


def _is_own(hits: Sequence[Hit], text: str) -> bool:
    """Whether the parentheses around `hits` hold a statement: one of its own words, or one with a verb."""
    start, end = hits[0].end, hits[-1].start
    if _OWN_STATEMENT.match(text, start, end):
        return True
    has_verb = any(hit.entry.has_verb for hit in hits) or _LIMITS.search(text, start, end) is not None
    return has_verb and _EXPLAINS.match(text, start) is None


def find_neighbors(hits: Sequence[Hit], boundaries: set[int], text: str) -> dict[int, int]:
    """Index of the first hit -> index of the last one, of each thing that only tells where the subject of a verb is.

    What is said behind the verb is said of the subject: "a mass underlying the consolidation is not seen".
    """
    neighbors: dict[int, int] = {}
    for index in boundaries:
        if not index or hits[index].entry.terms[0].name not in _STOPS or not hits[index - 1].entry.is_finding:
            continue
        if not _NEAR_SUBJECT.match(text, hits[index].start):
            continue
        for behind in range(index + 1, len(hits)):
            entry = hits[behind].entry
            if entry.role in _JOINTS:
                break
            if entry.has_verb and not entry.is_target:
                neighbors[index] = behind - 1
                break
    return neighbors
