"""A report cut into its sentences: what each states, and how much the loss counts it.

A row of `shards` in; segments out whose texts, joined, are the report again. Sentences of other sections than the one
that is learned are left out.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

from trrg_core.labels import Assertion
from trrg_core.report.target_sentences import find_sentences

Fact = Mapping[str, Any]

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True)
class Segment:
    """A sentence of a report, or a piece between them that states no fact.

    `gap` is the white space before it. `flips` are those of the shard. `weight` is that of the slice, 1 without one.
    """

    gap: str
    text: str
    facts: tuple[Fact, ...] = ()
    flips: tuple[Mapping[str, str], ...] = ()
    weight: float = 1.0


def split_report(row: Mapping[str, Any]) -> list[Segment]:
    """The segments of the report of `row`, in order."""
    report, segments, cursor = row["report"], list[Segment](), 0
    weights = row.get("sentence_weights") or [1.0] * len(row["sentences"])
    places = find_sentences(report, (sentence["text"] for sentence in row["sentences"]))
    for sentence, weight, start in zip(row["sentences"], weights, places, strict=True):
        if start < 0:  # of another section
            continue
        gap, pieces = _pieces(report[cursor:start])
        segments += pieces
        flips = tuple(sentence.get("flips") or ())
        segments.append(Segment(gap, sentence["text"], tuple(sentence["facts"]), flips, weight))
        cursor = start + len(sentence["text"])
    gap, pieces = _pieces(report[cursor:])
    return segments + pieces


def affirms(segment: Segment) -> bool:
    """Whether the segment affirms a finding, or is uncertain of one."""
    return any(fact["assertion"] != Assertion.ABSENT for fact in segment.facts)


def findings_first(segments: Sequence[Segment], observations: Sequence[str]) -> list[Segment]:
    """The sentences that affirm findings, in the order of `observations`, then all others as they are."""
    rank = {name: index for index, name in enumerate(observations)}

    def first_finding(segment: Segment) -> int:
        names = [fact["observation"] for fact in segment.facts if fact["assertion"] != Assertion.ABSENT]
        return min((rank.get(name, len(rank)) for name in names), default=len(rank))

    affirming = sorted((segment for segment in segments if affirms(segment)), key=first_finding)
    return [replace(segment, gap=" ") for segment in (*affirming, *(one for one in segments if not affirms(one)))]


def join_segments(segments: Iterable[Segment]) -> str:
    """The text of a report; white space is put between sentences that had none."""
    return "".join(_joined(segments))


def segment_ends(segments: Iterable[Segment]) -> list[int]:
    """The end of each segment in the text of `join_segments`, in characters."""
    return list(accumulate(len(piece) for piece in _joined(segments)))


def _joined(segments: Iterable[Segment]) -> Iterator[str]:
    """The text of each segment with the white space before it, which the first has none of."""
    for index, segment in enumerate(segments):
        yield ((segment.gap or " ") if index else "") + segment.text


def _pieces(text: str) -> tuple[str, list[Segment]]:
    """The sentences of a text without facts, and the white space that it ends with."""
    body = text.rstrip()
    return text[len(body) :], list(_sentences(body))


def _sentences(body: str) -> Iterator[Segment]:
    start = len(body) - len(body.lstrip())
    gap = body[:start]
    for match in _SENTENCE_END.finditer(body, start):
        yield Segment(gap, body[start : match.start()])
        gap, start = match[0], match.end()
    if start < len(body):
        yield Segment(gap, body[start:])
