"""The part of METEOR's synonyms that a corpus can use.

METEOR gives each word the WordNet sets of the word and of its base forms, twenty on average, and compares all words of
a pair with each other: a third of its time. A set that only one word of the corpus has makes no two words synonyms, so
only the others are kept, and no score changes.
"""

import re
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Set
from pathlib import Path

from trrg_core.metrics.java import package_file

_SYNSETS, _EXCEPTIONS, _RELATIONS = "english.synsets", "english.exceptions", "english.relations"
# the endings that METEOR takes off a word, and those that it puts on instead; all combinations are tried here
_ENDINGS = ("s", "ses", "xes", "zes", "ches", "shes", "men", "ies", "es", "ed", "ing", "er", "est")
_NEW_ENDINGS = ("", "s", "x", "z", "ch", "sh", "man", "y", "e")
_KEPT_ENDING = "ful"
# what stands in METEOR's normalised text as one word is one of these, or has another character
_PLAIN_WORD = re.compile(r"[a-z0-9]+")


def write_synonyms(pieces: Set[str], folder: Path) -> int:
    """Write the synonyms that words made of `pieces` can have as files for METEOR; returns the number of their words.

    Args:
        pieces: runs of letters and digits in lower case: all that the words of the corpus consist of.
        folder: where the files are written.

    Raises:
        OSError: if a file cannot be read or written.
    """
    with zipfile.ZipFile(package_file("pycocoevalcap.meteor", "meteor-1.5.jar")) as jar:
        exceptions, lines = (jar.read(f"synonym/{name}").decode() for name in (_EXCEPTIONS, _SYNSETS))
    words = lines.split("\n")
    sets = dict(zip(words[::2], words[1::2], strict=False))
    kept = _shared_sets(pieces, sets, _bases(exceptions))
    (folder / _SYNSETS).write_text("".join(f"{word}\n{' '.join(numbers)}\n" for word, numbers in kept.items()))
    (folder / _EXCEPTIONS).write_text(exceptions)
    (folder / _RELATIONS).write_text("")  # METEOR reads none
    return len(kept)


def _shared_sets(pieces: Set[str], sets: Mapping[str, str], bases: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """The sets of each word that METEOR may look up, without those that no other word of the corpus has."""
    looked_up = {piece: [form for form in _forms(piece, bases) if form in sets] for piece in pieces}
    # words with other characters may be words of the corpus too: as they are, each counts as one
    others = {word: [word] for word in sets if not _PLAIN_WORD.fullmatch(word) and _consists_of(pieces, word)}
    numbers = {form: sets[form].split() for forms in (*looked_up.values(), *others.values()) for form in forms}
    num_words = Counter(
        number
        for forms in (*looked_up.values(), *others.values())
        for number in {number for form in forms for number in numbers[form]}
    )
    return {form: [number for number in of_form if num_words[number] > 1] for form, of_form in numbers.items()}


def _forms(word: str, bases: Mapping[str, list[str]]) -> Iterable[str]:
    """Whatever METEOR may look up for a word: itself, its irregular bases, and regular ones."""
    stem, rest = (word[: word.rfind("f")], _KEPT_ENDING) if word.endswith(_KEPT_ENDING) else (word, "")
    regular = {
        start[: -len(ending)] + new
        for start in {word, stem}
        for ending in _ENDINGS
        if start.endswith(ending)
        for new in _NEW_ENDINGS
    }
    return {word, stem, *bases.get(word, ()), *regular, *(form + rest for form in regular)}


def _bases(exceptions: str) -> dict[str, list[str]]:
    """Base words by irregular form; the file has a line of a base and a line of its forms."""
    found = defaultdict(list)
    lines = exceptions.split("\n")
    for base, forms in zip(lines[::2], lines[1::2], strict=False):
        for form in forms.split():
            found[form].append(base)
    return found


def _consists_of(pieces: Set[str], word: str) -> bool:
    return "_" not in word and set(re.findall(r"[a-z0-9]+", word)) <= pieces
