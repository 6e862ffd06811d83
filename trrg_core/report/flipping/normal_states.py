"""A normal state -> its opposite: "heart size is normal" -> "heart size is enlarged".

Of a joint statement one place is turned round and the others stay normal.
"""

import re
from collections.abc import Iterator, Sequence

from trrg_core.report.flipping.grammar import (
    VERB,
    Fact,
    Source,
    find_clause,
    find_cue,
    is_plural,
    join_list,
    uncapital,
)

_NEAR_LAST = re.compile(r"\b(?:(?:at|on|near|towards?|in) )?(?:the |near |at |towards? )$", re.I)
_OPPOSITES = {
    "heart": "enlarged",
    "mediastinum": "widened",
    "heart_and_mediastinum": "enlarged",
    "costophrenic_angle": "blunted",
    "hilum": "enlarged",
}
# how a place is called when it is taken out of "the cardiac, mediastinal and hilar contours are normal"
_SUBJECTS = {
    "cardiomegaly": ("heart size", "the heart is enlarged"),
    "enlarged_cardiomediastinum": ("mediastinal contours", "the mediastinum is widened"),
    "lymphadenopathy": ("hilar contours", "the hila are enlarged"),
    "blunted_angle": ("costophrenic angles", "the costophrenic angles are blunted"),
}
_MEASURES = re.compile(
    r"^(?:,? (?:(?:in|and|or|for|of) )?(?:overall |the )?"
    r"(?:size|sizes|contours?|configuration|appearance|caliber|shape|position|limits|age)\b)+",
    re.I,
)
_ONE = {"are": "is", "remain": "remains", "appear": "appears", "were": "was"}
_MANY_VERB = re.compile(r"^(?:are|remain|appear|were)\b", re.I)
_SUBJECT_SEPARATOR = re.compile(r", and (?:the )?|, (?:the )?| and (?:the )?", re.I)


def affirm_state(source: Source, fact: Fact) -> Iterator[str]:
    """ "heart size is normal" -> "heart size is enlarged"; of a joint statement, one place is turned round."""
    text = source.text
    opposite = _OPPOSITES.get(fact.rule.split("+")[0])
    at = find_cue(text, fact.cue, fact.start, fact.end)
    if opposite is None or at < 0:
        return
    low, high = find_clause(text, fact.start)
    others = [one for one in source.facts if one is not fact and one.start < fact.end and fact.start < one.end]
    if others or _SUBJECT_SEPARATOR.search(text, fact.start, at):
        yield from _affirm_joint_state(source, fact, others, at, (low, high))
    if others:
        return
    if "silhouette" in text[fact.start : fact.end].lower():
        opposite = "enlarged" if opposite == "widened" else opposite
    end = at + len(fact.cue)
    measures = _MEASURES.match(text[end:])
    end += measures.end() if measures else 0
    yield f"{_NEAR_LAST.sub('', text[:at])}{opposite}{text[end:]}"


def _affirm_joint_state(
    source: Source, fact: Fact, others: Sequence[Fact], at: int, clause: tuple[int, int]
) -> Iterator[str]:
    text, (low, high) = source.text, clause
    if fact.finding not in _SUBJECTS:
        return
    turned = _SUBJECTS[fact.finding][1]
    verb = VERB.search(text, low, at)
    subject = text[low : verb.start() if verb else at].strip()
    spans = [one.span() for one in _SUBJECT_SEPARATOR.finditer(subject)]
    cuts = [0, *(end for _, end in spans), len(subject)]
    items = [subject[a:b] for a, b in zip(cuts, [*(start for start, _ in spans), len(subject)], strict=False)]
    owned = [index for index, start in enumerate(cuts[:-1]) if start <= fact.start - low < cuts[index + 1]]
    kept = [re.sub(r"^the ", "", uncapital(item)) for index, item in enumerate(items) if index not in owned]
    is_split = len(owned) == 1 and all(_is_noun(item) for item in items)
    starts = {
        index for one in others for index, start in enumerate(cuts[:-1]) if start <= one.start - low < cuts[index + 1]
    }
    if not others and kept and all(_MEASURES.match(f" {item}") for item in kept):
        yield f"{text[:low]}{turned}{text[high:]}"  # "heart size and shape are normal"
    elif verb and is_split and kept and len(starts - set(owned)) == len(others):
        state = text[verb.start() : high]
        if not (len(kept) > 1 or is_plural(kept[0])):
            state = _MANY_VERB.sub(lambda match: _ONE[match[0].lower()], state)
        yield f"{text[:low]}{turned}, but the {join_list(kept, 'and')} {state}{text[high:]}"
    elif not others and is_split and kept:
        opposite = _OPPOSITES[fact.rule.split("+")[0]]
        yield f"{text[:low]}{items[owned[0]]} {opposite}, but {join_list(kept, 'and')} {text[at:high]}{text[high:]}"
    elif all(one.finding in _SUBJECTS for one in others) and others:
        subjects = list(dict.fromkeys(_SUBJECTS[one.finding][0] for one in others))
        are = "is" if subjects == ["heart size"] else "are"
        state = "normal" if fact.cue.startswith(("not ", "no ", "non")) or "size" in fact.cue else fact.cue
        yield f"{text[:low]}{turned}, but the {join_list(subjects, 'and')} {are} {state}{text[high:]}"


def _is_noun(words: str) -> bool:
    last = words.rsplit(" ", 1)[-1].lower()
    return not last.endswith(("al", "ar", "ic")) and last not in ("cardiac", "mediastinal", "hilar")
