"""A draft revised for clues that a person gives: what it says of those findings changes, and nothing else.

Written anew, a report with one clue turned round differs in other sentences too: which denials a report lists is a
matter of taste, and any small change tips it. So the draft of the model's own clues is kept, and only its statements of
the given findings give way to those of the text that was written with the given clues.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from trrg_core.generation.given_clues import GivenClue
from trrg_core.labels import CODE_OF_SIDE, Assertion
from trrg_core.report.facts import current_facts
from trrg_core.report.parser import ReportParser
from trrg_core.training.counterfactuals import is_false_when_present
from trrg_core.training.prompts import Prompts, load_prompts
from trrg_core.training.report_segments import Segment, join_segments, split_report

Fact = Mapping[str, Any]


class ReportReviser:
    """Joins a draft and a rewritten text. What a sentence states is read by `parser`."""

    def __init__(self, parser: ReportParser) -> None:
        self._parser = parser
        names = parser.label_set.observations
        self._prompts: Mapping[str, Prompts] = dict(zip(names, load_prompts(names), strict=True))

    def revise(self, draft: str, rewritten: str, given: Sequence[GivenClue]) -> str:
        """`draft` with its statements of the given findings replaced by those of `rewritten`.

        A finding that `rewritten` does not mention is not mentioned. Where a sentence of the draft states others,
        those are said again in plain sentences. Sentences that a new finding makes false ("the lungs are clear")
        go. Where the two texts state the given findings alike, the draft stays as it is.

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
        new = [part for segment in after if _states(segment, names) for part in self._of(segment, names)]
        first_of_new = next((at for at, segment in enumerate(after) if _states(segment, names)), len(after))
        kept: list[Segment] = []
        place: int | None = None
        for segment in before:
            if _states(segment, names):
                place = len(kept) if place is None else place
                kept += self._of(segment, {fact["observation"] for fact in segment.facts} - names)
            elif segment.facts or not any(is_false_when_present(segment.text, name) for name in present):
                kept.append(segment)
        at = min(first_of_new, len(kept)) if place is None else place
        return join_segments([*kept[:at], *new, *kept[at:]])

    def plain_sentence(self, clue: GivenClue) -> str:
        """What a clue says of its finding and the side of it, in the words of a prompt."""
        side = next(name for name, bits in CODE_OF_SIDE.items() if bits == clue.sides)
        assertion = Assertion.PRESENT if clue.is_present else Assertion.ABSENT
        return self._sentence({"observation": clue.observation, "assertion": assertion, "laterality": side})

    def without(self, report: str, names: Collection[str]) -> str:
        """`report` without its statements of the findings `names`, as it is if it has none.

        Sentences that one of the findings would make false ("the lungs are clear") go too: they deny it.
        """
        kept: list[Segment] = []
        segments = self._segments(report)
        for segment in segments:
            if _states(segment, names):
                kept += self._of(segment, {fact["observation"] for fact in segment.facts}.difference(names))
            elif segment.facts or not any(is_false_when_present(segment.text, name) for name in names):
                kept.append(segment)
        return report if kept == segments else join_segments(kept)

    def settle(self, report: str, observation: str, *, is_present: bool) -> str:
        """`report` without what contradicts that a finding is present, or that it is absent.

        Its denials go, and sentences that call normal what is not ("the lungs are clear"); or its affirmations.
        """
        wrong = Assertion.ABSENT if is_present else Assertion.PRESENT
        kept: list[Segment] = []
        for segment in self._segments(report):
            facts = [fact for fact in segment.facts if (fact["observation"], fact["assertion"]) != (observation, wrong)]
            if segment.facts or not (is_present and is_false_when_present(segment.text, observation)):
                kept += self._say(segment, facts)
        return join_segments(kept)

    def _segments(self, text: str) -> list[Segment]:
        """The sentences of a generated text with their current facts, and the pieces between them."""
        parsed = self._parser.parse(text)
        sentences = [
            {"text": sentence.text, "facts": facts}
            for sentence in parsed.sentences
            if (facts := current_facts(sentence.mentions, self._parser.label_set))
        ]
        return split_report({"report": text, "sentences": sentences})

    def _of(self, segment: Segment, names: Collection[str]) -> list[Segment]:
        """What the segment states of `names` alone: itself if it states nothing else, or plain sentences."""
        return self._say(segment, [fact for fact in segment.facts if fact["observation"] in names])

    def _say(self, segment: Segment, facts: Sequence[Fact]) -> list[Segment]:
        """These facts of the segment: itself if it has no others, or plain sentences."""
        if len(facts) == len(segment.facts):
            return [segment]
        texts = dict.fromkeys(self._sentence(fact) for fact in facts)
        return [Segment(" ", text) for text in texts]

    def _sentence(self, fact: Fact) -> str:
        name, prompts = fact["observation"], self._prompts[fact["observation"]]
        match fact["assertion"]:
            case Assertion.ABSENT:
                return prompts.absent[0]
            case Assertion.UNCERTAIN:
                return f"Possible {name.lower()}."
        if fact["laterality"] in ("left", "right") and prompts.left:
            return (prompts.left if fact["laterality"] == "left" else prompts.right)[0]
        return prompts.present[0]


def _states(segment: Segment, names: Collection[str]) -> bool:
    return any(fact["observation"] in names for fact in segment.facts)


def _statements(segments: Sequence[Segment], names: Collection[str]) -> set[tuple[str, ...]]:
    return {
        tuple(str(fact[part]) for part in ("observation", "assertion", "laterality", "severity"))
        for segment in segments
        for fact in segment.facts
        if fact["observation"] in names
    }
