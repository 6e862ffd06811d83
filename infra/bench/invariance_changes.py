"""Changes of a challenge sentence under which its facts stay or change in a known way.

Each takes a row and yields texts with the facts they must state; none where the change does not fit the text.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice

from infra.bench.challenge_rows import ChallengeFact, ChallengeRow
from infra.bench.invariance_nouns import (
    Variant,
    in_case,
    named_findings,
    other_count_noun,
    other_device,
    other_mass_noun,
    some_of,
    with_words,
)

Change = Callable[[ChallengeRow], Iterator[Variant]]

_SIDES = {"left": "right", "right": "left", "l": "r", "r": "l", "lul": "rul", "rul": "lul", "lll": "rll", "rll": "lll"}
_SIDES |= {"lt": "rt", "rt": "lt", "leftward": "rightward", "rightward": "leftward"}
_OTHER_SIDE = {"left": "right", "right": "left"}
# of one side by nature, or "left" as a verb
_ONE_SIDED = re.compile(
    r"\b(?:heart|cardiac|ventric|atri|aort|middle|rml|lingula|liver|stomach|gastric|spleen|minor|horizontal|carina"
    r"|main|bronch|azyg|svc|hilum|(?:has|was|is|fluid|effusion) left|nothing|hardly|l/r|r/l|b/r|r/o|arch|retrocardiac"
    r"|breath|left to|lvf|lad|lobectomy|jugular|subclavian|picc|mediastin|trachea|shift|dex|levo|tube|feeding|ngt"
    r"|ett|rij|lij)|[rl]i?ght?h",
    re.IGNORECASE,
)
_DEGREES = {"small": "moderate", "mild": "severe", "moderate": "mild"}
_ADVERBS = {"mildly": "severely", "moderately": "mildly"}
_NOT_OF_DEGREE = re.compile(
    r"\b(?:bowel|from|to (?:small|mild|moderate|severe)|less|lung volumes?|heart|than|previously|was|were|had|now|if|at"
    r" most|just|only|became|become|or|decreas|increas|not|too|no|another|size|grown|wors|improv|nodes?)\b|->|-",
    re.IGNORECASE,
)
_SEEN = (
    *("seen", "identified", "noted", "evident", "visualized", "demonstrated", "present", "visible", "apparent"),
    *("observed", "detected", "appreciated", "found", "shown", "recognized"),
)
_SEEN_NOW = re.compile(
    r"\b((?:is|are|can be|cannot be)(?: (?:also|not|again|now|currently|clearly|definitely))* )"
    r"(?:seen|identified|noted|evident|visualized|demonstrated|present|visible|apparent|detected|appreciated|found)\b"
    r"(?! (?:as|to be|previously|before|on the (?:prior|previous|earlier|last)|in the (?:svc|right atrium)))"
)
_ADJECTIVES_SEEN = ("evident", "visible", "apparent", "present")
_NOW_ONLY = re.compile(
    r"\b(?:was|were|had|ago|yesterday|prior|previous|previously|earlier|last|history|mother|father|if|should|until|will|now"
    r"|currently|today|this time|may|rule out|r/o|please|recommend|advise|suggest)",
    re.IGNORECASE,
)
_PLAIN_END = re.compile(r"[a-z]{3,}\.$")
_ONE_SENTENCE = re.compile(r"^[A-Z][^.!?:\n;\[\]=+>?/#]{10,200}\.$")
_PRONOUN = re.compile(
    r"\b(?:it|this|that|these|those|they|he|she|one|ones|none|both|other|same|former|latter|either|neither|its|there)\b",
    re.IGNORECASE,
)
_PLAIN_FACTS = re.compile(r"[+?-][a-z_]+\Z")


def other_side(row: ChallengeRow) -> Iterator[Variant]:
    """Left for right and right for left."""
    if not any(fact.side in _OTHER_SIDE for fact in row.facts) or _ONE_SIDED.search(row.text):
        return
    facts = [replace(fact, side=_OTHER_SIDE.get(fact.side, fact.side)) for fact in row.facts]
    yield with_words(row.text, _SIDES), frozenset(facts)


def other_degree(row: ChallengeRow) -> Iterator[Variant]:
    """Another degree: "small" for "moderate"."""
    words = re.findall(rf"\b(?:{'|'.join([*_DEGREES, *_ADVERBS])})\b", row.text, re.IGNORECASE)
    degrees = [fact.degree for fact in row.facts if fact.degree]
    if not words or _NOT_OF_DEGREE.search(row.text) or len(words) != len(degrees):
        return
    meant = _DEGREES | {"severe": "severe"}
    if {word.lower().removesuffix("ly") for word in words} != set(degrees):
        return
    facts = [replace(fact, degree=meant.get(fact.degree, fact.degree)) for fact in row.facts]
    yield with_words(row.text, _DEGREES | _ADVERBS), frozenset(facts)


def with_no(row: ChallengeRow) -> Iterator[Variant]:
    """ "With no" for "without" and the other way round."""
    text = re.sub(r"\bwithout (?=(?!an?\b|the\b|any\b|contrast|comparison)[a-z])", "with no ", row.text)
    text = text if text != row.text else re.sub(r"\bwith no\b", "without", row.text)
    if text != row.text:
        yield text, row.facts


def first_without(row: ChallengeRow) -> Iterator[Variant]:
    """ "Without" for "No" at the start of a statement without a verb."""
    if re.fullmatch(r"No [a-z ,]+\.", row.text) and not re.search(
        r"\b(?:is|are|was|were|has|have|seen|identified|noted|change|evident|visible|present|longer|but|yes|which|that)\b",
        row.text,
    ):
        yield row.text.replace("No ", "Without ", 1), row.facts


def other_conjunction(row: ChallengeRow) -> Iterator[Variant]:
    """ "Nor" and ", no" for the "or" of a denied list."""
    match = re.fullmatch(r"(No [a-z ,]+?) or ([a-z ]+)\.", row.text)
    is_list = match and not re.search(r"\b(?:which|that|but|however|because|if|with)\b|l or p", row.text)
    if match and is_list and all(fact.is_absent for fact in row.facts):
        yield f"{match[1]} nor {match[2]}.", row.facts
        yield f"{match[1]}, no {match[2]}.", row.facts
        yield f"{match[1]} and no {match[2]}.", row.facts


_CONTRACTED = {"is not": "isn't", "are not": "aren't", "has not": "hasn't", "have not": "haven't", "was not": "wasn't"}
_CONTRACTED |= {
    "does not": "doesn't",
    "do not": "don't",
    "cannot": "can't",
    "could not": "couldn't",
    "there is": "there's",
}


def contracted(row: ChallengeRow) -> Iterator[Variant]:
    """Contractions."""
    text = re.sub(
        r"\b(?:" + "|".join(_CONTRACTED) + r")\b",
        lambda match: in_case(_CONTRACTED[match[0].lower()], match[0]),
        row.text,
        flags=re.IGNORECASE,
    )
    if text != row.text:
        yield text, row.facts


def lower_case(row: ChallengeRow) -> Iterator[Variant]:
    """All in lower case."""
    if row.text != row.text.lower():
        yield row.text.lower(), row.facts


def upper_case(row: ChallengeRow) -> Iterator[Variant]:
    """All in capitals."""
    if row.text != row.text.upper() and not re.search(r"\bmay \d|\d may\b", row.text, re.IGNORECASE):
        yield row.text.upper(), row.facts


def without_period(row: ChallengeRow) -> Iterator[Variant]:
    """Without the last period."""
    if _PLAIN_END.search(row.text):
        yield row.text[:-1], row.facts


_BRITISH = {"edema": "oedema", "tumor": "tumour", "visualized": "visualised", "esophagus": "oesophagus"}
_BRITISH |= {"hemothorax": "haemothorax", "favor": "favour", "favors": "favours", "caliber": "calibre"}
_BRITISH |= {"hemorrhage": "haemorrhage", "localized": "localised", "gray": "grey", "center": "centre"}


def british(row: ChallengeRow) -> Iterator[Variant]:
    """British spelling."""
    text = with_words(row.text, _BRITISH)
    if text != row.text:
        yield text, row.facts


def other_seen(row: ChallengeRow) -> Iterator[Variant]:
    """ "Is identified" or "is evident" for "is seen"."""
    for match in islice(_SEEN_NOW.finditer(row.text), 1):
        is_infinitive = match[1].startswith("can")
        words = [word for word in _SEEN if not (is_infinitive and word in _ADJECTIVES_SEEN) and word not in match[0]]
        for word in some_of(row.text, words, 4):
            yield row.text[: match.end(1)] + word + row.text[match.end() :], row.facts


_THERE_IS = re.compile(r"\b[Tt]here (is|are) (?!(?:not|none|still|again|also|now|likely|probably|currently)\b)")


def other_there_is(row: ChallengeRow) -> Iterator[Variant]:
    """ "We see", "the film shows" and the like for "there is"."""
    match = _THERE_IS.search(row.text)
    if match is None or _NOW_ONLY.search(row.text) or re.search(r"\b(?:that|if|whether)\b", row.text[: match.start()]):
        return
    if re.search(r"\b(?:seen|noted|identified|present|evident)\b", row.text):
        return
    be = match[1]
    verb = "exists" if be == "is" else "exist"
    intros = ["we see", "i see", "the film shows", "one sees", "the radiograph demonstrates", "this study shows"]
    intros += [
        f"there {verb}",
        f"there {'appears' if be == 'is' else 'appear'} to be",
        "the patient has",
        "imaging shows",
    ]
    intros += ["the images reveal", "there continues to be" if be == "is" else "there continue to be"]
    for intro in some_of(row.text, intros, 4):
        if "continue" in intro and not all(fact.change == "" for fact in row.facts):
            continue
        start = in_case(intro, match[0][:1]).replace("i see", "I see") + " "
        yield row.text[: match.start()] + start + row.text[match.end() :], row.facts


def _is_alone(row: ChallengeRow) -> bool:
    return _ONE_SENTENCE.match(row.text) is not None and len(row.facts) > 0


_NEUTRAL_ADVERBS = (
    "currently",
    "also",
    "clearly",
    "additionally",
    "furthermore",
    "obviously",
    "evidently",
    "presently",
)


def with_adverb(row: ChallengeRow) -> Iterator[Variant]:
    """An adverb behind the verb."""
    match = re.search(
        r"\b(?:is|are) (?=(?:a|an|no|not|small|large|moderate|mild|seen|identified|present|noted|enlarged)\b)", row.text
    )
    if not _is_alone(row) or match is None or _NOW_ONLY.search(row.text) or "also" in row.text:
        return
    for adverb in some_of(row.text, _NEUTRAL_ADVERBS):
        yield f"{row.text[: match.end()]}{adverb} {row.text[match.end() :]}", row.facts


def with_phrase_in_front(row: ChallengeRow) -> Iterator[Variant]:
    """An adverbial phrase in front of the sentence."""
    if not _is_alone(row) or _NOW_ONLY.search(row.text):
        return
    phrases = ["In addition, ", "On this portable film, ", "At this time, ", "However, ", "Incidentally, ", "Of note, "]
    phrases += ["On today's examination, ", "Allowing for technique, ", "As far as can be seen, ", "Also, "]
    phrases += [
        "On the frontal view, ",
        "In the visualized portions of the chest, ",
        "Within the limits of this study, ",
    ]
    words = row.text.split()
    first = row.text if words[0].isupper() else row.text[0].lower() + row.text[1:]
    for phrase in some_of(row.text, phrases):
        yield phrase + first, row.facts


def with_phrase_behind(row: ChallengeRow) -> Iterator[Variant]:
    """An adverbial phrase behind the sentence."""
    if not _is_alone(row) or _NOW_ONLY.search(row.text):
        return
    phrases = [" at this time", " on this study", " on the current examination", " on today's film", " at present"]
    phrases += [", allowing for technique", " on the frontal view", ", as far as can be seen", " on this portable film"]
    for phrase in some_of(row.text, phrases):
        yield row.text[:-1] + phrase + ".", row.facts


_VERB_BEHIND_NOUN = re.compile(
    r"(?<=[a-z]) (?=(?:is|are|has|have|remains?|persists?|appears?|shows?|can|cannot)\b(?! (?:seen|there)))"
)


def with_phrase_within(row: ChallengeRow) -> Iterator[Variant]:
    """An adverbial phrase between commas in front of the verb."""
    match = _VERB_BEHIND_NOUN.search(row.text)
    if not _is_alone(row) or _NOW_ONLY.search(row.text) or match is None:
        return
    before = row.text[: match.start()].lower()
    if (
        re.search(r"\b(?:there|which|that|and|or|but|who|where|what|none|it|when|nor|neither)$", before)
        or "," in before
    ):
        return
    phrases = [
        ", on this projection,",
        ", however,",
        ", in addition,",
        ", as expected,",
        ", of note,",
        ", on today's film,",
    ]
    phrases += [", on the frontal view,", ", allowing for rotation,", ", incidentally,", ", at this time,"]
    for phrase in some_of(row.text, phrases):
        yield row.text[: match.start()] + phrase + row.text[match.start() :], row.facts


_HEART = ("Heart size is normal.", "The heart is not enlarged.", "The cardiac silhouette is within normal limits.")
_NORMAL_HEART = ChallengeFact(statement="-cardiomegaly")


def _names_no_heart(row: ChallengeRow) -> bool:
    return not {"cardiomegaly", "enlarged_cardiomediastinum", "heart_failure"} & named_findings(row.facts)


def after_technique(row: ChallengeRow) -> Iterator[Variant]:
    """A sentence on technique in front."""
    if _is_alone(row):
        for sentence in some_of(
            row.text,
            ["PA and lateral views.", "Portable AP film.", "The patient is rotated.", "Two views of the chest."],
            2,
        ):
            yield f"{sentence} {row.text}", row.facts


def before_normal_heart(row: ChallengeRow) -> Iterator[Variant]:
    """A sentence on the heart behind or in front."""
    if _is_alone(row) and _names_no_heart(row):
        facts = row.facts | {_NORMAL_HEART}
        sentence = some_of(row.text, _HEART, 1)[0]
        yield f"{row.text} {sentence}", facts
        if not _PRONOUN.search(row.text):
            yield f"{sentence} {row.text}", facts


def before_clause_of_heart(row: ChallengeRow) -> Iterator[Variant]:
    """A clause on the heart behind, in the same sentence."""
    if _is_alone(row) and _names_no_heart(row):
        facts = row.facts | {_NORMAL_HEART}
        for joint in some_of(
            row.text, ["; the heart size is normal.", ", and the heart is not enlarged.", "; heart normal."], 2
        ):
            yield row.text[:-1] + joint, facts


def joined(rows: Sequence[ChallengeRow], joint: str) -> Iterator[tuple[ChallengeRow, Variant]]:
    """Each plain row with another one behind it, which names other findings."""
    plain = [row for row in rows if _is_alone(row) and not _PRONOUN.search(row.text) and not _NOW_ONLY.search(row.text)]
    for number, one in enumerate(plain):
        for step in range(1, len(plain)):
            two = plain[(number * 7 + step * 13 + 1) % len(plain)]
            if not named_findings(one.facts) & named_findings(two.facts) and not re.search(
                r"\bside\b|left\.$|right\.$", one.text + two.text
            ):
                yield one, (_join(one.text, two.text, joint), one.facts | two.facts)
                break


def _join(one: str, two: str, joint: str) -> str:
    if joint == "; ":
        is_name = two.split()[0].isupper()
        return f"{one[:-1]}; {two if is_name else two[0].lower() + two[1:]}"
    if joint == "1.":
        return f"1. {one}\n2. {two}"
    if joint == "- ":
        return f"- {one[:-1]}\n- {two[:-1]}"
    return f"{one}{joint}{two}"


CHANGES: Mapping[str, Change] = {
    "another countable finding": other_count_noun,
    "another finding not counted": other_mass_noun,
    "another device": other_device,
    "the other side": other_side,
    "another degree": other_degree,
    "with no / without": with_no,
    "Without for No": first_without,
    "nor, no for or": other_conjunction,
    "contractions": contracted,
    "lower case": lower_case,
    "upper case": upper_case,
    "no last period": without_period,
    "British spelling": british,
    "another word for seen": other_seen,
    "another word for there is": other_there_is,
    "an adverb": with_adverb,
    "a phrase in front": with_phrase_in_front,
    "a phrase behind": with_phrase_behind,
    "a phrase within": with_phrase_within,
    "a sentence on technique in front": after_technique,
    "a sentence on the heart": before_normal_heart,
    "a clause on the heart": before_clause_of_heart,
}
JOINTS: Mapping[str, str] = {
    "another sentence behind": " ",
    "another statement behind a semicolon": "; ",
    "another line": "\n",
    "numbered items": "1.",
    "items with dashes": "- ",
}
