"""A draft revised for clues that a person gives: what it says of those findings changes, and nothing else.

Written anew, a report with one clue turned round differs in other sentences too: which denials a report lists is a
matter of taste, and any small change tips it. So the draft of the model's own clues is kept, and only its statements of
the given findings give way to those of the text that was written with the given clues.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from operator import or_
from typing import Any

from trrg_core.generation.given_clues import GivenClue
from trrg_core.generation.plain_statements import PlainStatements
from trrg_core.generation.shortening import shorten_sentence
from trrg_core.labels import CODE_OF_SIDE, Assertion
from trrg_core.report.contradictions import findings_called_normal
from trrg_core.report.facts import current_facts
from trrg_core.report.parsed import Mention, ParsedReport
from trrg_core.report.parser import ReportParser
from trrg_core.training.counterfactuals import is_false_when_present
from trrg_core.training.report_segments import Segment, join_segments, split_report

Fact = Mapping[str, Any]


class ReportReviser:
    """Joins a draft and a rewritten text. What a sentence states is read by `parser`."""

    def __init__(self, parser: ReportParser) -> None:
        self._parser = parser
        self._plain = PlainStatements(parser)

    def revise(self, draft: str, rewritten: str, given: Sequence[GivenClue]) -> str:
        """`draft` with its statements of the given findings replaced by those of `rewritten`.

        A finding that `rewritten` does not mention is not mentioned. Where a sentence of the draft states others,
        it is shortened to those, or they are said again in plain sentences. Sentences that a new finding makes false
        ("the lungs are clear") go. Where the two texts state the given findings alike, the draft stays as it is.

        Args:
            draft: written with the model's own clues.
            rewritten: written with the given ones.
            given: what a person says, at least of one finding.
        """
        names = {clue.observation for clue in given}
        before, after = self._segments(draft), self._segments(rewritten)
        if _statements(before, names) == _statements(after, names):
            return draft
        present = {clue.observation for clue in given if clue.is_present}
        new = [part for segment in after for part in self._of(segment, names)]
        first_of_new = next((at for at, segment in enumerate(after) if _states(segment, names)), len(after))
        kept: list[Segment] = []
        place: int | None = None  # of what the draft says of these findings, or of what they make false
        for segment in before:
            stays = self._without(segment, names, present)
            if place is None and stays != [segment]:
                place = len(kept)
            kept += stays
        if place is None:
            place = self._place(new, kept, first=min(first_of_new, len(kept)))
        return _joined([*kept[:place], *new, *kept[place:]])

    def plain_sentence(self, clue: GivenClue) -> str:
        """What a clue says of its finding, of the side and the degree of it, in the words of a prompt."""
        return self._plain.of_clue(clue)

    def without(self, report: str, names: Collection[str]) -> str:
        """`report` without its statements of the findings `names`, as it is if it has none.

        What one of the findings would make false ("the lungs are clear") goes too: it denies them.
        """
        segments = self._segments(report)
        kept = [part for segment in segments for part in self._without(segment, names, names)]
        return report if kept == segments else _joined(kept)

    def settle(self, report: str, observation: str, *, is_present: bool) -> str:
        """`report` without what contradicts that a finding is present, or that it is absent.

        Its denials go, but for those of a side on which it is not affirmed, and what calls normal what is not ("the
        lungs are clear"); or its affirmations.
        """
        segments = self._segments(report)
        wrong = Assertion.ABSENT if is_present else Assertion.PRESENT
        affirmed = _sides(segments, observation, Assertion.PRESENT) if is_present else 0

        def contradicts(fact: Fact) -> bool:
            if (fact["observation"], fact["assertion"]) != (observation, wrong):
                return False
            sides = CODE_OF_SIDE[fact["laterality"]]
            return not (affirmed and sides and not affirmed & sides)

        false = (observation,) if is_present else ()
        return _joined([part for segment in segments for part in self._drop(segment, contradicts, false)])

    def _segments(self, text: str) -> list[Segment]:
        """The sentences of a generated text with their current facts, its headings, and the pieces between them."""
        parsed = self._parser.parse(text)
        sentences = [
            {"text": sentence.text, "facts": facts}
            for sentence in parsed.sentences
            if (facts := current_facts(sentence.mentions, self._parser.label_set))
        ]
        return list(_with_headings(split_report({"report": text, "sentences": sentences}), parsed))

    def _of(self, segment: Segment, names: Collection[str]) -> list[Segment]:
        """What the segment states of `names` alone."""
        return self._drop(segment, lambda fact: fact["observation"] not in names) if _states(segment, names) else []

    def _without(self, segment: Segment, names: Collection[str], present: Collection[str]) -> list[Segment]:
        """The segment without its statements of `names`, and without what is false where `present` are."""
        return self._drop(segment, lambda fact: fact["observation"] in names, present)

    def _drop(
        self, segment: Segment, is_dropped: Callable[[Fact], bool], present: Collection[str] = ()
    ) -> list[Segment]:
        """The segment if none of its facts is dropped, else shortened to the others, or these in plain sentences.

        A sentence that calls normal what is not when `present` are is never kept as it is.
        """
        kept = [fact for fact in segment.facts if not is_dropped(fact)]
        is_false = any(self._calls_normal(segment, name) for name in present)
        if len(kept) == len(segment.facts) and not is_false:
            return [segment]
        shorter = None if is_false else self._shortened(segment, is_dropped)
        # what is left may be false by itself: "The costophrenic angles are sharp", of "sharp without effusion"
        if shorter and any(is_false_when_present(shorter, name) for name in present):
            shorter = None
        texts = [shorter] if shorter else dict.fromkeys(self._plain.of_fact(fact) for fact in kept)
        return [Segment(" " if at else segment.gap, text) for at, text in enumerate(texts)]

    def _calls_normal(self, segment: Segment, name: str) -> bool:
        """Whether the segment calls normal what is not when `name` is present, which it does not state itself."""
        if not segment.facts:
            return is_false_when_present(segment.text, name)
        denied = findings_called_normal(segment.text)
        return not _states(segment, [name]) and any(
            name in self._parser.label_set.observations_of(finding) for finding in denied
        )

    def _shortened(self, segment: Segment, is_dropped: Callable[[Fact], bool]) -> str | None:
        label_set = self._parser.label_set

        def goes(mention: Mention) -> bool:
            return any(is_dropped(fact) for fact in current_facts([mention], label_set))

        alone = current_facts(self._parser.mentions_of(segment.text), label_set)
        # a sentence that another one explains ("It is small.") is not read alone
        return shorten_sentence(segment.text, goes, self._parser) if alone == list(segment.facts) else None

    def _place(self, new: Sequence[Segment], kept: Sequence[Segment], *, first: int) -> int:
        """Where `new` is read: from `first` on, the first place that is not above all headings or in a history."""
        if not any(_is_heading(segment) for segment in kept):
            return first
        wanted = {(fact["observation"], fact["assertion"]) for fact in self._facts(_joined(new))}
        for place in range(first, len(kept) + 1):
            stated = self._facts(_joined([*kept[:place], *new, *kept[place:]]))
            if wanted <= {(fact["observation"], fact["assertion"]) for fact in stated}:
                return place
        return first

    def _facts(self, text: str) -> list[Fact]:
        mentions = (mention for sentence in self._parser.parse(text).sentences for mention in sentence.mentions)
        return current_facts(mentions, self._parser.label_set)


def _with_headings(segments: Iterable[Segment], parsed: ParsedReport) -> Iterator[Segment]:
    """The segments, with the headings of sections apart."""
    starts, cursor = [section.start for section in parsed.sections], 0
    for segment in segments:
        cursor += len(segment.gap)
        cut = next((start - cursor for start in starts if cursor < start < cursor + len(segment.text)), 0)
        cursor += len(segment.text)
        heading, rest = segment.text[:cut].rstrip(), segment.text[cut:].lstrip()
        if segment.facts or not rest or not heading.endswith(":"):
            yield segment
        else:
            yield replace(segment, text=heading)
            yield Segment(segment.text[len(heading) : -len(rest)], rest)


def _is_heading(segment: Segment) -> bool:
    return not segment.facts and segment.text.endswith(":")


def _joined(segments: Sequence[Segment]) -> str:
    """The text, without headings of nothing."""
    is_last = [after is None or _is_heading(after) for after in (*segments[1:], None)]
    return join_segments(
        segment for segment, last in zip(segments, is_last, strict=False) if not (last and _is_heading(segment))
    )


def _states(segment: Segment, names: Collection[str]) -> bool:
    return any(fact["observation"] in names for fact in segment.facts)


def _sides(segments: Sequence[Segment], observation: str, assertion: Assertion) -> int:
    """The sides of which the segments state an observation, as bits."""
    stated = (
        CODE_OF_SIDE[fact["laterality"]]
        for segment in segments
        for fact in segment.facts
        if (fact["observation"], fact["assertion"]) == (observation, assertion)
    )
    return reduce(or_, stated, 0)


def _statements(segments: Sequence[Segment], names: Collection[str]) -> set[tuple[str, ...]]:
    return {
        tuple(str(fact[part]) for part in ("observation", "assertion", "laterality", "severity"))
        for segment in segments
        for fact in segment.facts
        if fact["observation"] in names
    }
