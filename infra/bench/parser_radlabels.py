"""radlabels' labels as data: its words, what a phrase stands for, and agreement with the labels of its own reports.

radlabels matches the words of an alias in any order within what a model relates to a finding. That convention is
rebuilt here, so that a difference is one of reading and not of bookkeeping.
"""

import ast
import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from trrg_core.labels import Assertion, aggregate
from trrg_core.report.lexicon import compile_lexicon, load_rules
from trrg_core.report.mentions import find_mentions
from trrg_core.report.sections import find_sections, sections_read
from trrg_core.report.sentences import find_sentences

Said = list[list[tuple[str, str]]]
_LEAST_REPORTS = 5
_SEPARATOR = re.compile(r"[,;:.]|\b(?:and|or|with|but|versus|than|likely|which|although)\b", re.IGNORECASE)


def read_aliases(path: Path) -> dict[str, list[str]]:
    """The phrases of each finding of radlabels, read from its source as data; nothing of it is run."""
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "ALIASES":
            return {name: body["aliases"] for name, body in ast.literal_eval(node.value).items()}
    raise ValueError(f"{path} has no table ALIASES")


class Labeller:
    """radlabels' labels of a phrase: those with an alias all of whose words are there, in any order."""

    def __init__(self, aliases: dict[str, list[str]]) -> None:
        self._aliases = [(name, words_of(alias)) for name, listed in aliases.items() for alias in listed]

    def all(self, said: Said) -> Said:
        """What reports say of labels, from what they say of phrases."""
        return [[(name, word) for phrase, word in row for name in self.of(phrase, phrase)] for row in said]

    @cache  # noqa: B019  one labeller lives as long as the run
    def of(self, phrase: str, around: str) -> frozenset[str]:
        """Labels with an alias that shares a word with `phrase` and has all its words in `around`."""
        words, near = words_of(phrase), words_of(around)
        return frozenset(name for name, alias in self._aliases if alias <= near and not alias.isdisjoint(words))


def words_of(phrase: str) -> frozenset[str]:
    """The words of a phrase, singular."""
    words = re.findall(r"[a-z]+", phrase.lower())
    return frozenset(re.sub(r"ies$", "y", re.sub(r"(?<=[^su])s$", "", word)) for word in words)


def label_reports(texts: Sequence[str], phrases: Iterable[str], label: Labeller) -> Said:
    """What the parser says of radlabels' labels, with `phrases` beside our own lexicon.

    radlabels takes the words of an alias from all that a model relates to a finding; here they are taken from the
    words around a mention, up to the next comma, "and" and the like.
    """
    rules = load_rules()
    theirs = {f"radlabels: {phrase}": {"phrases": [phrase]} for phrase in phrases}
    lexicon = compile_lexicon({**rules, "findings.yaml": {**rules["findings.yaml"], **theirs}})
    said: Said = []
    for text in texts:
        spans = [
            span for one in sections_read(find_sections(text)) for span in find_sentences(text, one.start, one.end)
        ]
        said.append([
            (name, str(one.assertion))
            for sentence in (text[start:end] for start, end in spans)
            for one in find_mentions(sentence, lexicon)
            if one.is_current
            for name in label.of(sentence[one.start : one.end], neighbourhood(sentence, one.start, one.end))
        ])  # fmt: skip
    return said


def neighbourhood(sentence: str, start: int, end: int) -> str:
    """The stretch of `sentence` around a mention."""
    low = max((mark.end() for mark in _SEPARATOR.finditer(sentence, 0, start)), default=0)
    mark = _SEPARATOR.search(sentence, end)
    return sentence[low : mark.start() if mark else len(sentence)]


def agreement(gold: dict[str, dict[str, str]], said: Said) -> float:
    """Macro-F1 of affirmed (present or uncertain) findings, over findings affirmed in at least five reports.

    radlabels marks "cannot be excluded" as definitely present, so present and uncertain are not told apart here.
    """
    affirmed = [{name for name, label in row.items() if label != "definitely absent"} for row in gold.values()]
    found = [
        {
            name
            for name, _ in row
            if aggregate(Assertion(word) for other, word in row if other == name) != 0
        }
        for row in said
    ]  # fmt: skip
    scores = []
    for name in {name for row in affirmed for name in row}:
        count = sum(name in row for row in affirmed)
        if count >= _LEAST_REPORTS:
            both = sum(name in one and name in other for one, other in zip(affirmed, found, strict=True))
            scores.append(2 * both / (count + sum(name in row for row in found)))
    return sum(scores) / len(scores)
