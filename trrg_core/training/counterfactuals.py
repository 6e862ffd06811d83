"""Counterfactual reports: the report that a study would have if one of its findings were otherwise.

Trained beside clues that state the same change, they make the writer follow its clues: image and clue disagree, and the
text goes with the clue. A row of `shards` in, an edited report and what it states out. The edits use sentences in the
report's own style (`trrg_core.report.flips`, stored in the shards) and sentences of other training reports.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any, Literal

import yaml
from numpy.random import Generator

from trrg_core.labels import (
    CODE_OF_SIDE,
    DEGREE_OF_SEVERITY,
    NOT_STATED,
    STATED_ABSENT,
    STATED_PRESENT,
    STATED_UNCERTAIN,
    Assertion,
)
from trrg_core.report.facts import FactCodes, sentence_facts
from trrg_core.report.flipping.kinds import FlipKind
from trrg_core.report.prior_comparison import compares_with_prior
from trrg_core.training.prompts import Prompts
from trrg_core.training.report_segments import Fact, Segment, join_segments, split_report

Row = Mapping[str, Any]
Edit = Literal["down", "up", "side", "degree"]
EDITS: tuple[Edit, ...] = ("down", "up", "side", "degree")

NO_FINDING = "No Finding"
_DEVICES = "Support Devices"
_OTHER_SIDE = {"left": "right", "right": "left"}
_DENIED = {"assertion": Assertion.ABSENT, "laterality": "", "severity": ""}
_SIDES = ("left", "right", "bilateral")  # in the order of their codes
_WORD = re.compile(r"[a-z]+")


@dataclass(frozen=True, kw_only=True)
class Counterfactual:
    """An edited report: its segments, what the study then states, and the indices of the observations that changed."""

    segments: tuple[Segment, ...]
    facts: FactCodes
    turned: tuple[int, ...]

    @property
    def text(self) -> str:
        """The edited report."""
        return join_segments(self.segments)


@dataclass(frozen=True)
class _Statement:
    """A sentence of a training report that affirms one observation and states nothing else."""

    text: str
    facts: tuple[Fact, ...]


class ReportEditor:
    """Makes counterfactual reports. Affirming sentences come from the training reports that it is built from.

    Args:
        rows: rows of `shards` of the training split: reports and sentences.
        prompts: one entry per observation.
        observations: names, in the order of the codes.
    """

    def __init__(self, rows: Iterable[Row], *, prompts: Sequence[Prompts], observations: Sequence[str]) -> None:
        self._prompts, self._observations = tuple(prompts), tuple(observations)
        self._sided = [prompt.has_side for prompt in prompts]
        self._affirming: dict[str, list[_Statement]] = defaultdict(list)
        seen: set[str] = set()
        for row in rows:
            for segment in split_report(row):
                names = {fact["observation"] for fact in segment.facts}
                if len(names) != 1 or segment.text in seen or compares_with_prior(segment.text):
                    continue
                seen.add(segment.text)
                if all(fact["assertion"] == Assertion.PRESENT for fact in segment.facts):
                    self._affirming[names.pop()].append(_Statement(segment.text, segment.facts))

    def edit(self, row: Row, stated: FactCodes, kind: Edit, rng: Generator) -> Counterfactual | None:
        """The report with one observation of the study denied, affirmed, on its other side, or in another degree.

        The observation is drawn among those that can be edited; None when there is none.

        Args:
            row: a row of `shards`.
            stated: what the study states.
            kind: the edit.
            rng: of this study and step.
        """
        segments = split_report(row)
        edits = {"down": self._down, "up": self._up, "side": self._side, "degree": self._degree}
        for index in rng.permutation(len(self._observations)):
            if self._observations[index] == NO_FINDING:
                continue
            edited = edits[kind](segments, stated, int(index), rng)
            if edited is not None:
                return self._describe(segments, edited, stated)
        return None

    def _down(self, segments: list[Segment], stated: FactCodes, index: int, rng: Generator) -> list[Segment] | None:
        name = self._observations[index]
        if stated.assertions[index] != STATED_PRESENT:
            return None
        edited = []
        for segment in segments:
            if not _states(segment, name, Assertion.PRESENT, Assertion.UNCERTAIN):
                edited.append(segment)
            elif flip := _flip(segment, name, FlipKind.POLARITY):
                edited.append(_with_assertion(segment, flip, name, Assertion.ABSENT))
            elif not _is_only(segment, name):
                return None
        return edited if edited and _texts(edited) != _texts(segments) else None

    def _up(self, segments: list[Segment], stated: FactCodes, index: int, rng: Generator) -> list[Segment] | None:
        name = self._observations[index]
        pool = self._affirming.get(name)
        if stated.assertions[index] not in (NOT_STATED, STATED_ABSENT) or not pool:
            return None
        chosen = pool[int(rng.integers(len(pool)))]
        affirming = [Segment(" ", chosen.text, chosen.facts)]
        edited: list[Segment] = []
        for segment in segments:
            if segment.facts:
                if not _states(segment, name, Assertion.ABSENT):
                    edited.append(segment)
                    continue
                edited += affirming
                others = dict.fromkeys(fact["observation"] for fact in segment.facts if fact["observation"] != name)
                if any(not _states(segment, other, Assertion.ABSENT) for other in others):
                    return None
                edited += [self._denial(other, rng) for other in others]
                affirming = []
            elif not is_false_when_present(segment.text, name):
                edited.append(segment)
        if affirming:
            at = int(rng.integers(len(edited) + 1))
            edited[at:at] = affirming
        return edited

    def _side(self, segments: list[Segment], stated: FactCodes, index: int, rng: Generator) -> list[Segment] | None:
        side = stated.sides[index]
        if stated.assertions[index] != STATED_PRESENT or not side or not self._sided[index]:
            return None
        name, others = self._observations[index], [one for one in _SIDES if CODE_OF_SIDE[one] != side]
        wanted = others[int(rng.integers(len(others)))]
        if "bilateral" in (wanted, _SIDES[side - 1]):
            return self._to_side(segments, name, wanted, rng)
        return _to_other_side(segments, name)

    def _to_side(self, segments: list[Segment], name: str, wanted: str, rng: Generator) -> list[Segment] | None:
        """The sentences that place `name` replaced by one of another report; from or to both sides grammar changes."""
        placing = [segment for segment in segments if _placed(segment, name)]
        pool = [one for one in self._affirming.get(name, ()) if _placed(one, name) == {wanted}]
        degrees = {fact["severity"] for segment in placing for fact in segment.facts if fact["observation"] == name}
        pool = [one for one in pool if {fact["severity"] for fact in one.facts} <= degrees] or pool
        if not pool or not all(_is_only(segment, name) for segment in placing):
            return None
        chosen = pool[int(rng.integers(len(pool)))]
        edited = []
        for segment in segments:
            if segment not in placing:
                edited.append(segment)
            elif segment is placing[0]:
                edited.append(replace(segment, text=chosen.text, facts=chosen.facts, flips=()))
        return edited

    def _degree(self, segments: list[Segment], stated: FactCodes, index: int, rng: Generator) -> list[Segment] | None:
        name = self._observations[index]
        if stated.assertions[index] != STATED_PRESENT or not stated.degrees[index]:
            return None
        edited, degrees = [], set()
        for segment in segments:
            if not any(fact["severity"] for fact in segment.facts if fact["observation"] == name):
                edited.append(segment)
                continue
            flip = _flip(segment, name, FlipKind.SEVERITY)
            severity = _new_severity(segment.text, flip) if flip and len(segment.facts) == 1 else ""
            if not flip or not severity:
                return None
            degrees.add(DEGREE_OF_SEVERITY[severity])
            turned = tuple({**fact, "severity": severity} for fact in segment.facts)
            edited.append(replace(segment, text=flip, facts=turned, flips=()))
        return edited if len(degrees) == 1 else None

    def _denial(self, name: str, rng: Generator) -> Segment:
        prompts = self._prompts[self._observations.index(name)].absent if name in self._observations else ()
        text = prompts[int(rng.integers(len(prompts)))] if prompts else f"No {name.lower()}."
        return Segment(" ", text, ({"observation": name, **_DENIED},))

    def _describe(self, segments: list[Segment], edited: list[Segment], stated: FactCodes) -> Counterfactual | None:
        """The edited report; observations that the edit did not touch keep what the study states of them.

        "No Finding" follows from the others: of findings outside the label set the facts tell nothing.
        """
        before, after = self._facts(segments), self._facts(edited)
        turned = [index for index, codes in enumerate(zip(*before, strict=True)) if codes != _codes_at(after, index)]
        if not turned:
            return None
        codes = [_codes_at(after if index in turned else stated, index) for index in range(len(self._observations))]
        if NO_FINDING in self._observations:
            at = self._observations.index(NO_FINDING)
            abnormal = any(
                code in (STATED_PRESENT, STATED_UNCERTAIN) and name not in (NO_FINDING, _DEVICES)
                for name, (code, *_) in zip(self._observations, codes, strict=True)
            )
            codes[at] = (STATED_ABSENT if abnormal else STATED_PRESENT, 0, 0, 0)
        facts = FactCodes(*zip(*codes, strict=True))
        return Counterfactual(segments=tuple(edited), facts=facts, turned=tuple(turned))

    def _facts(self, segments: Sequence[Segment]) -> FactCodes:
        facts = [fact for segment in segments for fact in segment.facts]
        return sentence_facts(facts, self._observations, sided=self._sided)


def _placed(statement: "Segment | _Statement", name: str) -> set[str]:
    """The sides on which a sentence states `name`."""
    return {fact["laterality"] for fact in statement.facts if fact["observation"] == name} - {""}


def _to_other_side(segments: list[Segment], name: str) -> list[Segment] | None:
    """The sentences that place `name` on one side, each turned to the other by its flip."""
    edited = []
    for segment in segments:
        sides = _placed(segment, name)
        if not sides:
            edited.append(segment)
            continue
        flip = _flip(segment, name, FlipKind.SIDE)
        # the word of the side may belong to several facts: all of them must have turned
        if flip is None or len(sides) > 1 or sides & set(_WORD.findall(flip.lower())):
            return None
        turned = tuple(
            {**fact, "laterality": _OTHER_SIDE.get(fact["laterality"], fact["laterality"])} for fact in segment.facts
        )
        edited.append(replace(segment, text=flip, facts=turned, flips=()))
    return edited


def _codes_at(facts: FactCodes, index: int) -> tuple[int, ...]:
    return tuple(codes[index] for codes in facts)


def _texts(segments: Sequence[Segment]) -> list[str]:
    return [segment.text for segment in segments]


def _states(segment: Segment, name: str, *assertions: Assertion) -> bool:
    return any(fact["observation"] == name and fact["assertion"] in assertions for fact in segment.facts)


def _is_only(segment: Segment, name: str) -> bool:
    return all(fact["observation"] == name for fact in segment.facts)


def _flip(segment: Segment, name: str, kind: FlipKind) -> str | None:
    """The flip of the segment that turns round `name`; None if it has none, or several, of two findings of `name`."""
    texts = [flip["text"] for flip in segment.flips if flip["observation"] == name and flip["kind"] == kind]
    return texts[0] if len(texts) == 1 else None


def _with_assertion(segment: Segment, text: str, name: str, assertion: Assertion) -> Segment:
    """The segment with another text, in which `name` is asserted otherwise; a denied finding has no side or degree."""
    plain = {**_DENIED, "assertion": assertion}
    facts = tuple({**fact, **plain} if fact["observation"] == name else fact for fact in segment.facts)
    return replace(segment, text=text, facts=facts, flips=())


def _new_severity(text: str, flip: str) -> str:
    """The word of degree that `flip` has and `text` has not; empty unless there is exactly one."""
    before, after = (
        {degree for word in _WORD.findall(part.lower()) for degree in (word, word.removesuffix("ly"))}
        for part in (text, flip)
    )
    new = (after - before) & (DEGREE_OF_SEVERITY.keys() - {""})
    return new.pop() if len(new) == 1 else ""


def is_false_when_present(text: str, name: str) -> bool:
    """Whether a sentence without facts calls normal what is not when `name` is present."""
    return any(
        pattern.search(text)
        for observations, pattern in _normal_statements()
        if name in observations or (not observations and name != _DEVICES)
    )


@cache
def _normal_statements() -> tuple[tuple[frozenset[str], re.Pattern[str]], ...]:
    text = resources.files("trrg_core.training").joinpath("normal_statements.yaml").read_text("utf-8")
    return tuple(
        (frozenset(entry["observations"]), re.compile(entry["pattern"], re.IGNORECASE))
        for entry in yaml.safe_load(text)
    )
