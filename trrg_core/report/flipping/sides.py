"""One side -> the other: the side words of a mention exchanged, never those of devices or of "bilateral"."""

import re
from collections.abc import Iterator

from trrg_core.report.flipping.grammar import Fact, Source, load_flip_rules

# the left lung has no middle lobe: its counterpart in wording is the mid lung; that of the lingula is the middle lobe
_SIDE = re.compile(
    r"(?<![^\W_])(right middle (?:lobe|lung|zone)|right mid lobe|rml|(?:left )?lingular?\b|"
    r"(?:left|right|lt|rt|lul|rul|lll|rll)(?=wards?\b|[\W_]|$)"
    r"(?! (?:clinical|setting|context|patient|circumstances)))",
    re.IGNORECASE,
)
_OTHER = {"left": "right", "right": "left", "lt": "rt", "rt": "lt", "lul": "rul", "rul": "lul", "lll": "rll"}
_OTHER["rll"] = "lll"
# words that belong to one side of the chest only
_GIVEAWAY = re.compile(
    r"\b(?:(?<!right )middle lobe|lingular? (?:segment|division|portion|lobe|of)|retrocardiac|behind the heart|"
    r"minor fissure|horizontal fissure|azygos|paratracheal|atri(?:um|al)|ventric(?:le|ular)|aort(?:a|ic)|"
    r"heart failure|mainstem|cardiophrenic|cardiac apex|heart border|svc|vena cava)\b",
    re.IGNORECASE,
)
# organs that tell the side of the whole sentence
_ORGAN = re.compile(r"\b(?:liver|hepatic|cholecystectomy|gallbladder|spleen|splenic|stomach|gastric)\b", re.IGNORECASE)
_BREAK = re.compile(r"[,;]| and | or | with | but ", re.IGNORECASE)


def change_side(source: Source, fact: Fact) -> Iterator[str]:
    """Candidate sentences in which `fact`, stated on one side, is stated on the other."""
    text = source.text
    low, high = _stretch(source, fact)
    sides = {match[1].lower()[0] for match in _SIDE.finditer(text)}
    # "calcified granuloma, right base": the only side of the sentence, behind a comma
    own_sides = {match[1].lower()[0] for match in _SIDE.finditer(text, low, high)} or sides
    on_both = any(one.finding == fact.finding and one.laterality not in ("", fact.laterality) for one in source.facts)
    if on_both or len(own_sides) != 1 or _GIVEAWAY.search(text, low, high) or _ORGAN.search(text):
        return
    bound = any(one.laterality == "bilateral" or one.finding in load_flip_rules().devices for one in source.facts)
    if len(sides) == 1 and not bound and not _GIVEAWAY.search(text):
        yield _exchange(text, 0, len(text))
    yield _exchange(text, low, high)


def _stretch(source: Source, fact: Fact) -> tuple[int, int]:
    """The words that can describe `fact`: between its neighbours, and within the commas around it."""
    text = source.text
    low = max((one.end for one in source.facts if one.end <= fact.start), default=0)
    high = min((one.start for one in source.facts if one.start >= fact.end), default=len(text))
    if low:
        cuts = [cut.end() for cut in _BREAK.finditer(text, low, fact.start)]
        low = cuts[-1] if cuts else low
    cut = _BREAK.search(text, fact.end, high)
    return low, cut.start() if cut else high


def _exchange(text: str, low: int, high: int) -> str:
    return text[:low] + _SIDE.sub(_other_side, text[low:high]) + text[high:]


def _other_side(match: re.Match[str]) -> str:
    word = match[1]
    if "lingula" in word.lower():
        other = "right middle lobe"
        return other.upper() if word.isupper() else other.capitalize() if word[0].isupper() else other
    if " " in word or word.lower() == "rml":
        return "Left mid lung" if word[0].isupper() and match.start() == 0 else "left mid lung"
    other = _OTHER[word.lower()]
    if word.isupper():
        return other.upper()
    return other.capitalize() if word[0].isupper() else other
