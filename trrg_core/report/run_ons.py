"""Statements without a stop between them, as voice recognition writes them: "no effusion the heart is enlarged".

Where one ends, a stop is added to the hits, so that no cue and no attribute reaches over it.
"""

import re
from collections.abc import Sequence

from trrg_core.report.lexicon import load_lexicon
from trrg_core.report.scan import Hit, Scan, made_entry

_STOP = made_entry("stop", "stop.run_on", length=1)
# no statement ends with one of these: "there is | no effusion"
_OPEN = frozenset(
    (
        *("a", "an", "the", "of", "in", "on", "at", "to", "for", "with", "from", "by", "and", "or", "nor"),
        *("but", "yet", "is", "are", "was", "were", "be", "been", "has", "have", "had", "shows", "show"),
        *("showed", "showing", "see", "sees", "saw", "find", "found", "if", "whether", "that", "than", "as"),
        *("while", "although", "though", "since", "because", "otherwise", "likely", "probably", "presumably"),
        *("again", "still", "now", "also", "currently", "demonstrates", "demonstrate", "demonstrated"),
        *("reveals", "reveal", "revealed", "contains", "gives", "there", "there's", "which", "where", "when"),
        *("so", "today", "remains", "remain", "made", "make", "makes", "causing", "due", "essentially"),
        *("virtually", "almost", "practically", "basically", "however", "just", "then", "apparently"),
        *("certainly", "absolutely", "notably", "into", "over", "under", "having", "says", "say", "states"),
    )
)
_OPENING = re.compile(r" (?:the|this|these|it|a|an|my|our) (?!same\b|size\b)")
# beside attributes, adjectives of a finding
_ADJECTIVES = frozenset(
    (
        *("residual", "apical", "basal", "basilar", "patchy", "linear", "focal", "healed", "healing", "old"),
        *("displaced", "multiple", "scattered", "diffuse", "few", "loculated", "layering", "dense", "vague"),
        *("bony", "acute", "known", "retrocardiac", "perihilar", "hilar", "interstitial", "pleural"),
        *("l", "r", "lt", "rt", "some", "subsegmental", "bibasal", "adjacent"),
    )
)
_WORD = re.compile(r"[^ ]+")
# a place behind a finding: "scarring at the right apex"
_PARTS = (
    r"(?:(?:left|right|upper|mid|middle|lower|lung|pleural|costophrenic|chest|thoracic|lateral) )*"
    r"(?:lung|lungs|base|bases|apex|apices|lobe|lobes|zone|zones|side|sides|hemithorax|wall|spine|hilum|space|angle"
    r"|lingula|rul|rml|rll|lul|lll)"
)
_WHERE = re.compile(
    rf" (?:in|at|on|of|along|over|within|near) (?:(?:the |both |each |either )?{_PARTS}|the (?:left|right))(?= )"
)
# "edema better than yesterday | effusions unchanged"
_THAN = re.compile(
    r"(?: (?:[a-z]+ )?[a-z]+ (?:than|since|from|compared (?:to|with)) (?:the )?"
    r"(?:(?:prior|previous|last|earlier) (?:film|study|exam|one|week|month|year|night)|yesterday|before"
    r"|previously|[a-z]+day)"
    r"| (?:is |are )?in (?:place|situ|(?:(?:good|satisfactory|unchanged|standard) )?position))(?= )"
)
_PLACE = re.compile(
    r"(?: (?:left|right|upper|mid|lower))+ (?:lung|base|apex|lobe|zone|hemithorax|side)\b"
    r"(?! (?:is|are|remains|clear|normal)\b)"
)
# organs of which a statement may say something: not "consolidation right lower lobe"
_ORGAN = re.compile(r"(?:heart|cardi|lungs?\b|mediastin|aort|trachea|bones|hila|costophrenic|pleural spaces)")
# names of one thing: "no pneumonia infiltrate"
_ALIKE = frozenset(
    (
        *("opacity", "infiltrate", "consolidation", "airspace_disease", "pneumonia", "atelectasis", "nodular_opacity"),
        *("ground_glass_opacity", "interstitial_disease", "nodule", "mass", "aspiration", "contusion", "cavity"),
        *("tuberculosis", "emphysema", "bulla", "copd", "metastasis"),
    )
)
_BONES = frozenset(("fracture", "dislocation", "bone_lesion", "degenerative_change"))
# a change behind a finding that the next one has too: "left effusion improved | right effusion unchanged"
_CHANGED = (
    r" (?:(?:is|are|has|have|slightly|much) )*(?:unchanged|stable|the same|same|improved|improving|worse|worsened"
    r"|better|smaller|larger|bigger|less|increased|decreased|resolved|gone|(?:clearing|resolving)(?: nicely| well)?"
    r"|getting (?:smaller|larger|better|worse))\b"
)
_SAID_BEHIND = re.compile(_CHANGED)
# a side behind a finding: "effusion left small | effusion right moderate"
_DEGREE = r"(?:trace|tiny|minimal|small|mild|moderate|large|severe)"
_SIDE_BEHIND = re.compile(rf" (left|right)(?: {_DEGREE})? ")
_OTHER_SIDE = re.compile(r" (left|right)\b")
# the heart is, and of the aorta something else is said
_TWO_ENLARGED = re.compile(
    r"\b(?:heart|heart size|cardiac silhouette)(?: is)?(?: [a-z]+ly)? (enlarged) "
    r"(aorta)(?= (?:is |[a-z]+ly )*(?:calcified|tortuous|unfolded|ectatic|normal|atherosclerotic)\b)"
)
# "effusions unchanged | ett 3 cm above carina"
_WHERE_DEVICE = re.compile(r" (?:\d|tip\b|ends\b|ok\b|(?:in|at|above|below) [a-z])")
# items that are numbered in words: "impression one no pneumothorax two small left effusion"
_NUMBERED = re.compile(
    r"(?:(?:impression|findings?|conclusion|summary|opinion)s?[:,.]? (?:number )?one|number one"
    r"|one(?= (?:no|the|there|normal|stable|unchanged)\b))[:,.]? "
)
_FIRST_WORDS = ("one ", "number one", "impression", "finding", "conclusion", "summary", "opinion")
_NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight")
# a list of places that a denial ends: "infiltrates rul and rml | no cavity"
_PLACE_BEFORE = re.compile(
    r"\b(?:rul|rml|rll|lul|lll|lingula|bases?|lobes?|apex|apices|zones?|lungs?|to (?:the )?(?:left|right|l|r)) \Z"
)
# "in the right lung no nodule is seen"
_PLACE_IN_FRONT = re.compile(
    r"(?:in|on|at|over|within|behind|throughout|along|near) (?:the |both |either |each )?(?:[a-z]+ ){1,5}"
)
_DEVICES = frozenset(("endotracheal_tube", "enteric_tube", "central_venous_catheter", "tracheostomy", "chest_tube"))
_DENIALS = ("absent.no", "absent.without")
_FEWEST = 3
_MODIFIERS = frozenset(("break", "place", "state"))
# what only a denial says of the next item of a list without its commas: "no pneumothorax large effusion or edema"
_DENIABLE = re.compile(r"(?: (?:large|significant|sizable|focal|acute|overt|frank|definite|discrete|suspicious))* ")
# the last item of a list that has lost its "or": "no effusion pneumothorax."
_OFTEN_DENIED = frozenset(
    (
        *("pneumothorax", "effusion", "pleural effusion", "consolidation", "edema", "fracture", "infiltrate"),
        *("pneumonia", "ptx"),
    )
)
_ENDS = re.compile(r"(?: (?:seen|identified|noted|present))?(?:\.?$|,)")
_LIST_GOES_ON = re.compile(r"(?: [a-z]+){0,3},? (?:or|nor|and/or) ")


def add_run_on_stops(scan: Scan) -> Scan:
    """`scan` with a stop wherever a statement begins that no stop, comma or conjunction separates from the last."""
    hits, text = scan.hits, scan.plain.text
    if "enlarged " in text and _TWO_ENLARGED.search(text):
        scan = _split(scan)
        hits = scan.hits
    if len(hits) < _FEWEST:
        return scan
    last = -1
    has_place = False
    cuts = _numbered_items(text) if text.startswith(_FIRST_WORDS) else []
    for index, hit in enumerate(hits):
        part = hit.entry.part
        if not part:
            continue
        if part == "joint":
            last, has_place = -1, False
        elif last < 0 and part == "place":
            has_place = True
        elif part == "no":
            is_listed = last < 0 and _PLACE_BEFORE.search(text, max(0, hit.start - 13), hit.start) is not None
            is_listed = is_listed and _PLACE_IN_FRONT.fullmatch(text, 0, hit.start) is None
            if (last >= 0 or is_listed) and text[hit.end :][:1] == " " and _ends_before(text, hit.start):
                cuts.append(hit.start)
                last = -1
        elif part == "done":  # "picc removed | right chest tube in place"
            last = index if last >= 0 and hit.start == hits[index - 1].end + 1 else -1
        elif part == "participle":
            last = index if last >= 0 else last
        else:
            if last >= 0 and (cut := _cut_between(scan, last, index)) >= 0:
                cuts.append(cut)
            if part == "finding":
                last, has_place = index, False
            elif part == "decoy":
                last, has_place = -1, False
            elif part == "place":
                has_place = True
            elif index and _is_said(hits, index, has_place):
                last = index
    if not cuts:
        return scan
    stops = [Hit(cut - 1, cut, _STOP) for cut in cuts]
    merged = sorted([*stops, *hits], key=lambda one: (one.start, one.end))
    return Scan(scan.plain, merged, scan.attributes, scan.has_target)


def _numbered_items(text: str) -> list[int]:
    """Where the second and later items begin that are numbered in words."""
    cuts: list[int] = []
    first = _NUMBERED.match(text)
    at = first.end() if first else len(text)
    for number in _NUMBERS:
        for words in (f" number {number} ", f" {number} "):
            found = text.find(words, at)
            if found >= 0:
                cuts.append(found + 1)
                at = found + len(words)
                break
        else:
            break
    return cuts


def _split(scan: Scan) -> Scan:
    """`scan` with "enlarged" of "heart enlarged aorta calcified" as the state of the heart."""
    at = {match.start(1): match.start(2) for match in _TWO_ENLARGED.finditer(scan.plain.text)}
    words = load_lexicon().automaton
    hits: list[Hit] = []
    for hit in scan.hits:
        if hit.start in at and hit.entry.is_finding:
            middle = at[hit.start]
            hits.append(Hit(hit.start, middle - 1, words.get("enlarged")))
            hits.append(Hit(middle, hit.end, words.get(scan.plain.text[middle : hit.end])))
        else:
            hits.append(hit)
    return Scan(scan.plain, hits, scan.attributes, scan.has_target)


def _ends_before(text: str, start: int) -> bool:
    """Whether a statement can end right before `start`: "recommend ct | no adenopathy"."""
    if not text.startswith("no", start) or text[start - 1] != " " or not text[start - 2].isalnum():
        return False
    return text[text.rfind(" ", 0, start - 1) + 1 : start - 1] not in _OPEN


def _cut_between(scan: Scan, last: int, index: int) -> int:
    """Where the statement of hit `last` ends before that of hit `index`; -1 where both may be one statement."""
    hits, text = scan.hits, scan.plain.text
    one, two = hits[last], hits[index]
    if (
        text.startswith(" or ", one.end)
        or one.end >= two.start
        or text[one.end] != " "
        or (one.entry.is_finding and one.entry.is_state)
    ):
        return -1
    opening = _OPENING.match(text, one.end)
    if opening is not None:
        return one.end + 1 if _is_noun(one, text) and _states(hits, index) else -1
    if (behind := _behind(hits, last, index, text)) > 0:
        return behind
    begin = one.end
    where = _WHERE.match(text, one.end)
    if where is None and not (last and hits[last - 1].entry.terms[0].name in _DENIALS):
        where = _PLACE.match(text, one.end)  # "no ptx | left base atelectasis"
    compared = _THAN.match(text, where.end() if where else one.end)
    where = compared or where
    if where is not None:
        begin = where.end()
        if begin > two.start or (compared is None and two.entry.is_finding and two.start == begin + 1):
            return -1  # "a level in the right lower lobe cavity"
    elif one.entry.role == "participle" and not (last > 1 and hits[last - 2].entry.part == "no"):
        return -1
    if any(one.entry.role not in _MODIFIERS for one in hits[last + 1 : index] if one.start >= begin):
        return -1
    if not _says_only_marks(scan, begin, two.start) or not _begins(hits, index, text):
        return -1
    if _DENIABLE.fullmatch(text, begin, two.start) and (
        two.start > begin + 1
        or _are_alike(one, two)
        or _LIST_GOES_ON.match(text, two.end)
        or (_ENDS.match(text, two.end) and text[two.start : two.end] in _OFTEN_DENIED)
    ):
        return -1
    return begin + 1


def _behind(hits: Sequence[Hit], last: int, index: int, text: str) -> int:
    """Where what is said behind hit `last` ends, if the next has its own: "effusion left small | effusion right"."""
    one, two = hits[last], hits[index]
    if not two.entry.is_finding:
        change = _SAID_BEHIND.match(text, one.end, two.start)
        is_new = change is not None and _OPENING.match(text, change.end()) is not None and _states(hits, index)
        return change.end() + 1 if change is not None and is_new else -1
    side = _SIDE_BEHIND.fullmatch(text, one.end, two.start)
    if side is not None and (other := _OTHER_SIDE.match(text, two.end)) and other[1] != side[1]:
        return side.end()
    place = _PLACE.match(text, one.end, two.start)
    change = _SAID_BEHIND.match(text, place.end() if place else one.end, two.start)
    if change is None:
        return -1
    place = _PLACE.match(text, two.end)
    is_device = two.entry.terms[0].name in _DEVICES and hits[last - 1].entry.terms[0].name not in _DENIALS
    is_said = _SAID_BEHIND.match(text, place.end() if place else two.end) or (
        is_device and _WHERE_DEVICE.match(text, two.end)
    )
    return change.end() + 1 if is_said else -1


def _is_said(hits: Sequence[Hit], index: int, has_place: bool) -> bool:
    """Whether the state at `index` is said of something before it: "the left side is clear", "heart large"."""
    before = hits[index - 1].entry
    following = hits[index + 1] if index + 1 < len(hits) else None
    if following is not None and (following.entry.is_finding or following.entry.is_place):
        is_degree = any(kind == "severity" for kind, _ in hits[index].entry.attributes)
        if following.entry.is_finding and (is_degree or following.start <= hits[index].end + 1):
            return False
    if before.role == "verb":
        return hits[index - 1].end + 1 == hits[index].start
    return has_place and (before.is_place or before.role == "break")


def _is_noun(hit: Hit, text: str) -> bool:
    """Whether no object can follow `hit`: "effusion", "clear", not "displaced the trachea"."""
    return not text.endswith(("ed", "ing"), hit.start, hit.end) or hit.entry.role == "participle"


def _states(hits: Sequence[Hit], index: int) -> bool:
    """Whether a verb follows the hit at `index` in its clause, or a state a place."""
    for hit in hits[index:]:
        if hit.entry.role in ("comma", "and", "new_item", "stop"):
            return False
        if hit.entry.has_verb or (hit.entry.is_state and hits[index].entry.is_place and hit is not hits[index]):
            return True
    return False


def _begins(hits: Sequence[Hit], index: int, text: str) -> bool:
    """Whether a statement begins with the hit at `index`: a finding, an organ and its state, "normal heart"."""
    hit = hits[index]
    if hit.entry.is_finding:
        return True
    if hit.entry.is_place:
        return _ORGAN.match(text, hit.start) is not None and _states(hits, index)
    following = hits[index + 1] if index + 1 < len(hits) else None
    return following is not None and following.entry.is_place and following.start <= hit.end + 1


def _are_alike(one: Hit, two: Hit) -> bool:
    names = {term.name for hit in (one, two) for term in hit.entry.terms if term.role == "finding"}
    return two.entry.is_finding and (names <= _ALIKE or names <= _BONES)


def _says_only_marks(scan: Scan, low: int, high: int) -> bool:
    """Whether [low, high) holds nothing but words that describe what follows."""
    if high - low <= 1:
        return True
    spans = [
        (hit.start, hit.end) for hit in scan.attributes if hit.start < high and hit.end > low and hit.entry.attributes
    ]
    return all(
        word[0] in _ADJECTIVES or any(start <= word.start() < end for start, end in spans)
        for word in _WORD.finditer(scan.plain.text, low, high)
    )
