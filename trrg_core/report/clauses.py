"""Where a clause ends: the places no negation reaches across.

"No effusion is seen, and the heart is enlarged" has two clauses; "no effusion, edema, and pneumothorax" has one.
"""

from collections.abc import Sequence

from trrg_core.report.scan import Hit

_NEW_CLAUSE = ("break", "stop", "place")


def find_boundaries(hits: Sequence[Hit]) -> set[int]:
    """Indices of the hits (stops, commas, "and") that end a clause."""
    verb_ahead = _verbs_ahead(hits)
    boundaries: set[int] = set()
    has_verb = has_target = False
    for index, hit in enumerate(hits):
        role = hit.entry.role
        is_separator = role in ("comma", "and", "new_item")
        opens = has_verb and verb_ahead[index]
        opens = opens or (has_target and (role == "new_item" or _opens_clause(hits, index, role)))
        if role == "stop" or (is_separator and opens):
            boundaries.add(index)
        if index in boundaries:
            has_verb, has_target = hit.entry.has_verb, False
        else:
            has_verb = has_verb or hit.entry.has_verb or role == "participle"
            has_target = has_target or role in ("finding", "state")
    return boundaries


def _verbs_ahead(hits: Sequence[Hit]) -> list[bool]:
    """For each hit, whether a verb follows before the next comma or stop."""
    ahead = [False] * len(hits)
    seen = False
    for index in range(len(hits) - 1, -1, -1):
        ahead[index] = seen
        role = hits[index].entry.role
        if role in ("comma", "stop"):
            # ", and the heart is normal": the comma defers to the "and" right behind it
            seen = False
        seen = seen or hits[index].entry.has_verb
    return ahead


def _opens_clause(hits: Sequence[Hit], index: int, role: str) -> bool:
    """Whether the word right behind a comma or "and" begins something new: "a", "stable", "there", a cue."""
    if index + 1 >= len(hits) or hits[index + 1].start > hits[index].end + 1:
        return False
    for term in hits[index + 1].entry.terms:
        if term.role == "place":
            return role == "comma"
        if term.role in _NEW_CLAUSE or (term.role != "finding" and term.direction == "forward"):
            return True
    return False
