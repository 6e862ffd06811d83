"""The parser's values: a report in sections, sentences and mentions. Plain data, no spaCy.

Offsets are character offsets into the report text as given, half open: `text[start:end]`.
"""

from dataclasses import dataclass
from typing import Any, TypeVar

from trrg_core.labels import Assertion, Labels
from trrg_core.report.current_fact import is_current_fact

_Value = TypeVar("_Value")
# without the checks of a frozen dataclass, six times as fast as its constructor
_new, _set = object.__new__, object.__setattr__


@dataclass(frozen=True, kw_only=True)
class Mention:
    """A span that names a finding, what is asserted of it, and which rule and cue decided."""

    finding: str
    start: int
    end: int
    assertion: Assertion
    rule: str
    cue: str = ""
    historical: bool = False
    hypothetical: bool = False
    experiencer: str = "patient"
    change: str = ""
    laterality: str = ""
    severity: str = ""
    anatomy: str = ""
    size: str = ""
    position: str = ""

    @property
    def is_current(self) -> bool:
        """Whether the mention is a current fact of this patient: only such mentions make labels."""
        return is_current_fact(vars(self))


@dataclass(frozen=True, kw_only=True)
class Section:
    """A named section (`findings`, `impression`, `indication`, ...), and the rule that found it."""

    name: str
    start: int
    end: int
    rule: str


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """One sentence of a section, with its mentions in text order."""

    text: str
    start: int
    end: int
    section: str
    mentions: tuple[Mention, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ParsedReport:
    """The parse of one report. `labels` has one entry per observation of the label set.

    `unread` says that the report has text, and that none of its sections is one that is read (an indication alone).
    """

    sections: tuple[Section, ...]
    sentences: tuple[Sentence, ...]
    labels: Labels
    parser_id: str
    unread: bool = False


def build_value(kind: type[_Value], values: dict[str, Any]) -> _Value:
    """A `kind` with `values` for all of its fields; it keeps that dictionary. For two dozen values a report."""
    value = _new(kind)
    _set(value, "__dict__", values)
    return value
