"""Words of a sentence that stand for what is named before them: "a small one", "but not on the left".

The word becomes a hit of the same entry; cues and attributes are then read as of any other.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from operator import attrgetter

from trrg_core.report.lexicon import any_of, load_lexicon
from trrg_core.report.scan import Hit, Scan, add_hits, made_entry
from trrg_core.report.telling_words import DEMONSTRATIVE, LEFT, NO, NOT, RIGHT, STAND_IN

_DEGREE = r"(?:small|moderate|large|trace|tiny|mild|minimal|severe|marked)"
_ONE = re.compile(
    r"\b(?:there is (?=one(?: (?:on|in|at)\b|[.;,]|$))|(?:a|an|another) (?:new )?(?:[a-z]+ )?"
    r"|the (?:old|known|previous|other|existing|larger|smaller|older|first|second) "
    # "large left effusion, tiny one on the right"
    rf"|(?<=, ){_DEGREE} (?=ones? (?:on|in|at) the (?:left|right)\b))(ones?)\b"
)
# "the effusion on the left has cleared; that on the right is new"
_THAT = re.compile(
    r"[,;] (?:and |but |while |whereas )?(?:(that|those)|the (ones?)) (?:on|in|at) the"
    r" (?:left|right|opposite|other|same)\b"
)


# the side stands for the finding: "on the right but not on the left", "none on the right, small on the left"
@cache
def _not_there() -> re.Pattern[str]:
    return re.compile(
        r"(?:\b(?:but|and|yet|while|with)|[,;:]) (?:there (?:is|are) )?(?:not|none)"
        rf" (?:(?:is |are |was |were )?{any_of('seen')} )?(?:(?:on|in|at) )?the (left|right)\b"
    )


_THERE = re.compile(rf"(?:,|;|\band|\bbut) (?:an? )?{_DEGREE} (?:on|in|at) the (left|right)\b")
# "no fluid on the right and only a trace on the left"
_ONLY = re.compile(
    r"(?:,|;|\band|\bbut) (?:only|just) (?:an? )?(?:very )?(?:trace|little|(?:small|minimal|tiny) (?:amount|one))"
    r" (?:on|in|at) the (left|right)\b"
)
# "no effusion on the right, and on the left only a trace"
_FRONTED = re.compile(
    r"(?:[,;:]|(?<= )(?:and|but|while|whereas|with)\b)(?: (?:and|but|while|whereas|with))?,? (?:on|in|at) the"
    r" (left|right)(?: side| base| apex)?,? (?:there (?:is|are|was|were) )?"
    r"(?:(none|nothing|not)|(?:(?:only|just|merely|at most) )?(?:an? )?(?:very )?"
    rf"(?:trace|sliver|hint|little|{_DEGREE}(?: (?:one|ones|amount|quantity|rim))?))(?= ?(?:[.;,]|$))"
)
_NONE_HERE = "none on the"


# "absent on the left and small on the right", "none on the left, small on the right"
@cache
def _each() -> re.Pattern[str]:
    seen = any_of("seen")
    denial = rf"(?:absent|none|nil|excluded|ruled out|not {seen})"
    stated = rf"(?:{_DEGREE}|{seen}|suspected|possible|likely|probable|certain|definite)"
    return re.compile(
        rf"\b(?:(no [a-z ]{{3,40}}|{denial})|{stated}(?: [a-z]+)?)"
        r" (?:on|in|at) the (left|right)(?: side| base| apex)?"
        rf"(?:,| and| but| while|, and|, but|;)(?: is| are)? (?:({denial})|{stated})"
        rf"(?: (?:is|are) {seen})? (?:on|in|at) the (?!\2)(left|right)\b"
    )


# "effusion and collapse on the left, neither on the right"
_NEITHER = re.compile(
    r"[,;] (?:and |but |with )?(?:neither|none)(?: (?:is|are) (?:seen|present))? (?:on|in|at) the (left|right)\b"
)
# "the left effusion is small and the right is moderate", "the right lung is clear, the left is collapsed"
_OTHER = re.compile(
    r"(?:\b(?:and|but|while|whereas|gone|cleared|resolved|smaller|larger|unchanged|stable)|[,;]) "
    r"(?:that on )?(?:the )?(left|right) (one |side )?"
    r"(?=(?:is|was|has|appears|remains|stays|having|being|has been) ([a-z]+))"
)
# "effusions: right moderate, left none", "effusion: r small, l none"
_SIDE_ITEM = re.compile(
    r"[,;:] (?:and )?(?:on )?(?:the )?(left|right|l|r)(?: side(?:d)?)?(?: ?[:=])? "
    rf"(?=(?:none|nil|no|absent|negative|clear|not seen|{_DEGREE})\b(?! [a-z]))"
)
# "small (r), none (l)"
_ANSWER_OF_SIDE = re.compile(
    rf"[,;] (?=(?:none|nil|no|absent|{_DEGREE}) \((?:left|right|l|r)\))(none|nil|no|absent|[a-z]+)"
)
_SIDE = re.compile(r"\b(left|right)\b(?: (?:sided|upper|lower|middle|basilar|apical|pleural))*")
_OF_FINDING = re.compile(
    rf"{_DEGREE}|unchanged|stable|larger|smaller|worse|better|new|improv|increas|decreas|resolv|gone|cleared"
    r"|in place|in situ|up\b|down\b|grown|shrunk|bigger|disappear|not chang|doubled|come|also|no longer|barely|now"
)
# "at the left base it is unchanged"
_IT = re.compile(
    r"(?:[,;]|\b(?:and|but|while)) (?:(?:and|but|while) )?(?:on|in|at) the (?:left|right)(?: [a-z]+)? (it)"
    r" (?:is|has|was|remains|appears)\b"
)
# "airspace disease persists in the RML but has cleared from the LLL"
_NO_SUBJECT = re.compile(
    r"\b(?:(?:and|but|yet|while)(?: it)? (?:has|have)|but) (?:[a-z]+ly |now |since |been )*"
    r"(?:cleared|resolved|disappeared|gone|improved|worsened|decreased|increased|progressed|unchanged|stable|smaller"
    r"|larger|worse|better|new) (?:from|in|on|at) (?:the )?(left|right|lll|lul|rll|rml|rul|lingula)\b"
    r"|\b(?:and|but|yet|while)(?: it)? (?:persists?|remains?|is (?:unchanged|worse|better|larger|smaller|new|stable))"
    r"(?: [a-z]+)? (?:in|on|at) (?:the )?(left|right|lll|lul|rll|rml|rul|lingula)\b"
)
# "right, but not left, effusion": each side stands for the finding behind the second
_PART = r"(?: (?:lung|side|base|apex|hemithorax|upper lobe|lower lobe))?"
_BUT_NOT = re.compile(
    rf"\b(left|right){_PART}(?:,? but|,) (?:not|no) (?:(?:on|in|at) )?(?:the )?(left|right){_PART},? "
    r"(?:there is )?(?:an? )?"
)
# "the left lung shows fibrosis, the right does not"
_SIDE_NOT_SO = re.compile(
    rf"[,;](?: (?:and|but|while|whereas))? the (left|right)(?: one)?{_PART}"
    r" ((?:does|is|has|are|do|have) (?:not|none)|shows none)(?=[.;]?$)"
)
_PRONOUN = re.compile(r" (?:it|one|them)\b")
_DENIED = re.compile(
    r"(?: no (?:sign|evidence|trace|hint|suggestion|indication)s? of| free of| free from"
    r"| (?:cannot|can not|could not|do not|did not) (?:see|find|identify|detect)) (it|one|them)\b(?!"
    r" [a-z]+ion)"
)
# "edema is present, pneumonia is not", "the heart is enlarged, the nodes are not"
_NOT_SO = re.compile(
    r"(?<=[a-z] )(?:is|are|was|were) (not)\b(?=[.,;]|$| (?:but|while|whereas|and|although|though)\b)()"
)
# "nodules in the right and the left lung; the former is new": the two that are named before
_FORMER = re.compile(r"\bthe (former|latter)\b(?! (?:side|lung|place|base|lobe))")
_DENIED_TOGETHER = 2
_IS_NOT = "is not present"


@cache
def _is_there() -> re.Pattern[str]:
    return re.compile(rf"\b(?:is|are|was|were) (?:[a-z]+ly |again |also )?(?:{any_of('seen')}|there)\b")


_MOST_STAND_INS = 8
_STOP = made_entry("stop", "stop.fronted_side", length=1)
_start = attrgetter("start")


def add_stand_ins(scan: Scan) -> Scan:
    """`scan` with the words that stand for the finding or place before them named as that."""
    words = scan.plain.words
    if not (
        words & (STAND_IN | NOT)
        or (words & (LEFT | RIGHT) and words & (NO | DEMONSTRATIVE))
        or (words & LEFT and words & RIGHT)
    ):
        return scan
    text = scan.plain.text
    if words & LEFT and words & RIGHT and (match := _FRONTED.search(text)):
        scan = _with_fronted_side(scan, match)
    names_side = "left" in text or "right" in text
    hits: dict[int, Hit] = {}
    if (" it" in text or " one" in text or " them" in text) and _PRONOUN.search(text) and _DENIED.search(text):
        hits |= {hit.start: hit for hit in _stand_for_last(scan, [m.span(1) for m in _DENIED.finditer(text)])}
    if (
        " one" in text
        or " it " in text
        or (names_side and (" not " in text or " none " in text or " that " in text or " those " in text))
    ):
        hits |= {hit.start: hit for hit in _of_findings(scan)}
    if names_side and (" only " in text or " just " in text):
        hits |= {hit.start: hit for hit in _stand_for_last(scan, [m.span(1) for m in _ONLY.finditer(text)])}
    if names_side and " no" in text:
        hits |= {hit.start: hit for hit in _before_denial(scan)}
    if ":" in text:
        hits |= {hit.start: hit for hit in _of_list(scan)}
    if (" has " in text or " have " in text or " persist" in text or " but " in text) and (
        match := _NO_SUBJECT.search(text)
    ):
        hits |= {hit.start: hit for hit in _stand_for_last(scan, [match.span(match.lastindex or 1)])}
    if names_side and "left" in text and "right" in text:
        hits |= {hit.start: hit for hit in _of_other_side(scan)}
    if words & NOT and names_side and (match := _SIDE_NOT_SO.search(text)):
        scan, hits = _with_denied_side(scan, match), {}
    elif words & NOT and (match := _NOT_SO.search(text)):
        scan = _with_denied_subject(scan, match)
        hits |= {hit.start: hit for hit in _of_state(scan, match.end(1))}
    if words & LEFT and words & RIGHT and " the left" in text and " the right" in text:
        hits |= {hit.start: hit for hit in _of_each_side(scan)}
    if "former" in text or "latter" in text:
        hits |= {hit.start: hit for hit in _of_former(scan)}
    return add_hits(scan, list(hits.values())[:_MOST_STAND_INS]) if hits else scan


def _with_fronted_side(scan: Scan, match: re.Match[str]) -> Scan:
    """`scan` in which the words behind a second side stand for the finding before it."""
    named = [hit for hit in scan.hits if hit.entry.is_finding and hit.end <= match.start()]
    if not named:
        return scan
    start, side, end = match.start(), match.start(1), match.end()
    joint = load_lexicon().automaton.get(_NONE_HERE) if match[2] else None
    new = [Hit(start, start + 1, _STOP), Hit(side, end, named[-1].entry)]
    new += [Hit(start + 1, side, joint)] if joint else []
    kept = [hit for hit in scan.hits if hit.end <= start or hit.start >= end]
    return replace(scan, hits=sorted([*kept, *new], key=_start))


def _of_findings(scan: Scan) -> Iterator[Hit]:
    text = scan.plain.text
    matches = [match.span(1) for match in _ONE.finditer(text)] if " one" in text else []
    if " that " in text or " those " in text or " the one" in text:
        matches += [match.span(match.lastindex or 1) for match in _THAT.finditer(text)]
    matches += [match.span(1) for match in _IT.finditer(text)] if " it " in text else []
    if " not " in text or " none " in text:
        denied = [match.span(1) for match in _not_there().finditer(text)]
        matches += denied + [match.span(1) for match in _THERE.finditer(text) if denied]
    return _stand_for_last(scan, matches)


def _with_denied_subject(scan: Scan, match: re.Match[str]) -> Scan:
    """`scan` in which "is not" denies the finding in front of it, where another one is said to be there."""
    index = bisect_left(scan.hits, match.start(), key=_start)
    is_finding = index > 0 and scan.hits[index - 1].entry.is_finding
    if not is_finding or not _is_there().search(scan.plain.text, 0, match.start()):
        return scan
    at, end = match.start(), match.end(1)
    kept = [hit for hit in scan.hits if hit.end <= at or hit.start >= end]
    kept.insert(index, Hit(at, end, load_lexicon().automaton.get(_IS_NOT)))
    return replace(scan, hits=kept)


def _with_denied_side(scan: Scan, match: re.Match[str]) -> Scan:
    """`scan` in which the second side stands for the last finding before it, which is denied there."""
    named = [hit for hit in scan.hits if hit.entry.is_finding and hit.end <= match.start()]
    if not named:
        return _with_denied_place(scan, match)
    stop = Hit(match.start(), match.start() + 1, _STOP)
    # "the left is clear of nodules, the right is not" affirms them there
    is_denied = any(term.value == "ABSENT" for hit in scan.hits if hit.end <= match.start() for term in hit.entry.terms)
    denied = [] if is_denied else [Hit(*match.span(2), load_lexicon().automaton.get(_IS_NOT))]
    kept = [hit for hit in scan.hits if hit.end <= stop.start or hit.start >= match.end()]
    return replace(scan, hits=[*kept, stop, Hit(*match.span(1), named[-1].entry), *denied])


def _with_denied_place(scan: Scan, match: re.Match[str]) -> Scan:
    """The same for a place and its state: "the left hemidiaphragm is elevated, the right is not"."""
    before = [hit for hit in scan.hits if hit.end <= match.start()]
    places = [hit for hit in before if hit.entry.is_place]
    states = [hit for hit in before if hit.entry.is_state and places and hit.start >= places[-1].end]
    if not states:
        return scan
    side, (start, end) = match.span(1), match.span(2)
    denied = load_lexicon().automaton.get(_IS_NOT)
    stop = Hit(match.start(), match.start() + 1, _STOP)
    new = [stop, Hit(*side, places[-1].entry), Hit(start, start, states[-1].entry), Hit(start, end, denied)]
    kept = [hit for hit in scan.hits if hit.end <= stop.start or hit.start >= match.end()]
    return replace(scan, hits=[*kept, *new])


def _of_state(scan: Scan, at: int) -> Iterator[Hit]:
    """The state that "... is enlarged, whereas the nodes are not" leaves out, behind its "not"."""
    named = [hit for hit in scan.hits if hit.end <= at and (hit.entry.is_state or hit.entry.is_place)]
    states = [hit for hit in named if hit.entry.is_state]
    if states and named[-1] is not states[-1]:
        yield Hit(at, at, states[-1].entry)


def _of_former(scan: Scan) -> Iterator[Hit]:
    """ "The former" and "the latter" for the two findings before them, or for the one of two sides."""
    for match in _FORMER.finditer(scan.plain.text):
        named = [hit for hit in scan.hits if hit.entry.is_finding and hit.end <= match.start()]
        if named:
            is_first = match[1] == "former" and len(named) > 1
            yield Hit(*match.span(1), named[0 if is_first else -1].entry)


def _of_each_side(scan: Scan) -> Iterator[Hit]:
    """The second of two sides, where the finding is denied on one: "absent on the left and small on the right"."""
    text = scan.plain.text
    if (each := _each().search(text)) and (each[1] is None) != (each[3] is None):
        yield from _stand_for_last(scan, [each.span(4)])
    if neither := _NEITHER.search(text):
        named = [hit for hit in scan.hits if hit.entry.is_finding and hit.end <= neither.start()][-_DENIED_TOGETHER:]
        if len(named) == _DENIED_TOGETHER and text[named[0].end : named[1].start] in (" and ", " or "):
            terms = tuple(term for hit in named for term in hit.entry.terms if term.role == "finding")
            yield Hit(*neither.span(1), replace(named[1].entry, terms=terms))


def _stand_for_last(scan: Scan, matches: Sequence[tuple[int, int]]) -> Iterator[Hit]:
    """A hit at each of `matches` that names the last finding before it."""
    for start, end in matches[:_MOST_STAND_INS]:
        named = [hit for hit in scan.hits if hit.entry.is_finding and hit.end <= start]
        if named:
            yield Hit(start, end, named[-1].entry)


def _of_list(scan: Scan) -> Iterator[Hit]:
    """The sides that are listed behind a finding and a colon: "effusions: right moderate, left none"."""
    text = scan.plain.text
    colon = text.find(":")
    named = [hit for hit in scan.hits if hit.end <= colon]
    if not named or not named[-1].entry.is_finding:
        return
    matches = [match.span(1) for match in _SIDE_ITEM.finditer(text, colon)][:_MOST_STAND_INS]
    if ")" in text:
        matches += [match.span(1) for match in _ANSWER_OF_SIDE.finditer(text, colon)]
    following = next((hit.start for hit in scan.hits if hit.start > colon and hit.entry.is_finding), len(text))
    for number, (start, end) in enumerate(matches):
        # the first item right behind the colon is what the finding itself has
        if (number or start > colon + 2) and start < following:
            yield Hit(start, end, named[-1].entry)


def _before_denial(scan: Scan) -> Iterator[Hit]:
    match = _BUT_NOT.search(scan.plain.text)
    if match is not None:
        # "opacity on the right, but no left effusion" says nothing of a right effusion
        following = next((hit for hit in scan.hits if hit.entry.is_finding), None)
        if following is not None and following.start == match.end():
            yield from (Hit(*match.span(side), following.entry) for side in (1, 2))


def _of_both_sides(scan: Scan, match: re.Match[str]) -> Iterator[Hit]:
    """The sides in "of the two effusions, the left has cleared and the right is smaller"."""
    other = _OTHER.search(scan.plain.text, match.end())
    named = next((hit for hit in reversed(scan.hits) if hit.entry.is_finding and hit.end < match.start()), None)
    if other and named and other[1] != match[1] and _OF_FINDING.match(other[3]) and _OF_FINDING.match(match[3]):
        yield from (Hit(*one.span(1), named.entry) for one in (match, other))


def _of_other_side(scan: Scan) -> Iterator[Hit]:
    text = scan.plain.text
    match = _OTHER.search(text)
    first = _SIDE.search(text, 0, match.start()) if match else None
    if match is not None and first is None:
        yield from _of_both_sides(scan, match)
    if match is None or first is None or first[1] == match[1]:
        return
    named = next((hit for hit in scan.hits if hit.end > first.end() and hit.start <= first.end() + 1), None)
    if named is None or not (named.entry.is_finding or named.term("place")):
        # "the effusion on the right persists, that on the left has cleared"
        named = next((hit for hit in reversed(scan.hits) if hit.entry.is_finding and hit.end < first.start()), None)
    if named is None or named.end > match.start():
        return
    is_place = named.term("place") is not None and not named.entry.is_finding
    if is_place or (named.entry.is_finding and (match[2] == "one " or _OF_FINDING.match(match[3]))):
        yield Hit(*match.span(1), named.entry)
