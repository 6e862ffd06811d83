"""Present -> denied: the ways to deny one present fact in the style of its sentence, the most natural first."""

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trrg_core.report.flipping.grammar import (
    HAS_BEEN_SEEN,
    THERE,
    VERB,
    Fact,
    Source,
    as_sentence,
    find_clause,
    find_phrase,
    is_plural,
    load_flip_rules,
    split_place,
    uncapital,
)

_SHOWS = re.compile(r"\b(?:shows?|demonstrates?|reveals?|has|have|had|contains?|exhibits?)(?: (?:a|the))?\s*$", re.I)
_ALONG = re.compile(r",?\s+(?:along|together|in (?:association|conjunction)) with\s*$", re.I)
_WITH = re.compile(r"\b(?:with|showing|demonstrating)\s*$", re.I)
_FITS = re.compile(
    r"\b(?P<word>(?:most )?(?:consistent with|compatible with|in keeping with|representing|due to|"
    r"secondary to|reflecting|related to|indicating|indicative of|as a result of|because of))\s*$",
    re.I,
)
_REPRESENTS = re.compile(r"\b(?P<verb>represents?|reflects?|indicates?|suggests?)\s*$", re.I)
_CALLED = re.compile(
    r"^(?:(?:again|also|incidental|incidentally|interval|persistent)\s+)?"
    r"(?:(?:seen|noted|demonstrated|identified|redemonstrated|visualized|present)(?: again)?(?: (?:is|are))?|"
    r"note (?:is )?(?:again )?(?:is )?made of)\s*$",
    re.I,
)
_BUT_STABLE = re.compile(r"^,? (?:but|and) (?:stable|unchanged|similar)\b[^,;]*$", re.I)
_LEADING = re.compile(r"^(?:in|within|at|along|overlying|over|throughout)\b.*\b\w+,?\s*$", re.I)
_BUT_FIRST = re.compile(r"^\s*(?P<but>but )?")
_ARTICLE_LAST = re.compile(r" (?:an?|the)$", re.I)
_NOT_ENLARGED = re.compile(r"(?P<does>\b(?:does|do))? not (?:appear |look |seem )?enlarged$", re.I)
_SHARED = re.compile(r"^(?!.*\b(?:in|at|of|on|within|along|near)\b).*\b(?:left|right|bilateral)\b", re.I)
_INDEPENDENT = re.compile(r"^,?\s*(?:and|with)\b", re.I)
_PROJECTS = re.compile(r"^\s*projects? (?P<over>over .*)$", re.I)
_JOINED = re.compile(r"(?:,? (?:and|as well as|plus|along with)(?: (?:a|an))?|,|/| &)\s*$", re.I)
_BY = re.compile(r"^\s*(?:by|from|due to|secondary to|because of|related to|as a result of)\b", re.I)
_DEPENDS = re.compile(
    r"\b(?:may|might|could|can|represent|reflect|suggest|favor|concern|suspicious|worrisome|likely|probably|possibly|"
    r"versus|vs|or|question|consider|differential|question)",
    re.I,
)
_WITHOUT = re.compile(
    r"^,?\s*(?:(?:and|but|with)\s+)?(?:no|without)"
    r"(?:(?: \w+)? (?:evidence|signs?|findings|indication) (?:of|for|to suggest))?\s+(?:any |an? )?",
    re.I,
)
_COPULA = re.compile(r"\b(?P<verb>is|are|was|were|appears?|remains?|looks?|seems?|has become)\b", re.I)
_COPULA_LAST = re.compile(rf"{_COPULA.pattern}(?:\s+(?:an?|again|also|still|now))*\s*$", re.I)
_NOT = {"is": "is not", "are": "are not", "was": "was not", "were": "were not", "appears": "does not appear"}
_NOT |= {"appear": "do not appear", "remains": "is not", "remain": "are not", "looks": "does not look"}
_NOT |= {"look": "do not look", "seems": "does not seem", "seem": "do not seem", "has become": "is not"}
_ADJECTIVE = re.compile(r"(?:ed|ic|ous|ive|al)$")
_SMALL_WORDS = re.compile(r"^(?:(?:to|and|or|in|,)\s+)+|(?:\s+(?:to|and|or|,))+$", re.I)
_SIDE_WORD = re.compile(r"\b(?:left|right|bilateral)(?:[ -]sided)?\s+", re.I)
_RELATED = re.compile(
    r"^(an? |the |some )?((?:mild|small|minimal|moderate) )?"
    r"(?:adjacent|associated|overlying|accompanying|underlying|resultant|resulting|superimposed|concurrent) ",
    re.I,
)
_AND_ADJECTIVE = re.compile(r"^ and(?= \w+$)")
_IN_POSITION = re.compile(r"\b(?:position|place|unchanged|stable)\b", re.I)


@dataclass(frozen=True)
class _Clause:
    """A clause cut at the fact to deny. `before` + noun phrase + `after`; `core` is what is denied."""

    before: str
    core: str
    after: str
    earlier: bool
    is_device: bool


def deny(source: Source, fact: Fact) -> Iterator[str]:
    """Candidate sentences in which `fact`, a present one, is denied, and nothing else is changed if all is well."""
    text = source.text
    is_alone = all(one.finding == fact.finding for one in source.facts)
    low, high = (0, len(text.rstrip(". "))) if is_alone else find_clause(text, fact.start)
    high = max(high, fact.end)
    within = [one for one in source.facts if low <= one.start and one.end <= high and one.finding != fact.finding]
    earlier = [one for one in within if one.start < fact.start]
    later = [one for one in within if one.start >= fact.end]
    for clause in _deny_in_clause(source, fact, (low, high), earlier, later):
        yield as_sentence(text[:low] + clause + text[high:], text)


def _deny_in_clause(
    source: Source, fact: Fact, clause: tuple[int, int], earlier: Sequence[Fact], later: Sequence[Fact]
) -> Iterator[str]:
    text, (low, high) = source.text, clause
    phrase = find_phrase(text, fact, max([low, *(one.end for one in earlier)]))
    end, core = _whole_phrase(source, fact, phrase.end, phrase.core)
    before = text[low : phrase.start]
    stated = _deny_state(text[low : fact.start], text[fact.start : fact.end], "+" in fact.rule)
    if not stated and _ADJECTIVE.search(text[fact.start : fact.end]):
        stated = _deny_adjective(before, core)
    if not stated and _ADJECTIVE.search(core) and _COPULA.search(before) and _JOINED.search(before) and not later:
        # "the aorta is calcified and tortuous"
        stated = f"{_JOINED.sub('', before)} but not {core}"
    if later and _ADJECTIVE.search(text[later[0].start : later[0].end]) and text[end : later[0].start] == " and ":
        return  # "tortuous and calcified": no way to deny the first alone
    if stated:
        yield from _deny_statement(source, fact, stated, later, (max(end, fact.end), high))
    if _COPULA.search(text, fact.start, fact.end) or _ADJECTIVE.search(core):
        return  # no noun that "no" could stand before
    if later:
        following = find_phrase(text, later[0], end)
        if later[0].assertion == "UNCERTAIN" and _depends(text[end : later[0].start]):
            return
        pieces = _Clause(before, core, text[end : following.start], bool(earlier), False)
        yield from _deny_before_others(pieces, later[0], text[following.start : high])
    elif not (earlier and _shares_noun(text, earlier[-1], before, low)):
        same = next((one.start for one in source.facts if one.finding == fact.finding and one.start >= end), high)
        is_device = fact.finding in load_flip_rules().devices
        core = core.removesuffix(" tip") if is_device else core
        yield from _deny_last(_Clause(before, core, text[end : min(same, high)], bool(earlier), is_device))


def _depends(between: str) -> bool:
    """Whether an uncertain finding behind these words explains the one before them: "opacity, possibly pneumonia"."""
    return bool(_DEPENDS.search(between)) and not _INDEPENDENT.match(between)


def _shares_noun(text: str, earlier: Fact, before: str, low: int) -> bool:
    """Whether the words in front are adjectives of the same noun: "left apical and right basilar opacity"."""
    between = _JOINED.sub("", text[earlier.end : low + len(before)])
    if between == text[earlier.end : low + len(before)]:
        return False
    return bool(_SHARED.search(between)) or (not between and bool(_ADJECTIVE.search(text[earlier.start : earlier.end])))


def _whole_phrase(source: Source, fact: Fact, end: int, core: str) -> tuple[int, str]:
    """The phrase with neighbours of the same finding, and with the noun behind an adjective ("degenerative spur")."""
    text = source.text
    same = [one for one in source.facts if one.finding == fact.finding and one is not fact]
    core, end = _with_neighbours(text, same, core, end)
    if _ADJECTIVE.search(core):
        noun = re.compile(r" (?!and\b|or\b|in\b|of\b|on\b|at\b)[\w-]+(?= |$|[.,;])").match(text, end)
        if noun and noun[0].strip().lower() not in load_flip_rules().stops:
            core, end = _with_neighbours(text, same, core + noun[0], noun.end())
    if any(one.laterality != fact.laterality for one in same):
        core = _SIDE_WORD.sub("", core)
    return end, core


def _with_neighbours(text: str, same: Sequence[Fact], core: str, end: int) -> tuple[str, int]:
    for one in same:
        if 0 <= one.start - end <= 1:
            core, end = core + text[end : one.end], one.end
    return core, end


def _deny_state(before: str, words: str, is_pair: bool) -> str:
    """ "heart is mildly enlarged" -> "heart is not enlarged"; empty where the words are no statement."""
    verb = _COPULA.search(words)
    if verb:
        return f"{before}{words[: verb.start()]}{_NOT[verb['verb'].lower()]} {_bare_state(words[verb.end() :])}"
    if is_pair and _ADJECTIVE.search(words):
        head, _, state = words.rpartition(" ")
        return f"{before}{load_flip_rules().dropped.sub('', head + ' ').rstrip()} not {state}"
    return ""


def _deny_adjective(before: str, core: str) -> str:
    """ "lungs are hyperinflated" -> "lungs are not hyperinflated"."""
    copula = _COPULA_LAST.search(before)
    return f"{before[: copula.start()]}{_NOT[copula['verb'].lower()]} {core}" if copula else ""


def _bare_state(words: str) -> str:
    words = words.strip()
    bare = _SMALL_WORDS.sub("", load_flip_rules().dropped.sub("", words + " ").strip())
    return (bare or words.rsplit(" ", 1)[-1]).replace(" and ", " or ")


def _deny_statement(
    source: Source, fact: Fact, stated: str, later: Sequence[Fact], rest: tuple[int, int]
) -> Iterator[str]:
    text, (end, high) = source.text, rest
    if later:
        following = find_phrase(text, later[0], end)
        between, behind = text[end : following.start], text[following.start : high]
        joint = _WITHOUT.sub("", f"{between}{behind}", count=1)
        if later[0].assertion == "PRESENT" and not VERB.search(between):
            yield f"{stated}, but there {'are' if is_plural(behind) else 'is'} {_RELATED.sub('', behind)}"
        elif later[0].assertion == "ABSENT" and joint != f"{between}{behind}":
            yield f"{stated}, and there is no {joint}"
        yield f"{stated}{text[end:high]}"
        return
    same = [one for one in source.facts if one.finding == fact.finding and one.start >= end]
    after = "" if same else _BUT_STABLE.sub("", _AND_ADJECTIVE.sub(" or", text[end:high]))
    if fact.rule.startswith("heart+") and not after and zlib.crc32(text.encode()) % 2:
        # both wordings, so that the one does not give a flip away
        place = _NOT_ENLARGED.sub(lambda match: "appears normal" if match["does"] else " normal", stated)
        yield place if "size" in place or place == stated else f"{place} in size"
    yield stated + after


def _deny_last(clause: _Clause) -> Iterator[str]:
    """Denials of the last fact of a clause."""
    place, tail = split_place(clause.after)
    before, core = clause.before, f"{clause.core}{'' if clause.is_device else place}"
    verb = "are" if is_plural(clause.core) else "is"
    there, fits, represents = THERE.search(before), _FITS.search(before), _REPRESENTS.search(before)
    seen = HAS_BEEN_SEEN.search(tail)
    copula = _COPULA_LAST.search(before)
    if there:
        yield f"{before[: there.start()]}{there['there']} {verb} no {core}"
    elif fits:
        yield f"{before[: fits.start()]}not {fits['word'].removeprefix('most ')} {core}"
    elif represents:
        aux = "does" if represents["verb"].endswith("s") else "do"
        yield f"{before[: represents.start()]}{aux} not {represents['verb'].rstrip('s')} {core}"
    elif _ALONG.search(before):
        yield f"{_ALONG.sub('', before)} but no {core}"
    elif _WITH.search(before):
        yield _WITH.sub("without ", before) + core
    elif clause.earlier and _JOINED.search(before):
        head = _JOINED.sub("", before)
        kept = f" {'are' if is_plural(head) or ',' in head else 'is'} {seen['seen']}" if seen else ""
        yield f"{head}{kept} but no {core}"
        yield f"{head} without {core}"
    elif _SHOWS.search(before):
        yield f"{_ARTICLE_LAST.sub('', before.rstrip())} no {core}"
    elif not before.strip() or _CALLED.match(before):
        yield _deny_subject(clause, core, verb, bool(before.strip()), place, tail)
    elif copula:
        yield f"{before[: copula.start()]}{copula['verb']} no {core}{tail}"
    elif not clause.earlier and _LEADING.match(before):
        yield f"{before.rstrip(' ,')}, {_deny_subject(clause, core, verb, False, place, tail)}"
    if not clause.earlier:
        yield f"no {core}"
        yield f"there {verb} no {clause.core}"


def _deny_subject(clause: _Clause, core: str, verb: str, is_called: bool, place: str, tail: str) -> str:
    seen = HAS_BEEN_SEEN.search(tail)
    if seen:
        behind = "" if place or clause.is_device or _IN_POSITION.search(seen["rest"]) else split_place(seen["rest"])[0]
        return f"no {core} {verb} {seen['seen']}{behind}"
    projects = _PROJECTS.match(tail)
    if projects and not clause.is_device:
        return f"no {core} {verb} seen{split_place(' ' + projects['over'])[0]}"
    return f"no {core} {verb} seen" if is_called or VERB.search(tail) else f"no {core}"


def _deny_before_others(clause: _Clause, following: Fact, rest: str) -> Iterator[str]:
    """Denials of a fact with others behind it: "small effusion with atelectasis" -> "atelectasis without effusion"."""
    place, between = split_place(clause.after)
    before, core = clause.before, f"{clause.core}{place}"
    there = THERE.search(before)
    verb = "are" if is_plural(rest) else "is"
    if following.assertion == "ABSENT":
        denied = (
            f"{_JOINED.sub('', before)} but no" if clause.earlier and _JOINED.search(before) else _negate_before(before)
        )
        joint = _WITHOUT.sub("", f"{between}{rest}", count=1)
        if joint != f"{between}{rest}":
            yield f"{denied} {core}{', ' if ' or ' in joint else ' or '}{joint}"
        yield f"{denied} {core}{_BUT_FIRST.sub(_as_and, between)}{rest}"
        return
    rest = _RELATED.sub(lambda match: (match[1] or "") + (match[2] or ""), rest)
    bare = re.sub(r"^(?:an?|the) ", "", rest)
    if clause.earlier and _JOINED.search(before):
        yield f"{_JOINED.sub('', before)} and {rest} but no {core}"
    elif there:
        stem = f"{before[: there.start()]}{there['there']}"
        yield f"{stem} {verb} {rest} but no {core}"
        yield f"{stem} {verb} {rest}{place} but no {clause.core}"
        yield f"{stem} is no {core}, but there {verb} {rest}"
    elif before.strip():
        yield f"{before}{rest} but no {core}"
        yield f"{before}{rest}{place} but no {clause.core}"
    elif VERB.search(clause.after) and not VERB.search(rest):
        yield f"there {verb} {rest} but no {core}"
        yield f"there {verb} {rest}{place} but no {clause.core}"
    elif VERB.search(rest):
        yield f"{rest} but no {core}"
        yield f"no {core}, but {rest}"
    else:
        yield f"{uncapital(bare)} without {core}"
        yield f"{uncapital(bare)}{place} without {clause.core}"
        yield f"{uncapital(bare)} but no {core}"


def _negate_before(before: str) -> str:
    there = THERE.search(before)
    if there:
        return f"{before[: there.start()]}{there['there']} is no"
    if _WITH.search(before):
        return _WITH.sub("without", before)
    return f"{before} no".strip()


def _as_and(match: re.Match[str]) -> str:
    return " and " if match["but"] else " "
