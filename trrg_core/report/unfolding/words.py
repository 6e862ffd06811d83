"""The words of forms (`rules/forms.yaml`), and what a label or an option names."""

from functools import cache, lru_cache

from trrg_core.report.lexicon import load_lexicon, load_rules
from trrg_core.report.scan import Scan, scan_sentence

# of a label or an option; what is longer is prose
_LONGEST = 200
NONE, PRESENT = "none", "present"
_SIDES = {
    "r": "right",
    "rt": "right",
    "l": "left",
    "lt": "left",
    "b": "bilateral",
    "b/l": "bilateral",
    "both": "bilateral",
}


@cache
def _kinds(part: str) -> dict[str, str]:
    return {word: kind for kind, words in load_rules()["forms.yaml"][part].items() for word in words}


@cache
def _listed(part: str) -> frozenset[str]:
    return frozenset(load_rules()["forms.yaml"][part])


def column_kind(cell: str) -> str:
    """What a column with this heading says of the finding in the first one; "" where the heading is not known."""
    return _kinds("columns").get(_plain(cell), "")


def attribute_kind(label: str) -> str:
    """What a label below a finding tells of it: "Laterality" its side; "" for any other label."""
    return _kinds("attributes").get(_plain(label), "")


def is_name_column(cell: str) -> bool:
    """Whether a column with this heading holds the names of findings or places."""
    return not cell.strip() or _plain(cell) in _listed("names")


def is_title_label(label: str) -> bool:
    """Whether the name of a finding follows this label: "Finding: pneumothorax"."""
    return _plain(label).rstrip(" 0123456789#.") in _listed("titles")


def is_yes(value: str) -> bool:
    """Whether an answer affirms, and says nothing else."""
    return _plain(value) in _listed("yes")


def is_no(value: str) -> bool:
    """Whether an answer denies, and says nothing else."""
    return _plain(value) in _listed("no")


def is_empty(value: str) -> bool:
    """Whether an answer says nothing: "N/A", "-"."""
    return value.strip().lower() in _listed("empty")


def side_of(words: str) -> str:
    """The side that an abbreviation stands for ("R"), or `words` as they are."""
    return _SIDES.get(words.strip().lower(), words.strip())


def _plain(words: str) -> str:
    return " ".join(words.lower().strip(" :.*").rstrip("?").split())


@lru_cache(maxsize=4096)
def names_finding(words: str) -> bool:
    """Whether `words` name a finding."""
    return any(hit.entry.is_finding for hit in _scan(words).hits)


@lru_cache(maxsize=4096)
def names_anything(words: str) -> bool:
    """Whether `words` name a finding or a place that findings are said of."""
    return any(hit.entry.is_finding or hit.entry.is_place for hit in _scan(words).hits)


@lru_cache(maxsize=4096)
def names_place(words: str) -> bool:
    """Whether `words` name a place of which findings are said, and no finding."""
    return names_anything(words) and not names_finding(words)


@lru_cache(maxsize=4096)
def states_anything(words: str) -> bool:
    """Whether `words` name a finding, or a place and its state: "normal heart size"."""
    hits = _scan(words).hits
    is_state = any(hit.entry.is_state for hit in hits) and any(hit.entry.is_place for hit in hits)
    return is_state or names_finding(words)


def _scan(words: str) -> Scan:
    return scan_sentence(words[:_LONGEST], load_lexicon(), everything=True)
