"""Sentences that name no finding and speak of the one before: "A moderate one on the left.", "It is unchanged."

The word that stands for the finding becomes a span that names it; the rules of a sentence then read it as any other.
"""

import re
from collections.abc import Mapping, Sequence
from operator import itemgetter

from trrg_core.labels import Assertion
from trrg_core.report.attribute_marks import OPPOSITE
from trrg_core.report.attribute_words import THERE
from trrg_core.report.midline import MIDLINE
from trrg_core.report.parsed import Mention, build_value

_THERE_IS = r"(?:there(?:'s| (?:is|are|was|were|exists?|remains?|(?:appears?|seems?|continues?) to be))|we see|i see)"
_ONE = re.compile(
    rf"(?:(?:now|today|currently),? )?(?:(?:on|in|at) the (?:left|right),? )?(?:{_THERE_IS} )?(?:also )?"
    r"(?:an?|another|the)?(?:"
    r" ?[a-z]+){0,3}? ?\b(ones?)\b"
    r"|(that|those) (?:on|in|at) the (?:left|right)\b"
    r"|(the (?:left|right))(?: side)? (?:is|has|was|remains|appears)\b",
    re.I,
)
_NONE = re.compile(
    rf"(?:(?:today|now|currently),? )?(?:{_THERE_IS} )?(none)\b"
    r"(?= (?:is |are |was |were )?(?:seen |identified |present |noted |evident )?(?:on|in|at)\b"
    r"| (?:is|are) (?:seen|visible|identified|present|noted|evident|found)\b)",
    re.I,
)
# "I can find no sign of it", "there is none"
_DENIED = re.compile(
    r"\b(?:no|without|any) (?:sign|evidence|trace|hint|suggestion|indication)s? of (it|one|this|that|them|these)\b"
    r"|\b(?:cannot|can't|can not|could not|do not|did not|unable to) (?:see|find|identify|detect|make out) (it"
    r"|one|any|them|these)\b"
    r"|\bfree (?:of|from) (it|this|them|these)\b"
    r"|\b(?:film|radiograph|x ray|x-ray|study|examination|image) (?:shows|reveals|demonstrates) (none)\b"
    r"|^(?:(?:but|however|today|now|currently|on this film),? )?there(?:'s| (?:is|are)) (none|not)"
    r"(?: today| now| any more)?\.?\Z",
    re.I,
)
# "Effusions: Right: none. Left: small."
_SIDE_ANSWER = re.compile(
    r"(left|right|l|r)(?: side)? ?(?:[:=-]|is) ?"
    r"(?=(?:none|nil|no|absent|negative|small|moderate|large|trace|tiny|minimal|mild|severe)\b[^a-z]*\Z)",
    re.I,
)
# in front of another statement: "That one has cleared, but a new right infiltrate has come up."
_GONE_CLAUSE = re.compile(
    r"(?:it|(?:that|this)(?: one)?|they|these|those)(?= (?:has|have|is|are) (?:since |now |completely |entirely )*"
    r"(?:cleared|resolved|disappeared|gone|no longer (?:seen|visible|present))(?:,|;| and| but))",
    re.I,
)
PRONOUNS_IN_FRONT = (
    "It ",
    "it ",
    "That ",
    "that ",
    "This ",
    "this ",
    "They ",
    "they ",
    "These ",
    "Those ",
    "Both ",
    "both ",
)
# where what a pronoun tells ends and another statement begins: "It is small, and there is no shift."
_NEXT_CLAUSE = re.compile(
    r"[,;](?: (?:and|but|while|with|yet))? (?=[a-z])"
    r"| (?:and|but)(?= (?:there|no|new|an?|the)\b| [a-z]+s (?:the|an?)\b)",
    re.I,
)
_PRONOUNS = ("it", "this", "these", "they", "both")
# not of another thing: "both lungs are clear", "this film is unchanged"
_ALONE = (
    r"(?=[^a-z]*\Z|[^a-z ]| (?:(?:is|are|was|were|has|have|had|remains?|appears?|looks?|seems?|persists?|again|also"
    r"|still|now|probably|not|no|small|moderate|large|tiny|trace|mild|minimal|severe|on|in|at|unchanged|stable"
    r"|new|larger"
    r"|smaller|slightly|mildly|minimally|markedly|significantly|somewhat|improv(?:ed|ing)|worse|worsen(?:ed|ing)"
    r"|increas(?:ed|ing)|decreas(?:ed|ing)|resolv(?:ed|ing)|cleared|gone|lies?|measures?|extends?|may|might|could)\b))"
)
_PRONOUN = re.compile(
    rf"(it|they|(?:this|that|these|both)\b{_ALONE})\b"
    r"(?! (?:\w+ )?(?:may|might|could|likely|represents?|reflects?|suggests?))",
    re.I,
)
# a sentence that only says how what was named before has changed: "Unchanged.", "Slightly larger than before."
_CHANGES = (
    *("unchanged", "stable", "larger", "smaller", "improved", "worse", "worsened", "increased", "decreased", "new"),
    *("resolved", "slightly", "mildly", "minimally", "markedly", "significantly", "somewhat", "not significantly"),
)
_BEGINS = (*_PRONOUNS, *_CHANGES, "that", "those", "the left ", "the right ", "on the ", "in the ", "at the ")
_CLAUSE_ENDS = (",", ";", " and", " but")
_BARE = re.compile(
    r"((?:slightly |mildly |minimally |markedly |significantly |somewhat |not (?:significantly |much )?)?"
    r"(?:unchanged|stable|larger|smaller|improved|worse|worsened|increased|decreased|new|resolved|changed))"
    r"(?: (?:in (?:size|appearance|extent|the interval)|overall|now|today))?"
    r"(?: (?:from|since|compared|when compared|as compared|relative to|than|on today)\b[^,;]*)?[.!]?$",
    re.I,
)
# a side before what was found there, "R: small effusion", which in a line of its own holds for those below it
_SIDE_LABEL = re.compile(
    r"(?:on the |at the )?(left|right|bilateral(?:ly)?|both|l|r)"
    r"(?: (?:lungs?|sides?|chest|hemithorax|bases?|ap(?:ex|ices)|pleura|pleural space|(?:upper|lower) (?:lobe|zone)))?"
    r"[ \t]*:[ \t\r]*(\n|\Z)?",
    re.I,
)
# "RIBS, LEFT: no fracture"
_SIDE_IN_LABEL = re.compile(
    r"[A-Za-z][A-Za-z /]{1,30}(?:, ?| ?\(| ?- ?)(left|right|bilateral|both sides)\)?[ \t]*:", re.I
)
_BARE_SIDE = re.compile(r"(left|right)(?: (?:lung|side|chest|hemithorax))?", re.I)
LONGEST_SIDE = len("right hemithorax")
_PAIRED = re.compile(r"(?:lungs?|pleurae?|pleural spaces?|(?:upper|mid|middle|lower) (?:zone|lobe)|base|apex) ?:", re.I)
# what takes its side from the finding of the sentence before
_RELATIVE_SIDE = re.compile(rf"\b(?:((?:same|that) side|{THERE})|(?:other|opposite) side)\b", re.I)
_ONE_SIDE = re.compile(r"\b(?:left|right)\b", re.I)
_SIDES = {"l": "left", "r": "right", "b": "bilateral"}
# over a list whose items speak of it: "Effusions:\n- left: small\n- right: none"
_TITLE_OF_LIST = re.compile(r"([A-Za-z][^:\n]{0,40}):[ \t\r]*\n")
_ANY_DEVICE = "other_device"
_DEVICES = {
    "tube": ("endotracheal_tube", "enteric_tube", "chest_tube", "tracheostomy"),
    "catheter": ("central_venous_catheter", "chest_tube"),
    "line": ("central_venous_catheter",),
    "drain": ("chest_tube",),
}
_DEFINITE = re.compile(r"\b(?:the|this|that) \Z", re.I)
# "Line in good position.", of what the report has named before
_BARE_DEVICE = re.compile(
    r"(?:(?:good|satisfactory|unchanged|stable|adequate|appropriate) )?(?:tube|line|catheter|drain)s?", re.I
)
_BARE_WORDS = (
    *("Tube", "Line", "Catheter", "Drain", "TUBE", "LINE", "CATHETER", "DRAIN"),
    *("Good ", "Satisfactory ", "Unchanged ", "Stable ", "Adequate ", "Appropriate "),
)
NAMED_DEVICES = frozenset(name for names in _DEVICES.values() for name in names)
_LONGEST_ARTICLE = len(" that ")
_GONE = re.compile(r"resol|clear|gone|disappear|vanish|no longer|remov")
_LONGEST = 120
# "not seen today", of what the sentence before tells of the past
_NOT_NOW = re.compile(
    r"(?:(?:is |are )?(?:now |today )?(?:not|no longer) (?:seen|visible|present|evident|identified|apparent|there)"
    r"|(?:now |today |since )?(?:gone|cleared|resolved)|none)"
    r"(?: (?:since|since then|now|today|currently|any more|anymore|on this (?:film|study)))?\.?",
    re.I,
)
_LONGEST_DENIAL = len("are currently no longer identified on this study.")
_TOLD_PAST = re.compile(r"\b(?:was|were|had|saw|showed|demonstrated|revealed)\b", re.I)
_EARLIER = re.compile(
    r"\b(?:yesterday|previous(?:ly)?|prior|earlier|before|last|this morning|ago|(?:on|in) (?:\d|[a-z]+ary|march|april"
    r"|may|june|july|august|[a-z]+(?:to|em)ber))\b",
    re.I,
)


def find_stand_in(sentence: str, before: Sequence[Mention]) -> tuple[int, int, str] | None:
    """(start, end, finding) of the word of `sentence` that stands for the finding of the sentence before it."""
    if len(sentence) > _LONGEST:
        return None
    words = sentence.lower()
    may_deny = (
        " it" in words
        or " one" in words
        or " any" in words
        or " them" in words
        or "none" in words
        or "there is not" in words
        or "there's not" in words
    )
    denied = _DENIED.search(sentence) if may_deny else None
    if denied:
        return (*denied.span(denied.lastindex or 1), before[-1].finding)
    if (
        "one" not in words
        and not words.startswith(("left", "right", "l:", "r:", "l ", "r "))
        and not words.startswith(_BEGINS)
    ):
        return None
    match = _SIDE_ANSWER.match(sentence) or _NONE.match(sentence) or _ONE.match(sentence)
    if match is None:
        match = _PRONOUN.match(sentence) or _BARE.match(sentence)
        # "it" is one thing that is there
        if match and (len({one.finding for one in before}) != 1 or before[-1].assertion is Assertion.ABSENT):
            return None
    return (*match.span(match.lastindex or 1), before[-1].finding) if match else None


def deny_now(sentence: str, before: Sequence[Mention], stated: str) -> tuple[Mention, ...]:
    """The denial by "Not seen today." of the finding `before`, where `stated` tells of the past; none where not so."""
    if len(sentence) > _LONGEST_DENIAL or not _NOT_NOW.fullmatch(sentence):
        return ()
    if not (is_told_past(stated) or before[-1].historical) or len({one.finding for one in before}) != 1:
        return ()
    of_now = {"assertion": Assertion.ABSENT, "rule": "stand_in", "cue": sentence, "historical": False}
    return (with_values(before[-1], start=0, end=len(sentence), severity="", **of_now),)


def end_of_denial(sentence: str) -> int:
    """Where the clause ends by which `sentence` first denies what the one before it named; 0 for none."""
    match = _GONE_CLAUSE.match(sentence)
    return min(at for at in (sentence.find(end, match.end()) for end in _CLAUSE_ENDS) if at > 0) if match else 0


def end_of_clause(sentence: str, first: int) -> int:
    """Where the clause ends that stands in front of the first finding of `sentence`, from `first` on; 0 for none."""
    match = _NEXT_CLAUSE.search(sentence)
    return match.start() if match and match.start() < first else 0


def of_both(sentence: str, before: Sequence[Mention]) -> tuple[Mention, ...]:
    """The two things that "both" stands for in front of `sentence`; none where it stands for sides or other numbers."""
    if not sentence.startswith(("Both ", "both ")) or len(before) != 2 or before[0].finding == before[1].finding:
        return ()
    return tuple(before) if all(one.assertion is not Assertion.ABSENT for one in before) else ()


def is_told_past(sentence: str) -> bool:
    """Whether `sentence` tells of the past: "a small effusion was seen yesterday"."""
    return _TOLD_PAST.search(sentence) is not None


def replaces(mentions: Sequence[Mention], before: Sequence[Mention], stated: str) -> bool:
    """Whether `mentions`, which speak of the finding `before` that `stated` tells of the past, say what became of it.

    "There was a small effusion yesterday" is a statement of its own, and so is a question.
    """
    if stated.endswith("?") and [one.finding for one in mentions] == [one.finding for one in before]:
        return True  # an answer
    is_own = (
        stated[:7].lower() == "there w"
        or before[-1].hypothetical
        or not (is_told_past(stated) or before[-1].historical)
    )
    return not is_own and (mentions[0].assertion is Assertion.ABSENT or _EARLIER.search(stated) is not None)


def on_side_of_before(mentions: Sequence[Mention], sentence: str, before: Sequence[Mention]) -> tuple[Mention, ...]:
    """`mentions` with the side that "on the same side" or "on the other side" has from the finding `before`."""
    match = _RELATIVE_SIDE.search(sentence)
    side = before[-1].laterality if match else ""
    if match is None or side not in OPPOSITE or _ONE_SIDE.search(sentence, 0, match.start()):
        return tuple(mentions)
    return on_side(mentions, side if match[1] else OPPOSITE[side])


def names_device(sentence: str) -> bool:
    """Whether `sentence` may hold "the tube" or the like, or begins with it."""
    if sentence.startswith(_BARE_WORDS):
        return True
    return "tube " in sentence or "line " in sentence or "catheter " in sentence or "drain " in sentence


def of_devices_before(
    mentions: Sequence[Mention], sentence: str, before: Sequence[Mention], devices: Mapping[str, Mention]
) -> tuple[Mention, ...]:
    """`mentions` in which "the tube" and the like are the device that was named last: "the tube should be advanced".

    A bare "Line in good position." is that of the report's `devices`, by finding, which was named last.
    """
    newest = {one.finding: (number, one) for number, one in enumerate(before)}
    named: list[Mention] = []
    for number, one in enumerate(mentions, len(before)):
        known = _known_devices(one, sentence, newest, devices) if one.finding == _ANY_DEVICE else []
        if known:
            device = max(known, key=itemgetter(0))[1]
            one = with_values(one, finding=device.finding, laterality=one.laterality or device.laterality)
        newest[one.finding] = (number, one)
        named.append(one)
    return tuple(named)


def _known_devices(
    mention: Mention, sentence: str, newest: Mapping[str, tuple[int, Mention]], devices: Mapping[str, Mention]
) -> list[tuple[int, Mention]]:
    """The devices that a bare tube, line or the like may be, each with its number."""
    word = sentence[mention.start : mention.end].lower()
    if _DEFINITE.search(sentence, max(0, mention.start - _LONGEST_ARTICLE), mention.start):
        return [newest[finding] for finding in _DEVICES.get(word, ()) if finding in newest]
    if _BARE_DEVICE.fullmatch(sentence, 0, mention.end):
        of_word = _DEVICES.get(word.rstrip("s"), ())
        return [(at, one) for at, one in enumerate(devices.values()) if one.finding in of_word]
    return []


def under_label(mentions: Sequence[Mention], sentence: str, side: str) -> tuple[str, tuple[Mention, ...]]:
    """The side that holds behind `sentence`, which has a label, and its `mentions` under the heading of `side`.

    That holds on where the label is a finding or a place of each side: "Effusion: large", "Pleura: clear".
    """
    if heading := _heading_side(sentence):
        return heading, tuple(mentions)
    if side and (_PAIRED.match(sentence) or (mentions and mentions[0].end <= sentence.find(":"))):
        return side, on_side(mentions, side)
    return "", tuple(mentions)


def bare_side(sentence: str) -> str:
    """The side of a heading without a colon, in a line of its own: "LEFT HEMITHORAX"; "" for none."""
    match = _BARE_SIDE.fullmatch(sentence)
    return match[1].lower() if match else ""


def _heading_side(sentence: str) -> str:
    """The side in the heading that `sentence` begins with ("RIGHT:\nModerate effusion"); "" for none."""
    match = _SIDE_LABEL.match(sentence)
    return _SIDES[match[1][0].lower()] if match and match[2] is not None else ""


def label_side(sentence: str) -> str:
    """The side in the label that `sentence` begins with ("Right lung: opacity, effusion"); "" for none."""
    match = _SIDE_LABEL.match(sentence) or _SIDE_IN_LABEL.match(sentence)
    return _SIDES[match[1][0].lower()] if match else ""


def title_of_list(sentence: str) -> str:
    """The title over the first item of a list that `sentence` is ("Effusions:\n- left: small"); "" for none."""
    match = _TITLE_OF_LIST.match(sentence)
    return match[1] if match else ""


def of_title(title: str, item: str, mentions: Sequence[Mention]) -> tuple[Mention, ...]:
    """What `item` says of the `title` over its list; `mentions` are those of both together."""
    says = [
        one
        for one in mentions
        if one.assertion is not Assertion.PRESENT
        or one.end > len(title)
        or any((one.laterality, one.severity, one.change, one.size))
    ]
    return tuple(with_values(one, start=0, end=len(item)) for one in says)


def on_side(mentions: Sequence[Mention], side: str) -> tuple[Mention, ...]:
    """`mentions` behind the label of a side or below its heading, which is that of each that names no other."""
    return tuple(
        one if one.laterality or one.finding in MIDLINE else with_values(one, laterality=side) for one in mentions
    )


def complete(
    mentions: Sequence[Mention], sentence: str, before: Sequence[Mention], *, was_past: bool = False
) -> tuple[Mention, ...]:
    """`mentions` of a stand-in, with what the sentence before says of the same thing, which `was_past` tells of then.

    None for a pronoun of which nothing is said: neither where, how much, since when, nor that it is gone.
    """
    (mention,), antecedent = mentions, before[-1]
    word = sentence[mention.start : mention.end].lower()
    if word in ("none", "not") or (mention.assertion is Assertion.ABSENT and _DENIED.search(sentence)):
        return (with_values(mention, assertion=Assertion.ABSENT, rule="stand_in", cue=word),)
    if word in _SIDES or word in _SIDES.values():
        return (mention,)
    if word in ("one", "ones", "that", "those"):
        is_gone = mention.assertion is Assertion.ABSENT and not mention.laterality
        if mention.change and mention.historical:
            mention = with_values(mention, historical=False)  # "that was there in 2018 and looks no different"
        return (with_values(mention, laterality=antecedent.laterality) if is_gone else mention,)
    if word in ("the left", "the right"):
        # "the left is clear" may speak of the lung
        return (mention,) if antecedent.laterality and (mention.change or mention.severity) else ()
    if mention.assertion is Assertion.ABSENT:
        if not (was_past or _GONE.search(mention.cue)):  # "this is not seen on the lateral view"
            return ()
    elif not (mention.change or mention.severity or mention.laterality):
        return ()
    if word == "both" and antecedent.laterality:
        mention = with_values(mention, laterality=antecedent.laterality)
    # the degree of then is not that of now: "was moderate this morning. Now smaller."
    kinds = ("laterality", "anatomy") if was_past and mention.change else ("laterality", "severity", "anatomy")
    return (with_antecedent(mention, antecedent, kinds, historical=mention.historical and not mention.change),)


def with_antecedent(mention: Mention, antecedent: Mention, kinds: Sequence[str], **values: object) -> Mention:
    """`mention` with `values`, and of `kinds` what it does not say itself, and the doubt, of its `antecedent`."""
    inherited = {kind: getattr(mention, kind) or getattr(antecedent, kind) for kind in kinds}
    is_doubted = antecedent.assertion is Assertion.UNCERTAIN and mention.assertion is Assertion.PRESENT
    assertion = Assertion.UNCERTAIN if is_doubted else mention.assertion
    return with_values(mention, **inherited, assertion=assertion, **values)


def with_values(mention: Mention, **values: object) -> Mention:
    """`mention` with other `values` of its fields."""
    return build_value(Mention, vars(mention) | values)
