"""Reading styles beside plain prose: how the findings of a drawn study are dictated, in words that other readers use.

Sentences of a report and its truth -> the same facts in another style, with where each line ends. A style that only
rewrites words keeps the drawn sentences; shorthand and templates are written anew from the drawn signs and denials.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Literal

from trrg_core.labels import Assertion
from trrg_core.sources.sample.ground_truth import Sign, StudyTruth
from trrg_core.sources.sample.slots import slots_of
from trrg_core.sources.sample.wording import Fact, Sentence

Styles = Literal["plain", "mixed"]
Style = Literal["prose", "capitals", "contracted", "british", "list", "bullets", "shorthand", "template"]
# how often each style is drawn in a mixed corpus
STYLE_ODDS: Mapping[Style, float] = {
    "prose": 0.3,
    "capitals": 0.1,
    "contracted": 0.1,
    "british": 0.1,
    "list": 0.1,
    "bullets": 0.1,
    "shorthand": 0.1,
    "template": 0.1,
}
# styles of which every sentence is a line of its own
LINES: frozenset[Style] = frozenset({"list", "bullets", "shorthand", "template"})

_CONTRACTED = (
    (r"\bThere is no\b", "There isn't any"),
    (r"\bThere are no\b", "There aren't any"),
    (r"\bis not\b", "isn't"),
    (r"\bare not\b", "aren't"),
    (r"\bhas not\b", "hasn't"),
    (r"\bcannot\b", "can't"),
    (r"\bThere is\b", "There's"),
    (r"\b[Ww]ithout\b", "w/o"),
    (r"\bNo evidence of\b", "Neg for"),
)
_BRITISH = (
    (r"\bedema\b", "oedema"),
    (r"\bEdema\b", "Oedema"),
    ("(?<=[Hh])emo(?=thorax)", "aemo"),
    (r"\besoph", "oesoph"),
    (r"\bcaliber\b", "calibre"),
    (r"\bmineralized\b", "mineralised"),
    (r"\bvisualized\b", "visualised"),
    (r"\bcenter", "centre"),
    (r"\bfavored\b", "favoured"),
    (r"\btumor", "tumour"),
)
_SHORT: Mapping[str, str] = {
    "edema": "edema",
    "atelectasis": "atelectasis",
    "consolidation": "consol",
    "pneumonia": "pna",
    "opacity": "opacity",
    "nodule": "nodule",
    "mass": "mass",
    "pleural_effusion": "effusion",
    "pneumothorax": "ptx",
    "pleural_thickening": "pleural thickening",
    "cardiomegaly": "cardiomegaly",
    "enlarged_cardiomediastinum": "mediastinal widening",
    "fracture": "rib fx",
}
_TITLES: Mapping[str, str] = {
    "edema": "Edema",
    "atelectasis": "Atelectasis",
    "consolidation": "Consolidation",
    "pneumonia": "Pneumonia",
    "opacity": "Lung opacity",
    "nodule": "Nodule",
    "mass": "Mass",
    "pleural_effusion": "Pleural effusion",
    "pneumothorax": "Pneumothorax",
    "pleural_thickening": "Pleural thickening",
    "cardiomegaly": "Cardiomegaly",
    "enlarged_cardiomediastinum": "Mediastinal widening",
    "fracture": "Rib fracture",
}
_DEVICES: Mapping[str, tuple[str, str]] = {
    "endotracheal_tube": ("ETT", "in good position"),
    "enteric_tube": ("NGT", "in stomach"),
    "central_line": ("IJ CVC", "tip in SVC"),
    "picc": ("PICC", "tip in SVC"),
    "port": ("port", "tip in SVC"),
    "pacemaker": ("pacer", "leads ok"),
    "sternal_wires": ("sternal wires", "intact"),
    "chest_tube": ("chest tube", "in place"),
}
_SIZED = frozenset({"pleural_effusion", "pneumothorax", "mass", "nodule"})
_CHANGES = {"new": "new", "worse": "worse", "better": "improved", "same": "unchanged", "": ""}
_SIDES = {"left": "l", "right": "r", "both": "bilateral", "": ""}


def draw_style(rng: Random) -> Style:
    """A style with the odds of a mixed corpus."""
    return rng.choices(list(STYLE_ODDS), list(STYLE_ODDS.values()))[0]


def restyle(sentences: Sequence[Sentence], truth: StudyTruth, style: Style, rng: Random) -> list[Sentence]:
    """`sentences` of one section in `style`, with the facts that the new words state."""
    if style in ("shorthand", "template") and sentences:
        lines = list(_shorthand(sentences, truth) if style == "shorthand" else _template(sentences, truth))
        return lines or [Sentence(text="lungs clear" if style == "shorthand" else "Lungs: clear")]
    both = [_of_both_sides(sentence, truth, rng) for sentence in sentences]
    return [replace(sentence, text=_REWRITE[style](sentence.text)) for sentence in both]


def _rewriter(pairs: Sequence[tuple[str, str]]) -> Callable[[str], str]:
    def rewrite(text: str) -> str:
        for pattern, words in pairs:
            text = re.sub(pattern, words, text)
        return text[:1].upper() + text[1:]

    return rewrite


_REWRITE: Mapping[Style, Callable[[str], str]] = {
    "prose": str,
    "capitals": str.upper,
    "contracted": _rewriter(_CONTRACTED),
    "british": _rewriter(_BRITISH),
    "list": lambda text: text.rstrip("."),
    "bullets": lambda text: f"- {text.rstrip('.')}",
}


def _of_both_sides(sentence: Sentence, truth: StudyTruth, rng: Random) -> Sentence:
    """A sentence about effusions of both sides, with a degree for each; any other as it is."""
    (fact,) = sentence.facts if len(sentence.facts) == 1 else (None,)
    sign = truth.sign(fact.finding) if fact else None
    if fact is None or sign is None or fact.finding != "pleural_effusion" or fact.assertion is not Assertion.PRESENT:
        return sentence
    if sign.side != "both" or sign.change:
        return sentence
    size = slots_of(sign)["size"]
    form = rng.choice(
        (
            "{size} left and {size} right pleural effusions.",
            "There are effusions, {size} on the right and {size} on the left.",
            "The left effusion is {size} and the right is {size}.",
            "Effusion on either side, {size}.",
        )
    )
    words = form.format(size=size)
    return replace(sentence, text=words[0].upper() + words[1:])


def _shorthand(sentences: Sequence[Sentence], truth: StudyTruth) -> Iterator[Sentence]:
    """ "sm l effusion", "? pna rll", "no ptx": one line for each fact of `sentences`."""
    for kind, side, fact in _stated_devices(sentences, truth):
        name, place = _DEVICES[kind]
        yield Sentence(text=" ".join(f"{_SIDES[side]} {name} {place}".split()), facts=(fact,))
    denied: list[Fact] = []
    for fact in _distinct(sentences):
        sign = truth.sign(fact.finding)
        if fact.assertion is Assertion.ABSENT:
            denied.append(fact)
        elif sign is not None and sign.assertion is fact.assertion:
            mark = "? " if fact.assertion is Assertion.UNCERTAIN else ""
            words = f"{_CHANGES[sign.change]} {_degree(sign)} {_SIDES[sign.side]} {_SHORT[sign.finding]}"
            yield Sentence(text=mark + " ".join(words.split()), facts=(fact,))
        else:
            mark = "? " if fact.assertion is Assertion.UNCERTAIN else ""
            yield Sentence(text=mark + fact.finding.replace("_", " "), facts=(fact,))
    for start in range(0, len(denied), 2):
        pair = denied[start : start + 2]
        names = "/".join(_SHORT.get(fact.finding, fact.finding.replace("_", " ")) for fact in pair)
        yield Sentence(text=f"no {names}", facts=tuple(pair))


def _template(sentences: Sequence[Sentence], truth: StudyTruth) -> Iterator[Sentence]:
    """ "Pleural effusion: small, left", "Pneumothorax: none": one line for each fact of `sentences`."""
    for kind, side, fact in _stated_devices(sentences, truth):
        name, place = _DEVICES[kind]
        yield Sentence(text=f"Lines and tubes: {' '.join([side, name]).strip()}, {place}", facts=(fact,))
    for fact in _distinct(sentences):
        title = _TITLES.get(fact.finding, fact.finding.replace("_", " ").capitalize())
        sign = truth.sign(fact.finding)
        if fact.assertion is Assertion.ABSENT:
            answer = "none"
        elif sign is not None and sign.assertion is fact.assertion:
            side = "bilateral" if sign.side == "both" else sign.side
            doubt = "possible" if fact.assertion is Assertion.UNCERTAIN else ""
            answer = ", ".join(word for word in (doubt, _degree(sign), side, _CHANGES[sign.change]) if word)
        else:
            answer = "possible" if fact.assertion is Assertion.UNCERTAIN else "present"
        yield Sentence(text=f"{title}: {answer}", facts=(fact,))


def _stated_devices(sentences: Sequence[Sentence], truth: StudyTruth) -> Iterator[tuple[str, str, Fact]]:
    """Kind and side of the devices of the study, if `sentences` state devices at all."""
    stated = {fact.finding for sentence in sentences for fact in sentence.facts}
    for device in truth.devices:
        finding = "sternal_wires" if device.kind == "sternal_wires" else "support_device"
        if finding in stated:
            yield device.kind, device.side, Fact(finding=finding, assertion=Assertion.PRESENT)


def _distinct(sentences: Sequence[Sentence]) -> list[Fact]:
    facts = (fact for sentence in sentences for fact in sentence.facts)
    return [fact for fact in dict.fromkeys(facts) if fact.finding not in ("support_device", "sternal_wires")]


def _degree(sign: Sign) -> str:
    slots = slots_of(sign)
    return slots["size" if sign.finding in _SIZED else "grade"] if sign.finding != "fracture" else ""
