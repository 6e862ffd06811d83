"""Mentions of one sentence: text in, findings with assertion, cue, rule and attributes out."""

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from trrg_core.labels import Assertion
from trrg_core.report.assertion import Asserted, assert_candidates
from trrg_core.report.attributes import describe
from trrg_core.report.candidates import Candidate, find_candidates
from trrg_core.report.clauses import find_boundaries
from trrg_core.report.conditions import as_statement
from trrg_core.report.elisions import without_clauses
from trrg_core.report.ellipsis import with_left_out
from trrg_core.report.embedded import move_cues
from trrg_core.report.lexicon import Lexicon
from trrg_core.report.lists import leading_words, split_list
from trrg_core.report.neighbours import label_side, on_side
from trrg_core.report.parsed import Mention, build_value
from trrg_core.report.past_statements import mark_past
from trrg_core.report.positions import find_positions
from trrg_core.report.run_ons import add_run_on_stops
from trrg_core.report.scan import Plain, Scan, add_spans, scan_plain, scan_sentence
from trrg_core.report.stand_ins import add_stand_ins
from trrg_core.report.statements import split_statements
from trrg_core.report.telling_words import NOT, PAST
from trrg_core.report.titles import find_titles, share_with_members

_Span = tuple[int, int, str]
# what lies in the middle: a side stated of it is that of a place
# between a finding and the lung that it is in
_IN_LUNG = re.compile(
    r" (?:in|within|of|at|throughout|involving|over|inside)"
    r"(?: (?:the|both|each|left|right|upper|lower|mid|middle|entire))* "
)
_WITHOUT_SIDE = frozenset(("endotracheal_tube", "tracheostomy", "enteric_tube", "cardiomegaly", "aortic_tortuosity"))
# what is said of a device behind its part: "the cuff of the tube is overinflated", "leads without fracture"
_OF_DEVICE = {
    "hyperinflation": re.compile(r"\b(?:cuff|balloon)\b(?:(?!\blungs?\b)[^,;.])*\Z"),
    "fracture": re.compile(
        r"\b(?:leads?|wires?|sternotomy)\b(?:(?!\b(?:there|ribs?|bones?|clavicle|and an?)\b)[^,;.])*\Z"
    ),
}
_BROKEN_DEVICE = re.compile(
    r"(?:broken (?:[a-z]+ ){0,2}|fracture(?:d|s)? (?:of (?:the |an? )?)?(?:(?:left|right|ventricular|atrial|lower"
    r"|epicardial|upper|first|second|third|inferior|superior|median|pacemaker|pacing|pacer|icd|defibrillator"
    r"|port|picc|central|old"
    r"|most|single|two|shunt|chest) ){0,4})"
    r"(?:sternotomy|sternal|wires?|leads?|catheters?|lines?|clips?|screws?|rods?|plates?)\b"
)
_ABSENT = Assertion.ABSENT
_ANY_DEVICE = "other_device"
_PLACE_ALONE = "mass_effect"  # a vein is a decoy
_INTUBATED = re.compile(r"\bintubated\b(?! (?:with|via))")
_BY_PLACE = {
    "endotracheal_tube": (("tube",), re.compile(r"\b(?:carina|main bronchus|main ?stem|trachea|vocal cords)\b")),
    "enteric_tube": (
        ("tube",),
        re.compile(r"\b(?:stomach|gastric|o?esophag|duoden|pylor|below the (?:left )?(?:hemi)?diaphragm|jejun)"),
    ),
    "central_venous_catheter": (
        ("catheter", "line"),
        re.compile(
            r"\b(?:svc|superior vena cava|cavo ?atrial|right atrium|jugular|subclavian|brachiocephalic|innominate)\b"
        ),
    ),
}
# "via the right jugular vein"
_ACCESS = re.compile(
    r"\b(?:via|through|from|by way of|in|within) (?:the |an? )?(left|right) (?:internal |external )?"
    r"(?:jugular|ij|subclavian|femoral|basilic|cephalic|brachial|axillary|arm)\b"
)
_BRONCHUS = re.compile(r"\b(left|right) (?:[a-z]+ ){0,3}bronchus\b")
# what has its side from its way or place
_SIDED_BY = {"central_venous_catheter": _ACCESS, "foreign_body": _BRONCHUS}
_COILING = re.compile(r"(?:tube|catheter|line|[no]g|[no]gt|dobhoff|dobbhoff|picc|wire|lead|drain|it) (?:tip )?\Z")
# "the line over the left apex is a skin fold"
_FOLD = re.compile(
    r"lines? (?:(?!and )[a-z]+ ){0,6}(?:is|are|represents?|reflects?) (?:(?:only|probably|likely|merely|just) )?"
    r"(?:an? |the )?(?:skin ?folds?|folds?|artifacts?|artefacts?|companion shadows?|mach|clothing|blanket|sheet)\b"
)
_NEAR = 80
_CONSOLIDATION = "consolidation"
_REMOVAL = "absent.removal"
_RESOLVED = "resolved"
_NO_ATTRIBUTES = dict.fromkeys(("change", "laterality", "severity", "anatomy", "size", "position"), "")


def find_mentions(
    sentence: str, lexicon: Lexicon, entities: Sequence[_Span] = (), defined: Sequence[_Span] = ()
) -> tuple[Mention, ...]:
    """The mentions of `sentence` in text order; offsets are into `sentence`.

    `entities` are (start, end, finding) of a trained model; findings of the rules take precedence over them. `defined`
    are abbreviations that the report itself defines; they take precedence over the rules, and one without a finding
    names nothing.
    """
    listed = split_list(sentence) if "\n" in sentence or "2)" in sentence or "2." in sentence else None
    if listed:
        return tuple(_mentions_of_items(sentence, *listed, lexicon, entities, defined))
    if not (entities or defined) and sentence[:3] in ("If ", "if ", "IF ") and (told := as_statement(sentence)):
        statement, start, length, begin = told
        rest = _mentions_of_one(sentence[begin:], lexicon, (), ()) if begin < len(sentence) else ()
        condition = _mentions_of_condition(statement, start, length, lexicon)
        return (*condition, *[_moved(one, begin) for one in rest])
    mentions = _mentions_of_one(sentence, lexicon, entities, defined)
    if mentions:
        mentions = mark_past(mentions, sentence)
    side = label_side(sentence) if mentions and ":" in sentence else ""
    return on_side(mentions, side) if side else mentions


def _mentions_of_items(
    sentence: str,
    title: str,
    items: Sequence[tuple[int, int]],
    lexicon: Lexicon,
    entities: Sequence[_Span],
    defined: Sequence[_Span],
) -> Iterator[Mention]:
    """The mentions of a list: those of the title, and those of each item, which is read behind the title."""
    yield from _mentions_of_one(title.rstrip(": "), lexicon, entities, defined)
    before = leading_words(title)
    for start, end in items:
        moved = len(before) + 1 - start
        spans = [
            [(low + moved, high + moved, name) for low, high, name in _starting_within(given, start, end)]
            for given in (entities, defined)
        ]
        for mention in _mentions_of_one(f"{before} {sentence[start:end]}", lexicon, *spans):
            if mention.start > len(before):
                yield _moved(mention, -moved)


def _mentions_of_condition(statement: str, start: int, length: int, lexicon: Lexicon) -> tuple[Mention, ...]:
    """The mentions in the first `length` characters of `statement`, which stand at `start` of the sentence."""
    named = [one for one in _mentions_of_one(statement, lexicon, (), ()) if one.end <= length]
    return tuple(_moved(one, start) for one in named)


def _moved(mention: Mention, offset: int) -> Mention:
    values = vars(mention) | {"start": mention.start + offset, "end": mention.end + offset}
    return build_value(Mention, values)


def _starting_within(spans: Sequence[_Span], start: int, end: int) -> Sequence[_Span]:
    """Those of `spans`, which are in order, that start in [start, end)."""
    return spans[bisect_left(spans, (start,)) : bisect_left(spans, (end,))] if spans else ()


def _mentions_of_one(
    sentence: str, lexicon: Lexicon, entities: Sequence[_Span], defined: Sequence[_Span]
) -> tuple[Mention, ...]:
    scan = scan_sentence(sentence, lexicon, everything=bool(entities or defined))
    if defined:
        scan = add_spans(scan, defined, wins=True)
    if entities:
        scan = add_spans(scan, entities)
    if not scan.has_target:
        return ()
    if scan.plain.words & (PAST | NOT) and (plain := without_clauses(scan)):
        scan = scan_plain(plain, lexicon)
    if (plain := with_left_out(scan)) is not None:
        scan = scan_plain(plain, lexicon)
    return tuple([one for part in split_statements(scan) for one in _mentions_of_statement(part, lexicon)])


def _mentions_of_statement(scan: Scan, lexicon: Lexicon) -> tuple[Mention, ...]:
    scan = add_run_on_stops(add_stand_ins(move_cues(scan)))
    boundaries = find_boundaries(scan.hits, scan.plain.text)
    candidates = find_candidates(scan.hits, boundaries, lexicon)
    if " coils " in scan.plain.text or "line" in scan.plain.text:
        candidates = [one for one in candidates if not _is_no_device(one, scan.plain.text)]
    if any(one.pair.startswith("lung") for one in candidates):
        candidates = [one for one in candidates if not _is_of_finding(one, candidates, scan.plain.text)]
    if not candidates:
        return ()
    asserted = assert_candidates(candidates, scan.hits, boundaries, scan.plain)
    kinds = [lexicon.kinds.get(candidate.finding) for candidate in candidates]
    positions = [""] * len(candidates)
    if "device" in kinds:
        _name_by_place(candidates, scan.plain.text)
        positions = find_positions(candidates, scan, lexicon.kinds)
        if "remov" in scan.plain.text:
            asserted = _both_removed(candidates, asserted, scan.plain.text, lexicon.kinds)
    described = describe(candidates, scan.hits, boundaries, scan.attributes, scan.plain)
    titles = find_titles(candidates, asserted, scan) if ":" in scan.plain.text or "device" in kinds else ()
    if titles:
        share_with_members(described, titles, candidates, scan.plain.text)
    mentions: list[Mention] = []
    for number, candidate in enumerate(candidates):
        if kinds[number] == "decoy" or number in titles:
            continue
        if candidate.finding == _CONSOLIDATION and _is_lone_sign(candidate, asserted[number], scan.plain.text):
            continue
        if candidate.finding in _OF_DEVICE and _is_of_device(candidate, scan.plain.text):
            continue
        assertion = asserted[number]
        if assertion.historical:
            assertion = _in_its_kind(assertion, kinds[number])
        sided_by = _SIDED_BY.get(candidate.finding)
        for attributes in described[number]:
            if kinds[number] == "device":
                attributes.pop("severity", None)  # "the tube is slightly low"
                if attributes.get("change") == _RESOLVED:  # "drain in situ, lung re-expanded"
                    del attributes["change"]
            if sided_by and "laterality" not in attributes and not positions[number]:
                place = sided_by.search(scan.plain.text, candidate.end)
                attributes |= {"laterality": place[1]} if place else {}
            if positions[number] and assertion.assertion is not Assertion.ABSENT:
                attributes["position"] = positions[number]
            mentions.append(_mention(candidate, assertion, attributes, scan.plain))
    return tuple(mentions)


def _name_by_place(candidates: Sequence[Candidate], text: str) -> None:
    """Names a tube, catheter or line by where it is or goes: "the tube ends 5 cm above the carina"."""
    is_intubated = "intubated" in text and _INTUBATED.search(text) is not None
    for number, candidate in enumerate(candidates):
        if candidate.finding != _ANY_DEVICE:
            continue
        others = [one.start for one in candidates[number + 1 : number + 4] if one.finding != _PLACE_ALONE]
        end = others[0] if others else len(text)
        word = text[candidate.start : candidate.end]
        for finding, (words, place) in _BY_PLACE.items():
            if word in words and place.search(text, candidate.start, end):
                candidate.finding = finding
                break
        else:
            if word == "tube" and is_intubated:
                candidate.finding = "endotracheal_tube"


def _both_removed(
    candidates: Sequence[Candidate], asserted: Sequence[Asserted], text: str, kinds: Mapping[str, str]
) -> list[Asserted]:
    """`asserted` with the first device of "ETT and NGT removed" removed too."""
    both = list(asserted)
    for number in range(len(candidates) - 1, 0, -1):
        one, two = candidates[number - 1], candidates[number]
        are_devices = kinds.get(one.finding) == kinds.get(two.finding) == "device"
        if both[number].rule == _REMOVAL and are_devices and text[one.end : two.start] == " and ":
            both[number - 1] = both[number]
    return both


def _is_of_device(candidate: Candidate, text: str) -> bool:
    is_bare = "fracture" not in text[candidate.start : candidate.end] or text.startswith("fracture", candidate.start)
    before = max(0, candidate.start - _NEAR)
    if _BROKEN_DEVICE.match(text, candidate.start):
        return True
    return is_bare and _OF_DEVICE[candidate.finding].search(text, before, candidate.start) is not None


def _is_of_finding(candidate: Candidate, candidates: Sequence[Candidate], text: str) -> bool:
    """Whether a state of the lung is one of the finding in it: "the opacity in the left lung has decreased"."""
    return candidate.pair.startswith("lung") and any(
        not one.pair and _IN_LUNG.fullmatch(text, one.end, candidate.start) for one in candidates
    )


def _is_no_device(candidate: Candidate, text: str) -> bool:
    """Whether "coils" is what a tube does ("the NG tube coils in the pharynx"), or a line that of a fold."""
    if text.startswith("coils ", candidate.start):
        return _COILING.search(text, 0, candidate.start) is not None
    return candidate.finding == _ANY_DEVICE and _FOLD.match(text, candidate.start) is not None


def _is_lone_sign(candidate: Candidate, asserted: Asserted, text: str) -> bool:
    """Whether an air bronchogram is denied, which tells nothing of a consolidation."""
    return asserted.assertion is Assertion.ABSENT and "bronchogram" in text[candidate.start : candidate.end]


def _in_its_kind(asserted: Asserted, kind: str | None) -> Asserted:
    """An operation of the past, or a device after "status post", is what the images show now: not historical."""
    lasts = kind == "history" or (kind == "device" and asserted.cue in ("status post", "s/p"))
    return replace(asserted, historical=False) if lasts else asserted


def _mention(candidate: Candidate, asserted: Asserted, attributes: dict[str, str], plain: Plain) -> Mention:
    start, end = plain.original(candidate.start, candidate.end)
    values = {
        "finding": candidate.finding,
        "start": start,
        "end": end,
        "assertion": asserted.assertion,
        "rule": asserted.rule,
        "cue": asserted.cue,
        "historical": asserted.historical and not asserted.hypothetical,
        "hypothetical": asserted.hypothetical,
        "experiencer": asserted.experiencer,
        **_NO_ATTRIBUTES,
        **attributes,
    }
    if candidate.finding in _WITHOUT_SIDE:
        values["laterality"] = ""
    return build_value(Mention, values)
