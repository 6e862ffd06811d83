"""Titles within a sentence: "Pneumothorax: There is none.", "LINES AND TUBES: PICC in the SVC".

A finding before a colon is a statement of its own only where an answer follows: a denial, "yes", a side, a degree.
"""

import re
from collections.abc import Sequence

from trrg_core.labels import Assertion
from trrg_core.report.assertion import Asserted
from trrg_core.report.candidates import Candidate
from trrg_core.report.scan import Scan

_YES = re.compile(r"(?:yes|present|positive|noted|seen|identified|again|tip|l|r)\b")
# names of a group of devices, which a list of them follows
_GROUPS = ("other_device",)
_LISTED = re.compile(r" ?\(|,? (?:including|namely|such as|i\.?e\.?) ")
# bounds of the search, so that the work grows with the text and not with its square
_MOST_MEMBERS, _LONGEST_LIST = 12, 200
_EXPLAINED = (
    "opacity",
    "nodular_opacity",
    "ground_glass_opacity",
    "airspace_disease",
    "infiltrate",
    "consolidation",
    "mass",
    "nodule",
)
_DEVICE = r"(?:lines?|tubes?|devices?|catheters?|drains?|hardware|equipment|apparatus)"
_PLURAL = r"(?:lines|tubes|devices|catheters|drains|hardware|equipment|apparatus)"
# in a line of its own, over what is said of each: "Lines and tubes", "Tube position"
_HEADING = re.compile(
    rf"(?:(?:support|supporting|life support|monitoring|indwelling|medical)(?: and monitoring)? )?"
    rf"(?:{_PLURAL}|{_DEVICE}(?:(?: ?/ ?|, ?| and | & |, and ){_DEVICE})+"
    rf"|{_DEVICE} (?:positions?|placement|status|check))"
    r"[ :.]*"
)
_END_OF_LIST = re.compile(r"\)|[.;]")


def find_titles(candidates: Sequence[Candidate], asserted: Sequence[Asserted], scan: Scan) -> set[int]:
    """Numbers of the candidates that only announce what the rest of the sentence speaks of."""
    text = scan.plain.text
    titles: set[int] = set()
    described = {mark.start for mark in scan.attributes}
    if candidates[0].finding in _GROUPS and _HEADING.fullmatch(text):
        return set(range(len(candidates)))
    for number, candidate in enumerate(candidates):
        begin = _behind_colon(text, candidate.end)
        if begin < 0:
            if candidate.finding in _GROUPS and find_members(number, candidates, text):
                titles.add(number)
            continue
        later = [other for other in candidates[number + 1 : number + 3] if other.start >= begin]
        if begin >= len(text):
            if asserted[number].assertion is not Assertion.ABSENT:  # "No evidence of pneumonia:"
                titles.add(number)
        elif later and candidate.finding in _GROUPS:
            titles.add(number)
        elif later and asserted[number].assertion is not Assertion.ABSENT:
            is_answered = _YES.match(text, begin) or begin in described
            if not is_answered and not _is_stated(candidate, scan):
                titles.add(number)
    return titles


def _is_stated(candidate: Candidate, scan: Scan) -> bool:
    """Whether a statement ends in front of the colon: "the film shows heart failure: the heart is large".

    So does a shadow with its place, of which an explanation follows: "bilateral opacities: edema versus pneumonia".
    """
    if any(hit.entry.has_verb for hit in scan.hits[: candidate.first]):
        return True
    return candidate.finding in _EXPLAINED and any(
        hit.end == candidate.start - 1 or hit.end == candidate.start - len(" lobe ")
        for hit in scan.attributes
        if hit.entry.attributes and hit.entry.attributes[0][0] in ("laterality", "anatomy", "change")
    )


def find_members(number: int, candidates: Sequence[Candidate], text: str) -> Sequence[int]:
    """Numbers of the candidates that are listed behind a group: "tubes (ETT, NGT)", "lines, namely a PICC"."""
    listed = _LISTED.match(text, candidates[number].end)
    if listed is None:
        return ()
    limit = listed.end() + _LONGEST_LIST
    end = _END_OF_LIST.search(text, listed.end(), limit)
    limit = end.start() if end else limit
    later = range(number + 1, min(number + 1 + _MOST_MEMBERS, len(candidates)))
    return [other for other in later if listed.end() <= candidates[other].start < limit]


def share_with_members(
    described: Sequence[list[dict[str, str]]], titles: set[int], candidates: Sequence[Candidate], text: str
) -> None:
    """Adds to `described` the change that is said of a group to each of its members: "lines (PICC, port) unchanged"."""
    for number in titles:
        members = find_members(number, candidates, text)
        changes = [one["change"] for other in (number, *members) for one in described[other] if "change" in one]
        for part in (part for other in members for part in described[other] if changes):
            part.setdefault("change", changes[-1])


def _behind_colon(text: str, end: int) -> int:
    """Where the words behind the colon at `end` begin; -1 when there is no colon."""
    rest = text[end : end + 3]
    return end + len(rest) - len(rest.lstrip(": ")) if rest.lstrip()[:1] == ":" else -1
