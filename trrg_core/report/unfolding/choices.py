"""Pick lists: "Edema {none | mild | severe}: mild" is read as "Edema: mild"."""

import re
from collections.abc import Iterator

from trrg_core.report.unfolding.edits import Edit
from trrg_core.report.unfolding.words import names_finding, names_place, side_of

# bounded, so that the work grows with the text and not with its square
_GAP = r"[ \t]{0,4}"
_WORDS = r"[^\n{}\[\]<>()|/]{0,30}"
_LISTED = r"[^\n{}\[\]<>()|/,;]{0,30}"
# the list of all choices, in front of the chosen one
_CHOICES = re.compile(
    rf"{_GAP}(?:\{{{_LISTED}(?:[|/,;]{_LISTED})+\}}|\[{_WORDS}(?:[|/]{_WORDS})+\]|<{_WORDS}(?:[|/]{_WORDS})+>"
    rf"|\({_WORDS}(?:[|/]{_WORDS})+\)){_GAP}(?=[:=])"
)
_CHOICES_BEHIND = re.compile(
    rf"(?<=[:?]){_GAP}(?:\{{{_LISTED}(?:[|/,]{_LISTED})+\}}|\[{_WORDS}(?:\|{_WORDS})+\]|<{_WORDS}(?:\|{_WORDS})+>)"
    rf"{_GAP}[:=]?{_GAP}(?=[^\s{{<\[])"
)
# "(0 none, 1 small, 2 moderate): 1"
_SCALE = re.compile(
    r"[ \t]{0,4}[(\[{]((?:\d ?[=:-]? ?[a-z]+(?: [a-z]+)?[,;/] ?){1,6}\d ?[=:-]? ?[a-z]+)[)\]}] ?[:=]? ?(\d)\b", re.I
)
_GRADE = re.compile(r"(\d) ?[=:-]? ?([a-z]+(?: [a-z]+)?)", re.I)
# "edema score 2/3"
_SCORE = re.compile(rf"{_GAP}\b(?:score|grade|severity){_GAP}[:=]?{_GAP}(\d) ?/ ?\d\b(?!/)", re.I)
_NEXT_BRACE = re.compile(rf"\}}{_GAP}[;.,]?{_GAP}\{{|<(?:br|BR) ?/?>")
# "Effusion ... none"
_DOTS = re.compile(rf"(?:\A|(?<=\n))({_GAP}[A-Z][A-Za-z /]{{2,40}}?){_GAP}\.{{3,}}{_GAP}(?=[A-Za-z])")
# "Effusion: N/A" says nothing
_NOT_ANSWERED = re.compile(
    rf"(?:\A|(?<=\n)|(?<=[.;] ))[A-Za-z /()]{{2,40}}:{_GAP}(?:N/A|n/a|NA)\b[.;]?{_GAP}(?=\n|\Z|[A-Z])"
)
# "effusion +, PTX -"
_PLUS = re.compile(r" \+(?=[,;\n(]|\Z| [(A-Za-z])")
_PLUS_OR_MINUS = re.compile(r"(?<=[A-Za-z)] )([-+])(?=[,;\n]|\Z| [(A-Z])")
_PLURAL = re.compile(r"(?<=[a-z])\(s\)")
# "Effusion, left: large"
_SIDE = r"(?:[Rr]ight|RIGHT|[Ll]eft|LEFT|R|L)"
_SIDE_BEHIND_LABEL = re.compile(rf"(?:\A|(?<=\n)|(?<=[.;*\u2022-] ))([A-Za-z][A-Za-z /]{{2,40}}), ?({_SIDE}) ?:")
# "Costophrenic angles: right sharp, left blunted"
_PART = r"[A-Za-z][A-Za-z -]{2,40}?"
_EACH_SIDE = re.compile(
    rf"(?:\A|(?<=\n)|(?<=[.;*\u2022-] ))([A-Za-z][A-Za-z /]{{2,40}}): ?"
    rf"(?:({_SIDE})[ :=-]{{1,3}}({_PART})[,;/]? (?:and )?({_SIDE})[ :=-]{{1,3}}({_PART})"
    rf"|({_PART}) on the (left|right)[,;]? (?:and |but )?({_PART}) on the (left|right))(?={_GAP}(?:[.;\n]|\Z))"
)
_NO = re.compile(r"(?:no|none|nil|not|absent)\b", re.I)
_BRACES = re.compile(r"[{}]|<(?=[A-Za-z][A-Za-z ,]{2,60}>)|(?<=[a-z]{3})>(?=[\s.;,]|\Z)|\*{3,20}")
_SIGN = re.compile(r"(?<=[A-Za-z)] )([-\u2013+])ve\b")


def choice_edits(text: str) -> Iterator[Edit]:
    """The edits that leave of each pick list what was chosen."""
    yield from sorted(_without_overlaps(_edits(text)))


def _edits(text: str) -> Iterator[Edit]:
    if "{" in text or "|" in text or "/" in text:
        yield from (Edit(*match.span(), "") for match in _CHOICES.finditer(text))
        yield from (Edit(*match.span(), " ") for match in _CHOICES_BEHIND.finditer(text))
    for match in _SCALE.finditer(text):
        words = dict(_GRADE.findall(match[1])).get(match[2])
        if words:
            yield Edit(*match.span(), f": {words}")
    yield from (Edit(*match.span(), "\n") for match in _NEXT_BRACE.finditer(text))
    yield from (Edit(*match.span(), ": none" if match[1] == "0" else ": present") for match in _SCORE.finditer(text))
    yield from (Edit(*match.span(), " " * len(match[0])) for match in _BRACES.finditer(text))
    if "..." in text:
        yield from (Edit(match.end(1), match.end(), ": ") for match in _DOTS.finditer(text))
    yield from (Edit(*match.span(), "") for match in _NOT_ANSWERED.finditer(text))
    yield from (Edit(*match.span(), "") for match in _PLURAL.finditer(text))
    if _PLUS.search(text):
        yield from (Edit(*match.span(), f"({match[1]})") for match in _PLUS_OR_MINUS.finditer(text))
    for match in _SIDE_BEHIND_LABEL.finditer(text):
        side = side_of(match[2][0]).capitalize()
        if names_finding(match[1]):
            yield Edit(match.start(1), match.start(1), f"{side} ")
            yield Edit(match.end(1), match.end() - 1, "")
    for match in _EACH_SIDE.finditer(text):
        if names_place(match[1]):
            yield from _of_each_side(match)
    for match in _SIGN.finditer(text):
        yield Edit(*match.span(), "positive" if match[1] == "+" else "negative")


def _of_each_side(match: "re.Match[str]") -> Iterator[Edit]:
    """The edits of a label with what is said of its two sides: one statement for each."""
    parts = (2, 3, 4, 5) if match[2] else (7, 6, 9, 8)
    sides = [side_of(match[part][0]).capitalize() for part in (parts[0], parts[2])]
    if sides[0] == sides[1] or any(_NO.match(match[part]) for part in (parts[1], parts[3])):
        return
    place = match[1].lower()
    yield Edit(match.start(), match.end(parts[1]), f"{sides[0]} {place} {match[parts[1]]}.\n")
    yield Edit(match.end(parts[1]), match.end(), f"{sides[1]} {place} {match[parts[3]]}.")


def _without_overlaps(edits: Iterator[Edit]) -> list[Edit]:
    kept: list[Edit] = []
    for edit in sorted(edits, key=lambda one: (one.start, -one.end)):
        if not kept or edit.start >= kept[-1].end:
            kept.append(edit)
    return kept
