"""The labels of radlabels as data: its phrases, the labels of a phrase, and agreement with its own labels.

radlabels matches the words of an alias in any order within the text that a model relates to a finding. The same
convention is implemented here, so that differences come from parsing only.
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

Statements = list[list[tuple[str, str]]]
_MIN_REPORTS = 5
_SEPARATOR = re.compile(r"[,;:.]|\b(?:and|or|with|but|versus|than|likely|which|although)\b", re.IGNORECASE)


def read_aliases(path: Path) -> dict[str, list[str]]:
    """The phrases of each finding of radlabels, parsed from its source code without running it."""
    for node in ast.parse(path.read_text("utf-8")).body:
        if not isinstance(node, ast.AnnAssign) or node.value is None:
            continue
        if isinstance(node.target, ast.Name) and node.target.id == "ALIASES":
            return {name: body["aliases"] for name, body in ast.literal_eval(node.value).items()}
    raise ValueError(f"{path} has no table ALIASES")


class Labeller:
    """The labels of radlabels for a phrase: those with an alias whose words are all in it, in any order."""

    def __init__(self, aliases: dict[str, list[str]]) -> None:
        self._aliases = [(name, words_of(alias)) for name, listed in aliases.items() for alias in listed]
        self.of = cache(self._labels_of)

    def all(self, statements: Statements) -> Statements:
        """Statements about labels, from `statements` about phrases."""
        return [
            [(name, assertion) for phrase, assertion in row for name in self.of(phrase, phrase)] for row in statements
        ]

    def _labels_of(self, phrase: str, around: str) -> frozenset[str]:
        """Labels with an alias that shares a word with `phrase` and has all its words in `around`."""
        words, near = words_of(phrase), words_of(around)
        return frozenset(name for name, alias in self._aliases if alias <= near and not alias.isdisjoint(words))


def words_of(phrase: str) -> frozenset[str]:
    """The words of a phrase, singular."""
    words = re.findall(r"[a-z]+", phrase.lower())
    return frozenset(re.sub(r"ies$", "y", re.sub(r"(?<=[^su])s$", "", word)) for word in words)


def label_reports(texts: Sequence[str], phrases: Iterable[str], label: Labeller) -> Statements:
    """The labels of radlabels that the parser states, with `phrases` added to the lexicon.

    radlabels takes the words of an alias from the text that a model relates to a finding; here they are taken from
    the words around a mention, up to the next comma, "and" and so on.
    """
    rules = load_rules()
    added = {f"radlabels: {phrase}": {"phrases": [phrase]} for phrase in phrases}
    lexicon = compile_lexicon({**rules, "findings.yaml": {**rules["findings.yaml"], **added}})
    statements: Statements = []
    for text in texts:
        spans = [
            span
            for section in sections_read(find_sections(text))
            for span in find_sentences(text, section.start, section.end)
        ]
        statements.append([
            (name, str(mention.assertion))
            for sentence in (text[start:end] for start, end in spans)
            for mention in find_mentions(sentence, lexicon)
            if mention.is_current
            for name in _labels_of_mention(sentence, mention.start, mention.end, label)
        ])  # fmt: skip
    return statements


def _labels_of_mention(sentence: str, start: int, end: int, label: Labeller) -> frozenset[str]:
    return label.of(sentence[start:end], neighbourhood(sentence, start, end))


def neighbourhood(sentence: str, start: int, end: int) -> str:
    """The part of `sentence` around a mention, up to the nearest separators."""
    low = max((mark.end() for mark in _SEPARATOR.finditer(sentence, 0, start)), default=0)
    mark = _SEPARATOR.search(sentence, end)
    return sentence[low : mark.start() if mark else len(sentence)]


def agreement(gold: dict[str, dict[str, str]], statements: Statements) -> float:
    """Macro-F1 of affirmed (present or uncertain) findings, over findings affirmed in at least five reports.

    radlabels marks "cannot be excluded" as definitely present, so present and uncertain are not distinguished here.
    """
    affirmed = [{name for name, label in row.items() if label != "definitely absent"} for row in gold.values()]
    stated = [
        {
            name
            for name, _ in row
            if aggregate(Assertion(assertion) for other, assertion in row if other == name) != 0
        }
        for row in statements
    ]  # fmt: skip
    scores = []
    pairs = list(zip(affirmed, stated, strict=True))
    for name in {name for row in affirmed for name in row}:
        count = sum(name in row for row in affirmed)
        if count >= _MIN_REPORTS:
            both = sum(name in gold_row and name in stated_row for gold_row, stated_row in pairs)
            scores.append(2 * both / (count + sum(name in row for row in stated)))
    return sum(scores) / len(scores)
