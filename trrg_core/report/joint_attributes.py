"""Attributes that one word or clause gives to several findings: "neither the effusion nor the edema has changed"."""

import re
from collections.abc import Sequence

from trrg_core.report.attribute_marks import OPPOSITE
from trrg_core.report.candidates import Candidate
from trrg_core.report.midline import MIDLINE
from trrg_core.report.scan import Plain
from trrg_core.report.telling_words import ALL, JOINT, JOINT_VERB, LEFT, LUNG, NEITHER, RIGHT

Described = dict[str, str]

_CHANGED = r"(?:changed|increased|decreased|improved|worsened|progressed|enlarged|grown|altered|moved)"
_NEITHER_CHANGED = re.compile(
    rf"\b(?:neither|none of the)\b(?:(?!, (?:while|but|and|whereas)|;).){{1,120}}"
    rf"\b(?:has|have) (?:[a-z]+ly )?{_CHANGED}\b",
    re.DOTALL,
)
# ", where there is atelectasis": at the place that the clause before names
_WHERE = re.compile(r",? where (?:there (?:is|are|was|were) )?(?:[a-z]+ ){0,3}$")


# "ETT and right PICC, all unchanged"
_CHANGE_OF_ALL = {
    **dict.fromkeys(("unchanged", "stable"), "stable"),
    **dict.fromkeys(("improved", "smaller", "decreased"), "improved"),
    **dict.fromkeys(("worse", "larger", "increased"), "worse"),
    "new": "new",
}
_ALL = re.compile(
    rf"[,;] (?:all|both|each)(?: of which)?(?: are| remain)? (?:[a-z]+ly )?({'|'.join(_CHANGE_OF_ALL)})\b"
)
# a clause that begins with its side
_FRONTED_SIDE = re.compile(
    r"(?:^|[,;:.] |\b(?:and|but|while|whereas) )(?:looking (?:first |now |next )?at |turning to |beginning with )?"
    r"(?:(?:on |in |at )?the (left|right)(?: side| lung| hemithorax| chest| base| apex)?"
    r"(?:, where [^,;:.]{3,50})?,? (?:there (?:is|are"
    r"|was|were)|(?=no |neither )|we see"
    r"|one sees|i see|lies|lie)|the (left|right)(?: side| lung| hemithorax| chest| base| apex)?(?:, [^,;:.]{3,50},)?"
    r" (?:now |also |only )?"
    r"(?:shows?|contains?|demonstrates?|exhibits?|reveals?|harbou?rs?"
    r"|(?:is|appears|looks) (?:otherwise |entirely )?(?:clear|normal|unremarkable),?"
    r" (?:apart from|except for|except|but for|save for|save|other than|aside from)))\b"
)
# "left lung clear except for atelectasis at the base"
_CLEAR_EXCEPT = re.compile(
    r"(?:^|[,;:.] |\b(?:and|but|while|whereas) )(left|right) (?:side|lung|hemithorax|base|apex) (?:is )?(?:otherwise )?"
    r"(?:clear|normal|unremarkable),? (?:apart from|except for|except|but for|save for|save|other than|aside from)\b"
)
# "both lungs are free of nodules and consolidation"
_FREE = re.compile(
    r"\b(?:(both)|the (left|right)) (?:lungs?|lung fields|bases?|ap(?:ices|ex)|hemithora(?:x|ces)|pleural spaces?)"
    r" (?:is|are|appears?|remains?) (?:free|clear) (?:of|from)\b"
)
_STATES = re.compile(
    r" (?:there|no|neither|we|one|i|lies?|show|contain|demonstrat|exhibit|reveal|harbo|apart|except|but|save"
    r"|other|aside)"
)
# "and so does the left"
_SO_DOES = re.compile(
    r",? (?:and so|as) (?:does|do|is|has) (?:it |there )?(?:on |in |at )?the (left|right)(?: side| lung| base| one)?"
    r"(?=[.,;]|$)"
)
_END_OF_FRONTED = re.compile(r"[;]|\b(?:left|right|bilateral|both|while|whereas|but)\b")
# what begins another statement behind such a list
_END_OF_LIST = re.compile(
    r"[;:.]|,? and (?:the|there)\b|,? (?:but(?! not of\b)|with|while|whereas)\b"
    r"|, (?!(?:[a-z]+ ){0,3}(?:and|or|nor)\b|[a-z ]+,)"
)
_ADJACENT = re.compile(
    r" with (?:[a-z]+ ){0,3}(?:adjacent|associated|overlying|underlying|compressive|subjacent|accompanying)\b"
)
_WITH_PART = re.compile(r"\bwith (?:an? |central |small |early )*\Z")
_DOUBT = re.compile(r"\b(?:query|possib|probab|may|might|could|likely|suspic|question|suspect)")
_SO_IS = re.compile(r",? and so (?:is|are|has|have|did|does|do) (?:the |both )?(?:left |right )?\Z")
# "has decreased after drainage and is now small"
_IS_NOW = re.compile(
    r"\b(?:and|but)(?: it| they)? (?:is|are|has become|have become|measures?) (?:now |only |just |still |today )*"
    r"(trace|tiny|minimal|small|mild|moderate|large|severe)(?=[.,;]|$| in (?:size|degree|extent)| only)"
)
_IS_NOW_SO = re.compile(
    r"\b(?:and|but)(?: it| they)? (?:is|are) now (mildly|moderately|severely|markedly|massively)"
    r" (?:enlarged|dilated|widened|elevated|thickened|congested)\b"
)
_DEGREES = {
    "tiny": "trace",
    "mildly": "mild",
    "moderately": "moderate",
    **dict.fromkeys(("severely", "markedly", "massively"), "severe"),
}
_BY_IT = re.compile(r" (?:just |immediately |right )?(?:above|below|beneath|beside|behind|next to|around) it\b")
_BUT_NO = re.compile(r" (?:but (?:no|not an?|without)|without) (?:an? |any )?(?:[a-z]+ ){0,2}")
_IN_SIDE = re.compile(r" (?:in|at|on|over|within) (?:(?:the )?(?:left|right)|both)\b")
_NOT_ONLY = re.compile(r"\bnot only [^,;:.]{3,60},? but also [^,;:.]{3,60}? (?:has|have|is|are|appears?|looks?)\b")
_LESS = re.compile(r"decreas|diminish|reduc|small")


def denies_change(plain: Plain) -> bool:
    """Whether a sentence denies that its findings have changed, and so states them."""
    if not plain.words & NEITHER:
        return False
    text = plain.text
    return ("neither" in text or "none of the" in text) and _NEITHER_CHANGED.search(text) is not None


def share_clauses(described: Sequence[list[Described]], candidates: Sequence[Candidate], plain: Plain) -> None:
    """Adds to `described`, the attributes of each of `candidates`, what a clause says of the finding before it."""
    text, words = plain.text, plain.words
    if words & NEITHER and denies_change(plain):
        for parts in described:
            for part in parts:
                part.setdefault("change", "stable")
    if words & ALL and (" all " in text or " both " in text or " each " in text) and (all_of := _ALL.search(text)):
        for candidate, parts in zip(candidates, described, strict=True):
            for part in parts:
                if candidate.end <= all_of.start():
                    part.setdefault("change", _CHANGE_OF_ALL[all_of[1]])
    if words & JOINT_VERB:
        _add_degree_of_now(described, candidates, text)
    if len(candidates) > 1 and (" so " in text or " it" in text):
        _share_likeness(described, candidates, text)
    if words & JOINT and "/" in text:
        _share_over_slash(described, candidates, text)
    if words & LUNG and _LESS.search(text):
        _keep_lesser_volumes(described, candidates)
    if words & (LEFT | RIGHT):
        if ("the left" in text or "the right" in text) and _STATES.search(text):
            _share_fronted(described, candidates, text, _FRONTED_SIDE)
        if " clear" in text and _CLEAR_EXCEPT.search(text):
            _share_fronted(described, candidates, text, _CLEAR_EXCEPT)
        if " and so " in text or " as " in text:
            _share_with_other_side(described, candidates, text)
    if (" free " in text or " clear " in text) and len(candidates) > 1 and (free := _FREE.search(text)):
        _share_freedom(described, candidates, text, free)
    if len(candidates) == 1:
        return
    if " no " in text or " without " in text:
        _share_behind_denial(described, candidates, text)
    if " but also " in text and (alike := _NOT_ONLY.search(text)):
        _share_not_only(described, candidates, alike)
    if not words & JOINT:
        return
    if " or " in text and _DOUBT.search(text):
        _share_with_alternative(described, candidates, text, " or ")
    if "combination of" in text:
        _share_with_alternative(described, candidates, text, " and ")
    if " with " in text:
        _share_with_adjacent(described, candidates, text)
        _share_with_part(described, candidates, text)
    if " where " in text:
        for number in range(1, len(candidates)):
            side = described[number - 1][-1].get("laterality")
            joint = text[candidates[number - 1].end : candidates[number].start]
            if side and "laterality" not in described[number][0] and _WHERE.search(joint):
                for part in described[number]:
                    part["laterality"] = side


def _add_degree_of_now(described: Sequence[list[Described]], candidates: Sequence[Candidate], text: str) -> None:
    """The degree in "has decreased after drainage and is now small", of the last finding before it."""
    match = _IS_NOW.search(text) or _IS_NOW_SO.search(text)
    named = [number for number, one in enumerate(candidates) if match and one.end <= match.start()]
    if match and named:
        for part in described[named[-1]]:
            part.setdefault("severity", _DEGREES.get(match[1], match[1]))


def _share_likeness(described: Sequence[list[Described]], candidates: Sequence[Candidate], text: str) -> None:
    """The change in "is unchanged and so is the PICC", and the side in "and there is atelectasis above it"."""
    for number in range(1, len(candidates)):
        one, two = described[number - 1][-1], described[number]
        if "change" in one and _SO_IS.search(text, candidates[number - 1].end, candidates[number].start):
            for part in two:
                part.setdefault("change", one["change"])
        if "laterality" in one and _BY_IT.match(text, candidates[number].end):
            for part in two:
                part.setdefault("laterality", one["laterality"])


def _share_fronted(
    described: Sequence[list[Described]], candidates: Sequence[Candidate], text: str, fronted: re.Pattern[str]
) -> None:
    """ "On the right there is an effusion with collapse", "the left side shows fluid" say the side of all they name."""
    for match in fronted.finditer(text):
        end = _END_OF_FRONTED.search(text, match.end())
        limit = end.start() if end else len(text)
        for candidate, parts in zip(candidates, described, strict=True):
            if match.end() <= candidate.start < limit and candidate.finding not in MIDLINE:
                for part in parts:
                    part.setdefault("laterality", match[match.lastindex or 1])


def _share_with_other_side(described: Sequence[list[Described]], candidates: Sequence[Candidate], text: str) -> None:
    """ "The right lung shows collapse, and so does the left" says both sides."""
    match = _SO_DOES.search(text)
    for candidate, parts in zip(candidates, described, strict=True):
        for part in parts:
            if match and candidate.end <= match.start() and part.get("laterality") == OPPOSITE[match[1]]:
                part["laterality"] = "bilateral"


def _share_freedom(
    described: Sequence[list[Described]], candidates: Sequence[Candidate], text: str, match: re.Match[str]
) -> None:
    """The side of what a lung is free of, for the later ones of a list."""
    end = _END_OF_LIST.search(text, match.end())
    for candidate, parts in zip(candidates, described, strict=True):
        if match.end() <= candidate.start < (end.start() if end else len(text)) and candidate.finding not in MIDLINE:
            for part in parts:
                part.setdefault("laterality", match[2] or "bilateral")


def of_two_sides(first: Described, second: Described, *, shared: Described) -> list[Described]:
    """One bilateral part, or where each side has a degree (or only the second) one part for each."""
    differing = ["severity"] if "severity" in second and first.get("severity") != second["severity"] else []
    if "change" in first and "change" in second and first["change"] != second["change"]:
        differing.append("change")
    if differing:
        rest = {kind: value for kind, value in shared.items() if kind not in ("laterality", "anatomy", *differing)}
        return [rest | first, rest | second]
    severity = {"severity": first["severity"]} if "severity" in first else {}
    return [shared | severity | {"laterality": "bilateral"}]


def _share_behind_denial(described: Sequence[list[Described]], candidates: Sequence[Candidate], text: str) -> None:
    """ "Nodules but no cavities in both lungs" says the side of both."""
    for number in range(1, len(candidates)):
        one, two = described[number - 1], described[number][0]
        joint = text[candidates[number - 1].end : candidates[number].start]
        if (
            "laterality" in two
            and "laterality" not in one[0]
            and candidates[number - 1].finding not in MIDLINE
            and _BUT_NO.fullmatch(joint)
            and _IN_SIDE.match(text, candidates[number].end)
        ):
            for part in one:
                part["laterality"] = two["laterality"]


def _share_not_only(
    described: Sequence[list[Described]], candidates: Sequence[Candidate], match: re.Match[str]
) -> None:
    """ "Not only the effusion but also the edema has increased" says the change of both."""
    inside = [
        parts
        for candidate, parts in zip(candidates, described, strict=True)
        if match.start() <= candidate.start and candidate.end <= match.end()
    ]
    if len(inside) > 1 and (change := inside[-1][-1].get("change")):
        for part in inside[0]:
            part.setdefault("change", change)


def _share_over_slash(described: Sequence[list[Described]], candidates: Sequence[Candidate], text: str) -> None:
    """ "Stable left base atelectasis/consolidation" says the side and the change of both."""
    for number in range(1, len(candidates)):
        one, two = described[number - 1][-1], described[number]
        if text[candidates[number - 1].end : candidates[number].start].strip() == "/":
            for kind in ("laterality", "change", "anatomy"):
                for part in two:
                    if kind in one:
                        part.setdefault(kind, one[kind])


def _share_with_adjacent(described: Sequence[list[Described]], candidates: Sequence[Candidate], text: str) -> None:
    """ "Effusion with compressive atelectasis on the right" says the side of both."""
    for number in range(1, len(candidates)):
        one, two = described[number - 1], described[number][0]
        end = candidates[number - 1].end
        if "laterality" in two and "laterality" not in one[0] and _ADJACENT.match(text, end, candidates[number].end):
            for part in one:
                part["laterality"] = two["laterality"]


def _share_with_part(described: Sequence[list[Described]], candidates: Sequence[Candidate], text: str) -> None:
    """ "Consolidation in the right upper lobe with cavitation": what is a part of the finding before has its side."""
    for number in range(1, len(candidates)):
        side = described[number - 1][-1].get("laterality")
        joint = text[candidates[number - 1].end : candidates[number].start]
        if side and candidates[number].finding == "cavity" and _WITH_PART.search(joint):
            for part in described[number]:
                part.setdefault("laterality", side)


def _keep_lesser_volumes(described: Sequence[list[Described]], candidates: Sequence[Candidate]) -> None:
    """Less volume is no improvement of low volumes."""
    for candidate, parts in zip(candidates, described, strict=True):
        for part in parts:
            if candidate.finding == "low_lung_volumes" and part.get("change") == "improved":
                del part["change"]


def _share_with_alternative(
    described: Sequence[list[Described]], candidates: Sequence[Candidate], text: str, joint: str
) -> None:
    """ "Left base: query collapse or consolidation" says the side of both."""
    for number in range(1, len(candidates)):
        one, two = described[number - 1][-1], described[number]
        is_joint = text[candidates[number - 1].end : candidates[number].start] == joint
        if is_joint and "laterality" in one and "laterality" not in two[0]:
            for part in two:
                part["laterality"] = one["laterality"]
