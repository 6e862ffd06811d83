"""Texts without what looks like a name, a date, or a number of a person: what a tokenizer is trained on.

A word that a corpus writes often becomes a token, and the tokens of a tokenizer can be read by whoever has the model.
Masked texts give no such token. The texts that a model learns are not changed: a name in them is spelled in pieces.

A name is what follows a title or a label such as "signed by", and any word that is capitalised within a sentence and
never written in small letters in the corpus, unless the rules of the parser or the list of eponyms here know it. In a
text of capitals alone only titles and labels tell. It is no guarantee of de-identification.
"""

import re
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import resources

import yaml

from trrg_core.report.identifiers import IDENTIFIERS

MASK = "___"  # as in MIMIC-CXR

_LETTERS = r"[^\W\d_]"
_WORD = re.compile(rf"{_LETTERS}+")
# after a word or a comma, not at the start of a sentence, where every word has a capital
_WITHIN_SENTENCE = re.compile(rf"(?<=[\w,;)] ){_LETTERS}+(?:['-]{_LETTERS}+)*")
_LABELLED = re.compile(
    rf"""
    (?i:\b(?:(?:patient|pt|last|first|full|family|given)(?:'s)?\s+name|name\s*:|
        (?:dictated|signed|reviewed|read|reported|requested|ordered|interpreted|transcribed|approved|verified)\s+by|
        (?:discussed|communicated|reviewed)\s+with|attending|radiologist|referring\s+physician|
        dr\.?|mrs?\.|ms\.|prof\.|doctor|professor)\s*:?\s*)
    ((?:{_LETTERS}[\w'.-]*[ ,]*){{1,3}})
    """,
    re.VERBOSE,
)
# beside those that a report must not invent: any longer number, also with letters, and any year
_NUMBERS = re.compile(r"\b[A-Za-z]{0,4}-?\d{5,}\w*|\b(?:19|20)\d{2}\b(?!\s*(?:mm|cm|ml)\b)")
_EPONYMS = frozenset(
    re.findall(
        r"\w+",
        """
    bochdalek broviac chilaiditi cushing dobhoff dubhoff fowler ganz ghon glenn groshong hampton harrington heimlich
    hickman hodgkin impella kaposi kerley kirschner langerhans luschka mediport morgagni nissen pancoast quinton riedel
    salter schatzki schmorl sengstaken swan tesio trendelenburg westermark zenker
    """,
    )
)

_TITLES = frozenset({"dr", "mr", "mrs", "ms", "md", "prof", "professor", "doctor", "rn", "np", "pa"})


def mask_corpus(texts: Iterable[str]) -> Iterator[str]:
    """The texts of a corpus, in their order, with `___` for what looks like a name, a date or a number of a person."""
    kept = list(texts)
    names = find_names(kept)
    return (mask_identifiers(text, names) for text in kept)


def find_names(texts: Iterable[str]) -> frozenset[str]:
    """The words of a corpus that look like names, in small letters."""
    small: set[str] = set()
    capitalised: set[str] = set()
    for text in texts:
        small.update(word for word in _WORD.findall(text) if word.islower())
        for word in _WITHIN_SENTENCE.findall(text):
            capitalised.update(part.lower() for part in re.split("['-]", word) if _is_name_like(part))
        for labelled in _LABELLED.findall(text):
            capitalised.update(part.lower() for part in _WORD.findall(labelled) if part[0].isupper() and len(part) > 1)
    return frozenset(capitalised - small - _known_words())


def mask_identifiers(text: str, names: frozenset[str] = frozenset()) -> str:
    """`text` with `___` for identifiers, and for each word in `names`, whatever its case."""
    for pattern in (*IDENTIFIERS.values(), _NUMBERS):
        text = pattern.sub(MASK, text)
    return _WORD.sub(lambda word: MASK if word[0].lower() in names else word[0], text) if names else text


def _is_name_like(word: str) -> bool:
    """Whether a word has a capital and small letters: CT and PICC do not."""
    return len(word) > 1 and word[0].isupper() and not word.isupper()


@cache
def _known_words() -> frozenset[str]:
    text = resources.files("trrg_core.report.masking_words").joinpath("words.yaml").read_text("utf-8")
    return frozenset(yaml.safe_load(text)["words"].split()) | _EPONYMS | _TITLES
