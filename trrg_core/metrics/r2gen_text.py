"""The text of protocol `r2gen`: what R2Gen (Chen et al., EMNLP 2020) scores, its errors included.

Published scores of the field depend on this cleaner, so it is reproduced to the byte: it joins "1.5 cm" to "15 cm" and
"clear.No effusion" to "clearno effusion". Its output is only compared; nothing is parsed or trained from it.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal

Corpus = Literal["iu-xray", "mimic-cxr"]

UNKNOWN = "<unk>"
# R2Gen's defaults: tokens of a report with its start mark, and how often a word must occur in `train`
MAX_TOKENS: Mapping[Corpus, int] = {"iu-xray": 60, "mimic-cxr": 100}
MIN_COUNT: Mapping[Corpus, int] = {"iu-xray": 3, "mimic-cxr": 10}

_ENUMERATORS = (
    ("1. ", ""),
    *((f". {n}. ", ". ") for n in (2, 3, 4, 5)),
    *((f" {n}. ", ". ") for n in (2, 3, 4, 5)),
)
# each pass halves a run, so the number of passes is part of the result
_REPLACEMENTS: dict[Corpus, tuple[tuple[str, str], ...]] = {
    "iu-xray": (*[("..", ".")] * 3, *_ENUMERATORS),
    "mimic-cxr": (("\n", " "), *[("__", "_")] * 7, *[("  ", " ")] * 6, *[("..", ".")] * 8, *_ENUMERATORS),
}
# ":-\[" is a range: it also deletes < = > @ and capitals, and keeps the hyphen
_DELETED = re.compile(r"[.,?;*!%^&_+():-\[\]{}]")
_QUOTES = str.maketrans("", "", "\"/\\'")


def clean_r2gen(report: str, corpus: Corpus) -> str:
    """`report` as R2Gen's cleaner writes it: lower case, sentences ended by " .", an empty report as " ."."""
    for old, new in _REPLACEMENTS[corpus]:
        report = report.replace(old, new)
    sentences = report.strip().lower().split(". ")
    return " . ".join(_clean_sentence(sentence) for sentence in sentences) + " ."


def build_vocabulary(train_reports: Iterable[str], corpus: Corpus) -> frozenset[str]:
    """Words that occur at least `MIN_COUNT` times in the cleaned training reports."""
    counts = Counter(word for report in train_reports for word in clean_r2gen(report, corpus).split())
    return frozenset(word for word, count in counts.items() if count >= MIN_COUNT[corpus])


def encode_r2gen(
    report: str, corpus: Corpus, *, vocabulary: frozenset[str] | None = None, max_words: int | None = None
) -> str:
    """`report` after R2Gen's tokenizer and back: cleaned, rare words as <unk>, cut at `max_words`.

    A reference keeps `MAX_TOKENS - 1` words (the default here), because the start mark takes one place; a
    decoded hypothesis may fill all `MAX_TOKENS`.
    """
    words = clean_r2gen(report, corpus).split()[: max_words or MAX_TOKENS[corpus] - 1]
    if vocabulary is not None:
        words = [word if word in vocabulary else UNKNOWN for word in words]
    return " ".join(words)


def _clean_sentence(sentence: str) -> str:
    return _DELETED.sub("", sentence.translate(_QUOTES).strip().lower())
