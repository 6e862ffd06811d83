"""A sentence without some of its statements, in its own words.

Cuts between the items of the sentence are proposed, from whole clauses to single words, and read by the parser: the
first that states the rest as the sentence did, with sides, degrees and places, is taken. So nothing is lost that stays.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from trrg_core.report.parsed import Mention
from trrg_core.report.parser import ReportParser

# between items: "effusion and edema", "effusion, edema, or pneumothorax", "effusion with no pneumothorax"
_JOINT = re.compile(
    r"\s*[,;]\s*(?:(?:and/or|and|or|nor|but|with|as well as)\s+)?"
    r"|\s+(?:and/or|and|or|nor|but|with|plus|as well as|along with)\s+|\s*/\s*"
)
# "a", and what says how much and where in front of a finding
_ADJECTIVES = re.compile(
    r"(?:\b(?:an?|the|left|right|bilateral|bibasilar|trace|minimal|tiny|small|mild|moderate|large|severe|borderline|focal|"
    r"new|patchy|subtle|possible|mildly|severely|moderately)\b[\s-]+(?:sided\s+)?)+\Z",
    re.IGNORECASE,
)
_PLURAL_VERB = re.compile(r"\s+(are|were|have)\b")
_SINGULAR = {"are": "is", "were": "was", "have": "has"}
# what a cut leaves without an object: "opacities are consistent", "atelectasis, likely"
_DANGLING = re.compile(
    r"(?:[\s,;]+(?:is|are|was|were|be|been|may|might|could|can|which|that|likely|probably|possibly|probable|possible|most|more"
    r"|consistent|compatible|suggest\w*|concerning|suspicious|worrisome|represent\w*|reflect\w*|indicat\w*|due|secondary|related"
    r"|of|to|for|from|in|at|on|by|and|or|nor|with|without|versus|vs|no|not|the|an?|superimposed|associated|adjacent"
    r"|underlying|overlying|there|also|but))+\Z",
    re.IGNORECASE,
)
_NO_START = re.compile(
    r"(?:of|is|are|was|were|has|have|had|may|might|could|can|with|without|which|that|due|to|for|from|by|nor|or|and|but|than"
    r"|versus|vs|noted|seen|identified)\b",
    re.IGNORECASE,
)
_BROKEN = re.compile(
    r"\b(?:an?|the|or|and|nor|of|no|with)\s+(?:which|is|are|was|were|has|have|of|or|and|nor|with|to)\b", re.IGNORECASE
)
_RELATIVE = re.compile(r"\bwhich\b")
_LAST_COMMA = re.compile(r",( (?:or|nor) )")
_MOST_ITEMS = 10


def shorten_sentence(text: str, is_dropped: Callable[[Mention], bool], parser: ReportParser) -> str | None:
    """`text` without the mentions that are dropped; None where no cut leaves the others as they are.

    Args:
        text: one sentence of a report.
        is_dropped: whether a mention of it goes.
        parser: reads `text` and its cuts.
    """
    mentions = sorted(parser.mentions_of(text), key=lambda mention: mention.start)
    kept = [mention for mention in mentions if not is_dropped(mention)]
    if not kept or len(kept) == len(mentions) or len(mentions) > _MOST_ITEMS:
        return None
    wanted = _statements(kept)
    for cut in _cuts(text, mentions, is_dropped):
        candidate = _as_sentence(cut, text)
        if _NO_START.match(candidate):
            continue
        read = parser.mentions_of(candidate)
        if _statements(read) == wanted and not _is_broken(candidate, read):
            return _agreeing(candidate, read)
    return None


def _is_broken(text: str, mentions: Sequence[Mention]) -> bool:
    """Whether words miss what they belong to: "a which", or a relative clause without anything before it."""
    first = min(mention.start for mention in mentions)
    return bool(_BROKEN.search(text)) or any(match.start() < first for match in _RELATIVE.finditer(text))


def _statements(mentions: Sequence[Mention]) -> Counter[tuple[object, ...]]:
    return Counter(
        (one.finding, one.assertion, one.laterality, one.severity, one.anatomy, one.change, one.is_current)
        for one in mentions
    )


def _cuts(text: str, mentions: Sequence[Mention], is_dropped: Callable[[Mention], bool]) -> Iterator[str]:
    """Texts without the items that are dropped, the most natural first."""
    body = text.rstrip(" .")
    joints = [match.span() for match in _JOINT.finditer(body) if not _is_inside(match.span(), mentions)]
    starts, ends = [0, *(end for _, end in joints)], [*(start for start, _ in joints), len(body)]
    items = list(zip(starts, ends, strict=True))
    dropped = [_drops(item, mentions, is_dropped) for item in items]
    kept = [at for at, drops in enumerate(dropped) if not drops]
    if kept and len(kept) < len(items):
        for with_last in (True, False):
            yield _joined(body, items, kept, with_last=with_last)
    for widen in (True, False):
        yield _without_words(body, items, mentions, is_dropped, widen=widen)


def _is_inside(span: tuple[int, int], mentions: Sequence[Mention]) -> bool:
    return any(mention.start < span[1] and span[0] < mention.end for mention in mentions)


def _drops(item: tuple[int, int], mentions: Sequence[Mention], is_dropped: Callable[[Mention], bool]) -> bool:
    inside = [is_dropped(mention) for mention in mentions if item[0] <= mention.start < item[1]]
    return bool(inside) and all(inside)


def _joined(body: str, items: Sequence[tuple[int, int]], kept: Sequence[int], *, with_last: bool) -> str:
    """The kept items; where others stood between two, the joint before the later one, or the last of the sentence."""
    text = body[slice(*items[kept[0]])]
    for at in kept[1:]:
        is_last = with_last and at == kept[-1] and kept[-1] != len(items) - 1
        until = items[-1][0] if is_last else items[at][0]
        joint = body[items[len(items) - 2][1] if is_last else items[at - 1][1] : until]
        text += joint + body[slice(*items[at])]
    return text


def _without_words(
    body: str,
    items: Sequence[tuple[int, int]],
    mentions: Sequence[Mention],
    is_dropped: Callable[[Mention], bool],
    *,
    widen: bool,
) -> str:
    """The text without the words of each dropped mention and the joint behind it, or before the last one.

    `widen`: also without the adjectives before it, unless another mention shares them.
    """
    text, cursor = "", 0
    for mention in mentions:
        if not is_dropped(mention):
            continue
        item = next((one for one in items if one[0] <= mention.start < one[1]), items[0])
        following = [one[0] for one in items if one[0] > item[0]]
        start = mention.start
        if widen and (adjectives := _ADJECTIVES.search(body, item[0], start)):
            start = adjectives.start()
        if following:
            end = following[0]
        else:
            start, end = min(start, _end_of_previous(items, item, start)), mention.end
        text += body[cursor : max(start, cursor)]
        cursor = max(end, cursor)
    return text + body[cursor:]


def _end_of_previous(items: Sequence[tuple[int, int]], item: tuple[int, int], default: int) -> int:
    return max((end for start, end in items if start < item[0]), default=default)


def _as_sentence(cut: str, original: str) -> str:
    text = _DANGLING.sub("", " ".join(cut.split()).strip(" ,;"))
    if text.count(",") == 1:
        text = _LAST_COMMA.sub(r"\1", text)  # "A, B, or C" without A is "B or C"
    end = "." if original.rstrip().endswith(".") else ""
    first = text[:1].upper() if original.lstrip()[:1].isupper() else text[:1]
    return first + text[1:] + end


def _agreeing(text: str, mentions: Sequence[Mention]) -> str:
    """`text` with the verb of one finding in the singular: "Edema are present." was said of two."""
    last = max(mentions, key=lambda mention: mention.end)
    verb = _PLURAL_VERB.match(text, last.end)
    is_plural = text[: last.end].endswith("s") and not text[: last.end].endswith("sis")
    if len(mentions) > 1 or verb is None or is_plural:
        return text
    return text[: verb.start(1)] + _SINGULAR[verb[1]] + text[verb.end(1) :]
