"""Present -> denied: the ways to deny one present fact in the style of its sentence, the most natural first."""

import re
from collections.abc import Iterator

from trrg_core.report.flipping.grammar import (
    VERB,
    Fact,
    Phrase,
    Source,
    as_sentence,
    find_clause,
    find_phrase,
    is_plural,
    load_flip_rules,
    uncapital,
)

_THERE = re.compile(
    r"\b(?P<there>there)(?: (?:is|are|was|were|has been|have been|remains?|persists?|appears? to be|may be))?"
    r"(?: (?:also|again|now|still|noted|seen|been|has|is|are))*\s*$",
    re.I,
)
_SHOWS = re.compile(r"\b(?:shows?|demonstrates?|reveals?|has|have|had|contains?|exhibits?)(?: (?:a|the))?\s*$", re.I)
_WITH = re.compile(r"\b(?:with|showing|demonstrating)\s*$", re.I)
_FITS = re.compile(
    r"\b(?P<word>(?:most )?(?:consistent with|compatible with|in keeping with|representing|represents?|due to|"
    r"secondary to|reflecting|related to|indicating|indicative of|as a result of|because of))\s*$",
    re.I,
)
_SEEN_FIRST = re.compile(
    r"^(?:again |also |incidentally |incidental |incidental note is made of |note is made of |note made of )?"
    r"(?:(?:seen|noted|demonstrated|identified|redemonstrated|visualized) (?:again )?(?:is|are)|"
    r"note (?:is )?(?:again )?(?:is )?made of|"
    r"(?:again )?(?:seen|noted|demonstrated))?\s*$",
    re.I,
)
_JOINED = re.compile(r"(?P<join>, and|, as well as| and| as well as| plus|,|/| &| along with)\s*$", re.I)
_COPULA = re.compile(r"\b(?P<verb>is|are|was|were|appears?|remains?|looks?|seems?|has become)\b", re.I)
_SEEN = re.compile(
    r"\b(?:is|are|was|were|remains?|has been|have been)\s+"
    r"(?:(?:again|also|now|still|best|well|clearly|incidentally)\s+)*"
    r"(?P<seen>seen|noted|present|identified|demonstrated|visualized|evident|observed|visible|detected|appreciated)\b"
    r"(?P<rest>[^,;]*)",
    re.I,
)
_PLACE = re.compile(
    r"\s*(?:in|at|on|of|within|along|near|throughout|involving|over|behind|overlying|projecting over|right|left)\b",
    re.I,
)
_PLACE_END = re.compile(
    r"[,;]|\b(?:is|are|was|were|has|have|had|which|that|with|since|measuring|and|or|but|unchanged|stable|again|"
    r"consistent|compatible|compared|likely|may|appears?|remains?|persists?|projects?|terminates?|ends|courses|passes|"
    r"suggests?|suggestive|representing|represents?|due|as|noted|seen|unchanged|without|for|from|may|now|"
    r"identified|demonstrated|present|causing|similar|associated|most|best|than|greater|worse)\b",
    re.I,
)
_NOT = {"is": "is not", "are": "are not", "was": "was not", "were": "were not", "appears": "does not appear"}
_NOT |= {"appear": "do not appear", "remains": "is not", "remain": "are not", "looks": "does not look"}
_NOT |= {"look": "do not look", "seems": "does not seem", "seem": "do not seem", "has become": "is not"}
_ADJECTIVE = re.compile(r"(?:ed|ic|ous|ive|al)$")
_SMALL_WORDS = re.compile(r"^(?:(?:to|and|or|in|,)\s+)+|(?:\s+(?:to|and|or|,))+$", re.I)


def deny(source: Source, fact: Fact) -> Iterator[str]:
    """Candidate sentences in which `fact`, a present one, is denied, and nothing else is changed if all is well."""
    text = source.text
    low, high = find_clause(text, fact.start)
    for clause in _deny_in_clause(source, fact, low, high):
        yield as_sentence(text[:low] + clause + text[max(high, fact.end) :], text)


def _deny_in_clause(source: Source, fact: Fact, low: int, high: int) -> Iterator[str]:
    text = source.text
    high = max(high, fact.end)
    stated = _deny_state(text, fact)
    if stated:
        yield text[low : fact.start] + stated + text[fact.end : high]
    earlier = [other for other in source.facts if low <= other.start and other.end <= fact.start]
    later = [other for other in source.facts if other.start >= fact.end and other.end <= high]
    phrase = find_phrase(text, fact, max([low, *(other.end for other in earlier)]))
    before = text[low : phrase.start]
    place, tail = _tail(text[fact.end : later[0].start if later else high])
    if later:
        yield from _deny_before_others(source, phrase, before, place, later[0], high)
    else:
        yield from _deny_last(before, phrase, place, tail, bool(earlier))


def _deny_state(text: str, fact: Fact) -> str:
    """ "heart is mildly enlarged" -> "heart is not enlarged"; empty where the words are no statement."""
    words = text[fact.start : fact.end]
    verb = _COPULA.search(words)
    if verb:
        state = _bare_state(words[verb.end() :])
        return f"{words[: verb.start()]}{_NOT[verb['verb'].lower()]} {state}"
    if "+" in fact.rule and _ADJECTIVE.search(words):
        head, _, state = words.rpartition(" ")
        return f"{load_flip_rules().dropped.sub('', head + ' ').rstrip()} not {state}"
    return ""


def _bare_state(words: str) -> str:
    return _SMALL_WORDS.sub("", load_flip_rules().dropped.sub("", words.strip() + " ").strip())


def _tail(words: str) -> tuple[str, str]:
    """What follows a finding: its place ("in the left lung"), and the rest."""
    if not _PLACE.match(words):
        return "", words
    cut = _PLACE_END.search(words, 1)
    end = cut.start() if cut else len(words)
    return words[:end].rstrip(), words[end:]


def _deny_last(before: str, phrase: Phrase, place: str, tail: str, has_earlier: bool) -> Iterator[str]:
    """Denials of the last fact of a clause."""
    core = f"{phrase.core}{place}"
    plural = is_plural(phrase.core)
    there, shows, joined = _THERE.search(before), _SHOWS.search(before), _JOINED.search(before)
    fits = _FITS.search(before)
    if there:
        yield f"{before[: there.start()]}{there['there']} {'are' if plural else 'is'} no {core}"
    elif fits:
        yield f"{before[: fits.start()]}not {fits['word']} {core}"
    elif _WITH.search(before):
        yield _WITH.sub("without ", before) + core
    elif has_earlier and joined:
        yield f"{before[: joined.start()]} but no {core}"
        yield f"{before[: joined.start()]} without {core}"
    elif shows:
        yield f"{before.rstrip()} no {core}"
    elif not before.strip() or _SEEN_FIRST.match(before):
        seen = _SEEN.search(tail)
        verb = "are" if plural else "is"
        if seen:
            yield f"no {core} {verb} {seen['seen']}{'' if place else _tail(seen['rest'])[0]}"
        elif VERB.search(tail) or before.strip():
            yield f"no {core} {verb} seen"
        else:
            yield f"no {core}"
    else:
        copula = re.search(rf"{_COPULA.pattern}\s*$", before, re.I)
        if copula:
            negated = _NOT[copula["verb"].lower()]
            is_adjective = _ADJECTIVE.search(phrase.core)
            yield f"{before[: copula.start()]}{negated if is_adjective else copula['verb'] + ' no'} {core}{tail}"
    if not has_earlier:
        yield f"no {core}"
        yield f"there {'are' if plural else 'is'} no {phrase.core}"


def _deny_before_others(
    source: Source, phrase: Phrase, before: str, place: str, following: Fact, high: int
) -> Iterator[str]:
    """Denials of a fact with others behind it: "small effusion with atelectasis" -> "atelectasis without effusion"."""
    text = source.text
    next_phrase = find_phrase(text, following, phrase.end)
    rules = load_flip_rules()
    rest = text[next_phrase.start : high]
    between = text[phrase.end : next_phrase.start]
    core = f"{phrase.core}{place}"
    rest = re.sub(
        r"^(an? |the )?(?:(?:adjacent|associated|overlying|accompanying|underlying|resultant|superimposed) )",
        r"\1",
        rest,
    )
    words = rest.split(" ", 1)[0].lower()
    verb = "are" if is_plural(text[next_phrase.start : following.end]) else "is"
    there = _THERE.search(before)
    if following.assertion != "PRESENT" or words in rules.stops:
        joiner = re.sub(r"^\s*but\b", " and", between)
        yield f"{_negate_before(before)} {core}{joiner}{rest}"
    elif there:
        yield f"{before[: there.start()]}{there['there']} {verb} {rest} but no {core}"
        yield f"{before[: there.start()]}{there['there']} is no {core}, but there {verb} {rest}"
    elif not before.strip() and not VERB.search(text, phrase.end, high):
        yield f"{uncapital(rest)} without {core}"
        yield f"{uncapital(rest)} but no {core}"
    elif not before.strip():
        if not VERB.search(rest):
            yield f"there {verb} {rest} but no {core}"
        yield f"{rest} but no {core}"
        yield f"{rest} without {core}"
        yield f"no {core}, but {rest}"
    else:
        yield f"{before}{rest} but no {core}"


def _negate_before(before: str) -> str:
    there = _THERE.search(before)
    if there:
        return f"{before[: there.start()]}{there['there']} is no"
    if _WITH.search(before):
        return _WITH.sub("without", before)
    return f"{before} no".strip()
