"""Pairs of a true sentence of a study and a false one, for measuring whether stage 1 tells them apart.

The false sentence is a flip of the true one (`trrg_core.report.flips`), or a sentence of another report that states the
opposite of one of its facts, or places it in the lower zones of the lungs in place of the upper, or the reverse:
grammar may give a flip away, but not a sentence that a radiologist wrote.
"""

import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from trrg_core.labels import NOT_STATED, STATED_ABSENT, STATED_PRESENT, ZONE_LOWER, ZONE_UPPER
from trrg_core.report.facts import FactCodes, sentence_facts
from trrg_core.report.flipping.kinds import FlipKind
from trrg_core.training.prompts import Prompts
from trrg_core.training.sentence_sampling import flips_of_study

Row = Mapping[str, Any]
PairSource = Literal["flip", "report"]
ZONE: Literal["zone"] = "zone"

# what a false sentence of another report states of the finding
_OPPOSITE = {STATED_PRESENT: STATED_ABSENT, STATED_ABSENT: STATED_PRESENT}
_OTHER_ZONE = {ZONE_UPPER: ZONE_LOWER, ZONE_LOWER: ZONE_UPPER}


@dataclass(frozen=True, kw_only=True)
class StatementPair:
    """A true and a false sentence of one study: which finding, by what they differ, and where the false one is from.

    `assertion` is the code of what the true sentence states of the finding.
    """

    observation: str
    kind: FlipKind | Literal["zone"]
    source: PairSource
    assertion: int
    true_text: str
    false_text: str


@dataclass(frozen=True)
class _Natural:
    study_id: str
    text: str
    facts: FactCodes


class PairMaker:
    """Makes the pairs of studies; sentences of other reports are those of the `rows` it is built from.

    Args:
        rows: rows of `shards`: their ids and sentences.
        prompts: one entry per observation.
        observations: names, in the order of the codes.
    """

    def __init__(self, rows: Iterable[Row], *, prompts: Sequence[Prompts], observations: Sequence[str]) -> None:
        self.observations = tuple(observations)
        self._sided = [prompt.has_side for prompt in prompts]
        self._natural: dict[tuple[int, int], list[_Natural]] = defaultdict(list)
        self._placed: dict[tuple[int, int, int], list[_Natural]] = defaultdict(list)
        for row in rows:
            for sentence in row["sentences"]:
                facts = self._facts(sentence)
                natural = _Natural(row["study_id"], sentence["text"], facts)
                for index, code in enumerate(facts.assertions):
                    if code in _OPPOSITE:
                        self._natural[index, code].append(natural)
                    if code == STATED_PRESENT and facts.zones[index] in _OTHER_ZONE:
                        self._placed[index, facts.zones[index], facts.sides[index]].append(natural)

    def pairs(self, row: Row, stated: FactCodes) -> list[StatementPair]:
        """The pairs of a study; `stated` is what it states. They depend on the study and the other rows alone."""
        return [*self._pairs(row, stated), *self._zone_pairs(row, stated)]

    def _pairs(self, row: Row, stated: FactCodes) -> Iterator[StatementPair]:
        rng = np.random.default_rng(zlib.crc32(row["study_id"].encode()))
        for sentence in row["sentences"]:
            facts = self._facts(sentence)
            for flip in flips_of_study(sentence.get("flips") or (), facts, stated, self.observations):
                index = self.observations.index(flip["observation"])
                yield self._pair(index, FlipKind(flip["kind"]), "flip", facts, sentence["text"], flip["text"])
            for index, code in enumerate(facts.assertions):
                if code not in _OPPOSITE or stated.assertions[index] != code:
                    continue
                pool = self._natural[index, _OPPOSITE[code]]
                if false_text := self._draw_false(pool, index, row["study_id"], stated, rng):
                    yield self._pair(index, FlipKind.POLARITY, "report", facts, sentence["text"], false_text)

    def _zone_pairs(self, row: Row, stated: FactCodes) -> Iterator[StatementPair]:
        """True sentences beside those of other reports with the same finding and side in the opposite zone."""
        rng = np.random.default_rng(zlib.crc32(row["study_id"].encode()))
        for sentence in row["sentences"]:
            facts = self._facts(sentence)
            for index, zone in enumerate(facts.zones):
                if zone not in _OTHER_ZONE or facts.assertions[index] != STATED_PRESENT or stated.zones[index] != zone:
                    continue
                pool = self._placed[index, _OTHER_ZONE[zone], facts.sides[index]]
                if false_text := self._draw_false(pool, index, row["study_id"], stated, rng):
                    yield self._pair(index, ZONE, "report", facts, sentence["text"], false_text)

    def _pair(
        self,
        index: int,
        kind: FlipKind | Literal["zone"],
        source: PairSource,
        facts: FactCodes,
        true_text: str,
        false_text: str,
    ) -> StatementPair:
        return StatementPair(
            observation=self.observations[index],
            kind=kind,
            source=source,
            assertion=facts.assertions[index],
            true_text=true_text,
            false_text=false_text,
        )

    def _draw_false(
        self, pool: Sequence[_Natural], index: int, study_id: str, stated: FactCodes, rng: np.random.Generator
    ) -> str:
        """The text of one of the sentences of `pool` that are false of the study in `index` alone; empty for none."""
        fitting = [item for item in pool if self._differs_in(item, index, study_id, stated)]
        return fitting[int(rng.integers(len(fitting)))].text if fitting else ""

    def _differs_in(self, item: _Natural, index: int, study_id: str, stated: FactCodes) -> bool:
        """Whether a sentence of another report is false of the study in the finding `index` alone."""
        others = zip(range(len(self.observations)), item.facts.assertions, stated.assertions, strict=True)
        agrees = all(at == index or code in (NOT_STATED, of_study) for at, code, of_study in others)
        return agrees and item.study_id != study_id

    def _facts(self, sentence: Row) -> FactCodes:
        return sentence_facts(sentence["facts"], self.observations, sided=self._sided)
