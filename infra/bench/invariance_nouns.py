"""Other findings and devices put into a challenge sentence, and what the changes of `invariance_changes.py` share."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from zlib import crc32

from infra.bench.challenge_rows import ChallengeFact, ChallengeRow, reduced

Variant = tuple[str, frozenset[ChallengeFact]]

# nouns of one grammatical kind, singular (and plural): the finding each names
COUNT_NOUNS: Mapping[str, tuple[str, str]] = {
    "pleural effusion": ("pleural effusions", "pleural_effusion"),
    "effusion": ("effusions", "pleural_effusion"),
    "pneumothorax": ("pneumothoraces", "pneumothorax"),
    "nodule": ("nodules", "nodule"),
    "mass": ("masses", "mass"),
    "cavity": ("cavities", "cavity"),
    "opacity": ("opacities", "opacity"),
    "infiltrate": ("infiltrates", "infiltrate"),
    "granuloma": ("granulomas", "granuloma"),
    "bulla": ("bullae", "bulla"),
    "fracture": ("fractures", "fracture"),
    "hiatal hernia": ("hiatal hernias", "hernia"),
    "metastasis": ("metastases", "metastasis"),
    "pleural plaque": ("pleural plaques", "pleural_plaque"),
    "contusion": ("contusions", "contusion"),
}
MASS_NOUNS: Mapping[str, str] = {
    "pneumonia": "pneumonia",
    "edema": "edema",
    "atelectasis": "atelectasis",
    "consolidation": "consolidation",
    "emphysema": "emphysema",
    "fibrosis": "fibrosis",
    "bronchiectasis": "bronchiectasis",
    "pleural thickening": "pleural_thickening",
    "lymphadenopathy": "lymphadenopathy",
    "subcutaneous emphysema": "subcutaneous_emphysema",
    "vascular congestion": "vascular_congestion",
    "pneumomediastinum": "pneumomediastinum",
    "scarring": "scar",
}
DEVICES: Mapping[str, str] = {
    "chest tube": "chest_tube",
    "pacemaker": "pacemaker",
    "central line": "central_venous_catheter",
    "nasogastric tube": "enteric_tube",
    "endotracheal tube": "endotracheal_tube",
    "tracheostomy tube": "tracheostomy",
}
_MOST = 3


def some_of(text: str, names: Sequence[str], count: int = _MOST) -> Sequence[str]:
    """`count` of `names`, always the same for a text."""
    start = crc32(text.encode()) % max(1, len(names))
    return [*names[start:], *names[:start]][:count]


def named_findings(facts: frozenset[ChallengeFact]) -> set[str]:
    """The findings of `facts`, without signs and asides."""
    return {fact.statement[1:].split("@")[0] for fact in facts}


def _renamed(facts: frozenset[ChallengeFact], old: str, new: str) -> frozenset[ChallengeFact]:
    def renamed(statement: str) -> str:
        name, at, aside = statement[1:].partition("@")
        return statement[0] + (new if name == old else name) + at + aside

    return reduced([replace(fact, statement=renamed(fact.statement)) for fact in facts])


def in_case(new: str, old: str) -> str:
    """`new` with the capitals of `old`."""
    if old.isupper() and len(old) > 1:
        return new.upper()
    return new[:1].upper() + new[1:] if old[:1].isupper() else new


def with_words(text: str, words: Mapping[str, str]) -> str:
    """`text` with whole words replaced, in the case of the old ones, and with "a" or "an" in front of them."""
    pattern = re.compile(
        r"(?:\b(an?) )?\b(" + "|".join(sorted(map(re.escape, words), key=len, reverse=True)) + r")\b", re.IGNORECASE
    )

    def new(match: re.Match[str]) -> str:
        word = in_case(words[match[2].lower()], match[2])
        if match[1] is None:
            return word
        article = "an" if word[0].lower() in "aeiou" else "a"
        return f"{in_case(article, match[1])} {word}"

    return pattern.sub(new, text)


def other_count_noun(row: ChallengeRow) -> Iterator[Variant]:
    """Another countable finding: "effusion" for "nodule"."""
    for noun, (plural, finding) in COUNT_NOUNS.items():
        yield from _with_noun(row, {noun: 0, plural: 1}, finding, [(n, *both) for n, both in COUNT_NOUNS.items()])


def other_mass_noun(row: ChallengeRow) -> Iterator[Variant]:
    """Another finding that is not counted: "edema" for "emphysema"."""
    for noun, finding in MASS_NOUNS.items():
        yield from _with_noun(row, {noun: 0}, finding, [(n, n, other) for n, other in MASS_NOUNS.items()])


# what belongs to one finding alone: "loculated effusion", "rib fracture", "focal consolidation"
_TIED = re.compile(
    r"(?:ribs?|clavic[a-z]+|vertebral|compression|heal(?:ed|ing)|pleural|pulmonary|interstitial|tension|pericardial|lungs?"
    r"|calcified|cavit[a-z]+|airspace|locul[a-z]+|layering|lobar|bullous|subpulmonic|hiat[a-z]+|bony|osseous|soft|tissue"
    r"|chest|wall|nodular|rounded|solitary|aspiration|displaced|spiculated|subcutaneous|surgical|discoid|linear|lobe"
    r"|middle|apical|basilar|basal|bibasilar|bibasal|bilateral|hilar|mediastinal|focal|air|metastatic|compressive"
    r"|vascular|acute|chronic|centrilobular|glass|spine|old|fissure|drain|drained|tube|fluid|lines?|enlarged|cardiac"
    r"|heart|failure|aortic|primary|secondary|infecti[a-z]+|overload|peripheral|septal|angles?|vessels?|nodes?|lytic"
    r"|multifocal|kerley|septic|bronchograms?|volume|loss|versus|vs|or|embol[a-z]+|tb|tuberculosis|wedge|sarcoid[a-z]*"
    r"|fractures?|consolidat[a-z]+|atelectatic|collapsed?|[a-z]+-[a-z]+|\d.*)",
    re.IGNORECASE,
)


def _with_noun(
    row: ChallengeRow, forms: Mapping[str, int], finding: str, nouns: Sequence[tuple[str, str, str]]
) -> Iterator[Variant]:
    names = named_findings(row.facts)
    pattern = r"(?<![\w-])(?<!\bpleural )(?:" + "|".join(map(re.escape, forms)) + r")(?![\w-])"
    found = list(re.finditer(pattern, row.text, re.IGNORECASE))
    if not found or finding not in names or len(found) != _times(row.text, finding):
        return
    rest = re.sub(pattern, "", row.text, flags=re.IGNORECASE)
    beside = {word.lower().strip() for match in found for word in _beside(row.text, match)}
    if any(_TIED.fullmatch(word) for word in beside):
        return
    others = [noun for noun in nouns if noun[2] not in names and noun[0].split()[-1] not in rest.lower()]
    for chosen in some_of(row.text + finding, [noun[0] for noun in others]):
        one = next(noun for noun in others if noun[0] == chosen)
        yield (
            with_words(row.text, {form: one[number] for form, number in forms.items()}),
            _renamed(row.facts, finding, one[2]),
        )


def _times(text: str, finding: str) -> int:
    """How often any of the nouns for `finding` stands in `text`."""
    nouns = [form for noun, (plural, name) in COUNT_NOUNS.items() if name == finding for form in (noun, plural)]
    nouns += [noun for noun, name in MASS_NOUNS.items() if name == finding]
    nouns.sort(key=len, reverse=True)
    return len(re.findall(rf"(?<![\w-])(?:{'|'.join(nouns)})(?![\w-])", text, re.IGNORECASE))


def _beside(text: str, match: re.Match[str]) -> Iterator[str]:
    """The words right before and right behind a match."""
    yield from re.findall(r"[\w-]+ $", text[: match.start()])
    yield from re.findall(r"^ [\w-]+", text[match.end() :])


def other_device(row: ChallengeRow) -> Iterator[Variant]:
    """Another device, where nothing is said of its place."""
    if any(fact.position or fact.side for fact in row.facts) or re.search(r"\d|tip|carina|stomach|pleur|svc", row.text):
        return
    names = named_findings(row.facts)
    for noun, finding in DEVICES.items():
        if noun in row.text.lower() and finding in names and row.text.lower().count(noun) == 1:
            others = [n for n, other in DEVICES.items() if other not in names]
            for other in some_of(row.text, others):
                yield with_words(row.text, {noun: other}), _renamed(row.facts, finding, DEVICES[other])
