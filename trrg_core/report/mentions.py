"""Mentions of one sentence: text in, findings with assertion, cue, rule and attributes out."""

from collections.abc import Sequence
from dataclasses import replace

from trrg_core.labels import Assertion
from trrg_core.report.assertion import Asserted, assert_candidates
from trrg_core.report.attributes import describe
from trrg_core.report.candidates import Candidate, find_candidates
from trrg_core.report.clauses import find_boundaries
from trrg_core.report.lexicon import Lexicon
from trrg_core.report.parsed import Mention, build_value
from trrg_core.report.positions import find_positions
from trrg_core.report.scan import Plain, add_spans, scan_sentence
from trrg_core.report.stand_ins import add_stand_ins
from trrg_core.report.titles import find_titles

_Span = tuple[int, int, str]
# devices that lie in the middle: a side stated of them is that of a place
_WITHOUT_SIDE = frozenset(["endotracheal_tube", "tracheostomy", "enteric_tube"])
_NO_ATTRIBUTES = dict.fromkeys(("change", "laterality", "severity", "anatomy", "size", "position"), "")


def find_mentions(
    sentence: str, lexicon: Lexicon, entities: Sequence[_Span] = (), defined: Sequence[_Span] = ()
) -> tuple[Mention, ...]:
    """The mentions of `sentence` in text order; offsets are into `sentence`.

    `entities` are (start, end, finding) of a trained model; findings of the rules take precedence over them. `defined`
    are abbreviations that the report itself defines; they take precedence over the rules, and one without a finding
    names nothing.
    """
    scan = scan_sentence(sentence, lexicon, everything=bool(entities or defined))
    if defined:
        scan = add_spans(scan, defined, wins=True)
    if entities:
        scan = add_spans(scan, entities)
    if not scan.has_target:
        return ()
    scan = add_stand_ins(scan)
    boundaries = find_boundaries(scan.hits, scan.plain.text)
    candidates = find_candidates(scan.hits, boundaries, lexicon)
    if not candidates:
        return ()
    asserted = assert_candidates(candidates, scan.hits, boundaries, scan.plain)
    described = describe(candidates, scan.hits, boundaries, scan.attributes, scan.plain)
    kinds = [lexicon.kinds.get(candidate.finding) for candidate in candidates]
    positions = find_positions(candidates, scan, lexicon.kinds) if "device" in kinds else [""] * len(candidates)
    titles = find_titles(candidates, asserted, scan) if ":" in scan.plain.text else ()
    mentions: list[Mention] = []
    for number, candidate in enumerate(candidates):
        if kinds[number] == "decoy" or number in titles:
            continue
        assertion = asserted[number]
        if assertion.historical:
            assertion = _in_its_kind(assertion, kinds[number])
        for attributes in described[number]:
            if positions[number] and assertion.assertion is not Assertion.ABSENT:
                attributes["position"] = positions[number]
            mentions.append(_mention(candidate, assertion, attributes, scan.plain))
    return tuple(mentions)


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
        "historical": asserted.historical,
        "hypothetical": asserted.hypothetical,
        "experiencer": asserted.experiencer,
        **_NO_ATTRIBUTES,
        **attributes,
    }
    if candidate.finding in _WITHOUT_SIDE:
        values["laterality"] = ""
    return build_value(Mention, values)
