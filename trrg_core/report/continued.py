"""Sentences that go on about findings of the one before, read with the name of the finding put in.

"Compared with last week this is clearing", behind one that names a consolidation, is read as "compared with last week
the consolidation is clearing"; "the former is stable; the latter has progressed" as two such statements; "not seen on
earlier films" as "consolidation not seen on earlier films".
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trrg_core.labels import Assertion
from trrg_core.report.neighbours import with_antecedent, with_values
from trrg_core.report.parsed import Mention

# where one clause ends and another begins
_NEXT = re.compile(
    r"[;,] (?:and |but |while |whereas |yet )?(?=(?:it|they|this|that|the (?:former|latter|first|second))\b)"
    r"| (?:and|but|while|whereas|yet) (?=(?:it|they|the (?:former|latter|first|second))\b)",
    re.I,
)
_FRAME = (
    r"(?:(?:(?:as )?compared (?:with|to)|relative to|since|on|in|at|after|following|over|overnight|today|now|currently"
    r"|then|by|again|however|unfortunately|fortunately)\b(?: [^,;:.]{0,40}?)?,? )?"
)
_IS = (
    r"(?:is|are|was|were|has|have|had|remains?|appears?|looks?|seems?|persists?|measures?"
    r"|lies?)(?:n't)?"
)
# "it is unchanged", "since Monday this has grown"
_PRONOUN = re.compile(
    rf"{_FRAME}(?:(it|this|that|they|these|those|both)|the (former|latter|first|second))"
    rf"(?: (?:one|finding|abnormality|change|process|lesion)s?)? "
    rf"(?=(?:{_IS}|worse|better|larger|smaller|bigger|unchanged|stable|new|gone|improved|increased|decreased)\b)",
    re.I,
)
# "its extent has diminished"
_OF_IT = re.compile(rf"(its|their) (?:size|extent|number|appearance|margins?|density|volume|degree) (?={_IS}\b)", re.I)
# "neither has changed"
_NEITHER = re.compile(r"(neither|none)(?: of (?:them|these|the two|which))? (has|have|is|are) (?=[a-z])", re.I)
# "not seen on earlier films", "now small", "gone today"; not "stable mediastinal contour"
_ADVERB = (
    r"(?:today|now|currently|already|still|again,?|since|previously|newly|slightly|markedly|much|somewhat|mildly"
    r"|minimally|not|no longer|only|first|barely|hardly|perhaps|probably)"
)
BARE = re.compile(
    rf"(?:(?:{_ADVERB} ){{1,3}}(?:seen|visible|present|visualized|visualised|identified|evident|noted|there|described"
    rf"|small|large|moderate|trace|tiny|mild|minimal|severe)|(?:{_ADVERB} ){{0,3}}(?:unchanged|stable|larger|smaller"
    r"|bigger|improved|improving|worse|worsened|worsening|better|increased|increasing|decreased|decreasing|resolved"
    r"|resolving|clearing|cleared|gone|new|similar|progressed|same (?:size|appearance|extent)|identical|as before"
    r"|no (?:progression|growth|different)|unaltered|persisting|persistent|grown|shrunk|enlarged|diminished|reduced))"
    r"(?=[.,;]|$| (?:since|from|compared|when|than|on|in|at|as|today|now|for|over|and|but|after|following|again"
    r"|by|to)\b)",
    re.I,
)
# in front of a finding that has changed as the one before: "So have the effusions."
SO_HAS = tuple(f"{so} {verb} " for so in ("So", "so") for verb in ("has", "have", "is", "are", "did", "do", "does"))
_ADVICE = re.compile(r"\b(?:follow|recommend|suggest|advis|correlat|please|ct\b|if\b)", re.I)
_IS_OF_PLACE = re.compile(r"([a-z -]{3,40}?)(?: size)? (?:is|are|was|were) ")
_LONGEST, _LONGEST_WORDS = 140, 40
_MOST = 3


@dataclass(frozen=True)
class Continuation:
    """A statement about `antecedent`, read as `text`; [start, end) of the sentence are the words that stand for it."""

    text: str
    antecedent: Mention
    start: int
    end: int


def continued(sentence: str, before: Sequence[Mention], stated: str) -> Iterator[Continuation]:
    """The statements of `sentence`, which names no finding, about those `before` it in the sentence `stated`."""
    if len(sentence) > _LONGEST or not (_begins_so(sentence) or _NEITHER.match(sentence) or _OF_IT.match(sentence)):
        return
    cuts = [match.span() for match in _NEXT.finditer(sentence) if _begins_so(sentence[: match.start()])][: _MOST - 1]
    starts, ends = [0, *[end for _, end in cuts]], [*[start for start, _ in cuts], len(sentence)]
    for start, end in zip(starts, ends, strict=True):
        clause = sentence[start:end]
        if neither := _NEITHER.match(clause):
            for one in _meant("both", before, stated):
                name = _name(one, stated)
                wording = f"the {name} {neither[2].lower()} not {clause[neither.end() :]}"
                yield Continuation(wording, one, start, start + neither.end(1))
        elif pronoun := _PRONOUN.match(clause) or _OF_IT.match(clause):
            antecedents = _meant(pronoun[pronoun.lastindex or 1], before, stated)
            for one in antecedents:
                name = _name(one, stated)
                first, last = pronoun.span(pronoun.lastindex or 1)
                wording = clause[:first] + f"the {name} " + clause[pronoun.end() :]
                yield Continuation(wording, one, start + first, start + last)
        elif not start and (bare := BARE.match(clause)) and len({one.finding for one in before}) == 1:
            wording = clause[: _end_of_statement(clause)]
            name = _name(before[-1], stated)
            yield Continuation(f"{name} {wording[:1].lower()}{wording[1:]}", before[-1], *bare.span())
        else:
            return


def of_continued(found: Sequence[Mention], one: Continuation, *, was_past: bool) -> Mention | None:
    """What the statement `one` says, of which `found` are the mentions; None where it says nothing that is known."""
    named = [mention for mention in found if mention.finding == one.antecedent.finding]
    if len(found) != 1 or len(named) != 1:
        return None
    mention, antecedent = named[0], one.antecedent
    if mention.hypothetical or (mention.historical and not mention.change):
        return None
    if antecedent.historical and mention.assertion is not Assertion.ABSENT:
        return None
    if mention.assertion is Assertion.ABSENT:
        if not (was_past or antecedent.historical or _GONE.search(mention.cue)):
            return None  # "this is not seen on the lateral view"
    elif not (mention.change or mention.severity or mention.laterality):
        return None
    keeps_degree = mention.assertion is not Assertion.ABSENT and not (was_past and mention.change)
    kinds = ("laterality", "severity", "anatomy") if keeps_degree else ("laterality", "anatomy")
    values = {"start": one.start, "end": one.end, "historical": False}
    return with_antecedent(mention, antecedent, kinds, **values)


def as_before(mentions: Sequence[Mention], before: Sequence[Mention]) -> tuple[Mention, ...]:
    """`mentions` of "So has the edema.", with the change, or the denial, of the finding before."""
    last = before[-1]
    is_gone = last.assertion is Assertion.ABSENT
    values = {"assertion": last.assertion, "rule": last.rule, "cue": last.cue} if is_gone else {}
    return tuple(with_values(one, **values, change=one.change or last.change) for one in mentions)


def _begins_so(clause: str) -> bool:
    """Whether `clause` is a statement, and not only the frame of one: "compared with last week"."""
    return (_PRONOUN.match(clause) or BARE.match(clause)) is not None


_GONE = re.compile(r"resol|clear|gone|disappear|vanish|no longer|remov|out\b|now")


def _meant(word: str, before: Sequence[Mention], stated: str) -> Sequence[Mention]:
    """The findings of `before` that a pronoun stands for; none where that is open or they are denied."""
    word = {"its": "it", "their": "they"}.get(word.lower(), word.lower())
    findings = list({one.finding: one for one in before}.values())
    if any(one.assertion is Assertion.ABSENT for one in before):
        is_place = len(before) == 1 and _IS_OF_PLACE.match(stated[before[0].start : before[0].end].lower())
        return before if is_place and word in ("it", "this", "they", "these") else ()
    if word in ("former", "first", "latter", "second"):
        return (findings[0 if word in ("former", "first") else 1],) if len(findings) == 2 else ()
    if word in ("both", "they", "these", "those"):
        return findings if len(findings) <= 2 else ()
    return (before[-1],) if len(findings) == 1 else ()


def _name(mention: Mention, stated: str) -> str:
    """The words for the finding of `mention` in `stated`; its own name where they are more than a noun."""
    words = stated[mention.start : mention.end].lower()
    if mention.assertion is Assertion.ABSENT and (place := _IS_OF_PLACE.match(words)):
        return place[1]  # "the heart was normal in size"
    is_noun = re.fullmatch(r"[a-z -]{3,40}", words) and not re.search(r"\b(?:is|are|was|were|has|have|size)\b", words)
    return words if is_noun and len(words) <= _LONGEST_WORDS else mention.finding.replace("_", " ")


def _end_of_statement(clause: str) -> int:
    """Where advice begins behind a statement: "not seen before, follow-up is suggested"."""
    comma = clause.find(",")
    return comma if comma > 0 and _ADVICE.search(clause, comma) else len(clause)
