"""The challenge sentences: rows of `tests/core/report/challenge*.txt`, and whether a parser reads one right.

Facts are compared as a set, so that a parser may state a fact once or twice: a fact whose details are all stated by
another fact of the same finding adds nothing, and a bilateral fact adds nothing beside one of each side.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from trrg_core.report.parsed import Mention

FOLDER = Path("tests/core/report")
SIDES = ("left", "right", "bilateral")
CHANGES = ("new", "stable", "improved", "worse", "resolved")
_MARKS = {"PRESENT": "+", "ABSENT": "-", "UNCERTAIN": "?"}
_ESCAPES = {"\\n": "\n", "\\r": "\r", "\\t": "\t", "\\u2022": "\u2022"}


@dataclass(frozen=True, kw_only=True)
class ChallengeFact:
    """One fact of a row: the sign with the finding and an aside mark, and its details ("" for none)."""

    statement: str
    side: str = ""
    degree: str = ""
    change: str = ""
    position: str = ""

    @property
    def is_absent(self) -> bool:
        """Whether the fact denies its finding: its degree and change are not scored."""
        return self.statement.startswith("-")


@dataclass(frozen=True, kw_only=True)
class ChallengeRow:
    """A text, what it states, and the class (the heading of its part of the file)."""

    topic: str
    text: str
    facts: frozenset[ChallengeFact]


def read_rows(path: Path) -> Iterator[ChallengeRow]:
    """The rows of a challenge file in order."""
    topic = ""
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("## ") and " => " not in line:
            topic = line[3:]
        elif line.strip() and (" => " in line) and not line.startswith("# "):
            text, _, expected = line.rpartition(" => ")
            for escape, char in _ESCAPES.items():
                text = text.replace(escape, char)
            facts = [_read_fact(fact) for fact in expected.split("|") if fact.strip()]
            yield ChallengeRow(topic=topic, text=text, facts=reduced(facts))


def _read_fact(fact: str) -> ChallengeFact:
    statement, *details = fact.split()
    place: dict[str, str] = {}
    for word in details:
        kind = "side" if word in SIDES else "change" if word in CHANGES else "degree"
        place["position" if word == "malpositioned" else kind] = word
    return ChallengeFact(statement=statement, **place)


def facts_of(mentions: Iterable[Mention]) -> frozenset[ChallengeFact]:
    """The facts that `mentions` of this project's parser state, reduced as those of a row are."""
    return reduced(
        ChallengeFact(
            statement=_MARKS[mention.assertion] + mention.finding + _aside(mention),
            side=mention.laterality,
            degree=mention.severity,
            change=mention.change,
            position=getattr(mention, "position", ""),
        )
        for mention in mentions
    )


def _aside(mention: Mention) -> str:
    if mention.experiencer == "other":
        return "@other"
    return "@historical" * mention.historical + "@hypothetical" * mention.hypothetical


def reduced(facts: Iterable[ChallengeFact]) -> frozenset[ChallengeFact]:
    """`facts` without what is not scored and without those that another one says as well."""
    scored = {replace(fact, degree="", change="") if fact.is_absent else fact for fact in facts}
    return frozenset(
        fact for fact in scored if not any(_says(other, fact) for other in scored) and not _is_split(fact, scored)
    )


def _says(other: ChallengeFact, fact: ChallengeFact) -> bool:
    pairs = [
        (fact.side, other.side),
        (fact.degree, other.degree),
        (fact.change, other.change),
        (fact.position, other.position),
    ]
    return other != fact and other.statement == fact.statement and all(one in ("", two) for one, two in pairs)


def _is_split(fact: ChallengeFact, facts: Iterable[ChallengeFact]) -> bool:
    sides = {other.side for other in facts if other.statement == fact.statement}
    return fact.side == "bilateral" and {"left", "right"} <= sides


def statements_of(facts: Iterable[ChallengeFact]) -> frozenset[str]:
    """Signs and findings alone, which every parser can give."""
    return frozenset(fact.statement for fact in facts)
