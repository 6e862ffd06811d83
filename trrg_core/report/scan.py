"""Matching: a sentence normalised, and every rule phrase in it: the first step from text to mentions."""

import re
import sys
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from trrg_core.report.lexicon import Entry, Lexicon, Term
from trrg_core.report.plain_wording import BETWEEN_COMMAS
from trrg_core.report.shorthand import ends_in_answer, written_out
from trrg_core.report.telling_words import ANY_WORD, WORDY

# hyphens and all kinds of space become a space, curly apostrophes straight ones; always one character for one
_AS_SPACE = dict.fromkeys(map(ord, "-\u2010\u2011\u2012\u2013\u2014\u00ad\n\r\t\v\f\0\u00a0\u2009\u202f\ufeff"), " ")
_TABLE = str.maketrans(_AS_SPACE | {0x2018: "'", 0x2019: "'"})
# of which no phrase has one
_OTHER_SIGNS = re.compile(r"[^\w -~]")
_GLUED = ("is", "are", "the")
_SPACES = re.compile("  +")
_MOST_WORDY = 6


@dataclass(slots=True)
class Hit:
    """A phrase of the rules at [start, end) of a plain sentence. Nothing changes it; frozen it takes twice as long."""

    start: int
    end: int
    entry: Entry

    def term(self, *roles: str) -> Term | None:
        """The first of the hit's terms with one of `roles`."""
        return next((term for term in self.entry.terms if term.role in roles), None)


@dataclass(slots=True)
class Plain:
    """A sentence in lower case with single spaces; `offsets` map to the original (None: unchanged).

    `words`: bits of the telling words in it.
    """

    text: str
    offsets: tuple[int, ...] | None = None
    words: int = ANY_WORD

    def original(self, start: int, end: int) -> tuple[int, int]:
        """The span of the original sentence that corresponds to [start, end) of the plain one."""
        return (start, end) if self.offsets is None else (self.offsets[start], self.offsets[end - 1] + 1)

    def plain_span(self, start: int, end: int) -> tuple[int, int]:
        """The span of the plain sentence that corresponds to [start, end) of the original one."""
        if self.offsets is None:
            return start, end
        return bisect_left(self.offsets, start), bisect_left(self.offsets, end)


@dataclass(slots=True)
class Scan:
    """All rule hits of one sentence: terms (the longest wins, none overlap) and attributes."""

    plain: Plain
    hits: Sequence[Hit] = ()
    attributes: Sequence[Hit] = ()
    has_target: bool = False


def plain_sentence(sentence: str) -> Plain:
    """`sentence` ready to be matched."""
    text = sentence.lower()
    if text.isascii() and text.isprintable():  # the hyphen is the only such character of the table
        text = text.replace("-", " ")
    else:
        if len(text) != len(sentence):  # a few letters become longer in lower case, which would shift the offsets
            text = "".join(char.lower() if len(char.lower()) == 1 else char for char in sentence)
        text = text.translate(_TABLE)
    if "  " not in text:
        return Plain(text)
    offsets: list[int] = []
    last = 0
    for gap in _SPACES.finditer(text):
        offsets.extend(range(last, gap.start() + 1))
        last = gap.end()
    offsets.extend(range(last, len(text)))
    return Plain(_SPACES.sub(" ", text), tuple(offsets))


def replaced(plain: Plain, start: int, end: int, words: str) -> Plain:
    """`plain` with `words` in place of [start, end)."""
    offsets = plain.offsets or tuple(range(len(plain.text)))
    at = tuple([offsets[min(start + number, end - 1)] for number in range(len(words))])
    return Plain(plain.text[:start] + words + plain.text[end:], offsets[:start] + at + offsets[end:])


def _without_slips(plain: Plain, sentence: str, lexicon: Lexicon) -> Plain:
    """`plain`, which is `sentence`, without signs and slips."""
    # no sign but a dash is a known word
    if lexicon.spelling.known.issuperset(plain.text.split()) and not ends_in_answer(sentence):
        return plain
    if (written := written_out(sentence)) is not None:
        plain = _composed(plain_sentence(written[0]), written[1])
    mended = lexicon.spelling.mended(plain.text)
    return plain if mended is None else _composed(Plain(*mended), plain.offsets)


def _composed(plain: Plain, before: tuple[int, ...] | None) -> Plain:
    """`plain` with its offsets in the text of which those `before` are."""
    if before is None:
        return plain
    return Plain(plain.text, before if plain.offsets is None else tuple([before[at] for at in plain.offsets]))


def scan_sentence(sentence: str, lexicon: Lexicon, *, everything: bool = False) -> Scan:
    """Every hit of the rules in `sentence`; none if it names nothing, unless `everything` is set."""
    plain = _without_slips(plain_sentence(sentence), sentence, lexicon)
    scan = scan_plain(plain, lexicon, everything=everything)
    if scan.has_target and plain.words & WORDY and (shorter := _in_plain_words(plain, lexicon)) is not plain:
        scan = scan_plain(shorter, lexicon, everything=everything)
    text = scan.plain.text
    if (
        scan.has_target
        and text.count(",") > 1
        and (match := BETWEEN_COMMAS.search(text))
        and _says_nothing(scan, *match.span(1))
    ):
        return scan_plain(replaced(scan.plain, *match.span(1), ""), lexicon, everything=everything)
    return scan


def _says_nothing(scan: Scan, start: int, end: int) -> bool:
    """Whether no rule knows a word between the commas at the ends of [start, end), behind something that is named."""
    for hit in (*scan.hits, *scan.attributes):
        if hit.start < end and hit.end > start and hit.entry.role != "comma":
            return False
    return any(hit.entry.is_target or hit.entry.is_place for hit in scan.hits if hit.end <= start)


def _in_plain_words(plain: Plain, lexicon: Lexicon) -> Plain:
    """`plain` in plainer words; the same where it is in such."""
    for _ in range(_MOST_WORDY):
        if (span := lexicon.wording.find(plain.text)) is None:
            break
        plain = replaced(plain, *span)
    return plain


def scan_plain(plain: Plain, lexicon: Lexicon, *, everything: bool = False) -> Scan:
    """The same for a sentence that is ready to be matched."""
    padded = f" {plain.text} "
    if not (padded.isascii() and padded.isprintable()):
        padded = _OTHER_SIGNS.sub("~", padded)
    spans: list[tuple[int, int, Entry]] = []
    attributes: list[Hit] = []
    has_target = False
    words = 0
    # a match in the padded text ends where it ends in the plain one, less one for the space and plus one for the end
    for end, entry in lexicon.automaton.iter(padded):
        if entry.closes_word and padded[end + 1].isalnum():
            continue
        start = end - entry.length
        if entry.opens_word and padded[start].isalnum() and not (entry.is_target and _is_glued(padded, start)):
            continue
        words |= entry.words
        if entry.terms:
            spans.append((start, -end, entry))
            if entry.is_target:
                has_target = True
        if entry.describes:
            attributes.append(Hit(start, end, entry))
    if not has_target and not everything:
        return Scan(plain)
    plain.words = words
    return Scan(plain, _longest(spans), attributes, has_target)


def _is_glued(padded: str, at: int) -> bool:
    """Whether nothing but a verb or article stands before a word without a space: "isenlarged"."""
    return padded[padded.rfind(" ", 0, at) + 1 : at + 1] in _GLUED


def add_spans(scan: Scan, spans: Sequence[tuple[int, int, str]], *, wins: bool = False) -> Scan:
    """`scan` with (start, end, finding) of the original sentence named too, where the rules name no finding.

    With `wins` the spans replace overlapping hits of the rules; a span without a finding then names nothing.
    """
    merged: list[Hit] = []
    rest = iter(scan.hits)
    hit = next(rest, None)
    for first, last, finding in sorted((*scan.plain.plain_span(start, end), name) for start, end, name in spans):
        while hit is not None and hit.end <= first:
            merged.append(hit)
            hit = next(rest, None)
        overlapping = []
        while hit is not None and hit.start < last:
            overlapping.append(hit)
            hit = next(rest, None)
        reaches_in = bool(merged) and merged[-1].end > first
        if first < last and not reaches_in and (wins or not any(one.entry.is_target for one in overlapping)):
            merged.extend([Hit(first, last, named_entry(finding))] if finding else [])
        else:
            merged.extend(overlapping)
    if hit is not None:
        merged.extend((hit, *rest))
    return Scan(scan.plain, merged, scan.attributes, any(one.entry.is_target for one in merged))


def add_hits(scan: Scan, hits: Sequence[Hit]) -> Scan:
    """`scan` with further `hits`, where they overlap none of its own."""
    free = [new for new in hits if not any(hit.start < new.end and new.start < hit.end for hit in scan.hits)]
    merged = sorted([*scan.hits, *free], key=lambda hit: hit.start)
    return Scan(scan.plain, merged, scan.attributes, scan.has_target)


def names_finding(scan: Scan, start: int, end: int) -> bool:
    """Whether a hit that starts in [start, end) names a finding."""
    return any(hit.entry.is_finding for hit in scan.hits if start <= hit.start < end)


def named_entry(finding: str) -> Entry:
    """The entry of a span that names `finding` by another source than the rules."""
    return made_entry("finding", finding)


def made_entry(role: str, name: str, *, length: int = 0) -> Entry:
    """The entry of a span to which another source than the rules gives a term."""
    is_finding = role == "finding"
    return Entry(
        length=length,
        role=role,
        opens_word=True,
        closes_word=True,
        has_verb=False,
        is_target=is_finding,
        is_finding=is_finding,
        is_state=False,
        is_place=False,
        directions=frozenset(),
        turns=False,
        terms=(Term(role=role, name=name),),
        attributes=(),
        part="finding" if is_finding else "",
    )


# a sentinel after the last finding of any sentence
_BEYOND = Hit(sys.maxsize, sys.maxsize, named_entry(""))


def _longest(spans: list[tuple[int, int, Entry]]) -> list[Hit]:
    """Leftmost-longest hits, findings first: a phrase hides those inside it, a finding every cue it overlaps."""
    spans.sort()  # no two have the same span, so entries are never compared
    findings: list[Hit] = []
    reached = 0
    for span in spans:
        if span[2].is_finding and span[0] >= reached:
            reached = -span[1]
            findings.append(Hit(span[0], reached, span[2]))
    findings.append(_BEYOND)
    ahead = iter(findings)
    following = next(ahead)
    limit = following.start
    hits: list[Hit] = []
    reached = 0
    for start, negative_end, entry in spans:
        if start < reached:
            continue
        while limit <= start:
            reached = following.end
            hits.append(following)
            following = next(ahead)
            limit = following.start
        if start >= reached and limit >= -negative_end:
            reached = -negative_end
            hits.append(Hit(start, reached, entry))
    if following is not _BEYOND:
        hits.extend((following, *list(ahead)[:-1]))
    return hits
