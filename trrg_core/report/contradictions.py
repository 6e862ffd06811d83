"""Contradictions within one report: a finding that is affirmed and denied, or has two sides or degrees.

Parsed sentences in, pairs of sentences out. No clue and no reference is needed.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import reduce
from itertools import product
from operator import or_

from trrg_core.labels import CODE_OF_SIDE, DEGREE_OF_SEVERITY, Assertion
from trrg_core.report.parsed import Mention, Sentence

# "no other nodule" and "the lungs are otherwise clear" do not deny what was affirmed before
_LIMITS_DENIAL = re.compile(r"\b(?:other|otherwise|additional|further|remaining|remainder|elsewhere)\b", re.IGNORECASE)
# acute findings that a sentence about all of the chest, or of both lungs, denies without naming them; chronic and small
# ones are left out: "no acute process" is said beside them
_ACUTE = ("pneumothorax", "pneumonia", "edema", "consolidation")
_NORMAL: Mapping[re.Pattern[str], tuple[str, ...]] = {
    re.compile(
        r"\bno (?:evidence of |radiographic evidence of |radiographic )?(?:an? )?(?:active |acute )"
        r"(?:or active |and active )?(?:(?:cardiopulmonary|cardiac|pulmonary|intrathoracic|thoracic|chest|lung|pleural|"
        r"cardiothoracic)(?:,? (?:or|and) |/| )?)*(?:process(?:es)?|disease|abnormalit(?:y|ies)|findings?|pathology)\b",
        re.IGNORECASE,
    ): _ACUTE,
    re.compile(
        r"\b(?<!no )(?:normal|unremarkable|negative) (?:(?:frontal|lateral|pa|ap|two[- ]view|portable|and) )*"
        r"(?:chest|study|examination|exam)(?: (?:radiographs?|x-?rays?|films?|study|examination|exam))?"
        r"(?= *(?:[.,;]|$))",
        re.IGNORECASE,
    ): _ACUTE,
    re.compile(
        r"^(?:clear lungs|lungs clear)(?: bilaterally)?(?= *(?:[.,;]|$| and\b| without\b))",
        re.IGNORECASE,
    ): ("pneumonia", "edema", "consolidation"),
    re.compile(
        r"^(?:the |both |bilateral )?lungs? (?:fields )?(?:are|remain|appear) (?:\w+ (?:and )?){0,3}clear\b"
        r"(?! of\b| except\b| apart\b| aside\b| with the\b)",
        re.IGNORECASE,
    ): ("pneumonia", "edema", "consolidation"),
}


class ContradictionKind(StrEnum):
    """How two sentences disagree: one denies the finding, calls all of it normal, or states another side or degree."""

    DENIED = "denied"
    NORMAL = "normal"
    OTHER_SIDE = "other_side"
    OTHER_DEGREE = "other_degree"


@dataclass(frozen=True, kw_only=True)
class Contradiction:
    """A finding that one sentence affirms and another, or the same, does not allow: indices into the sentences.

    `is_across_sections`: the findings say one thing, the impression another.
    """

    finding: str
    affirmed_in: int
    denied_in: int
    kind: ContradictionKind = ContradictionKind.DENIED
    is_across_sections: bool = False


def find_contradictions(sentences: Sequence[Sentence]) -> tuple[Contradiction, ...]:
    """Findings affirmed in one place and denied in another that covers it, in text order.

    "No effusion" covers "left effusion", "no right effusion" does not; nor do "no large", "no new" and "no other
    effusion". Sides, and slight and severe, contradict each other only between findings and impression: within a
    section both may be meant.
    """
    current = [(at, mention) for at, item in enumerate(sentences) for mention in item.mentions if mention.is_current]
    affirmed = [pair for pair in current if pair[1].assertion is Assertion.PRESENT]
    denied = [
        (at, mention)
        for at, mention in current
        if mention.assertion is Assertion.ABSENT and not _LIMITS_DENIAL.search(sentences[at].text)
    ]
    pairs = {
        (yes.finding, yes_at, no_at, ContradictionKind.DENIED): None
        for (yes_at, yes), (no_at, no) in product(affirmed, denied)
        if yes.finding == no.finding and _denies(no, yes)
    }
    pairs |= dict.fromkeys(_against_normal(sentences, affirmed))
    pairs |= dict.fromkeys(_between_sections(sentences, affirmed, ContradictionKind.OTHER_SIDE, _side_bits))
    pairs |= dict.fromkeys(_between_sections(sentences, affirmed, ContradictionKind.OTHER_DEGREE, _degree_bits))
    return tuple(
        Contradiction(
            finding=name,
            affirmed_in=yes,
            denied_in=no,
            kind=kind,
            is_across_sections={sentences[yes].section, sentences[no].section} == {"findings", "impression"},
        )
        for name, yes, no, kind in pairs
    )


def findings_called_normal(text: str) -> frozenset[str]:
    """The findings that a sentence denies without naming them, as "the lungs are clear" does an edema."""
    line = " ".join(text.split())
    if _LIMITS_DENIAL.search(line):
        return frozenset()
    return frozenset(name for pattern, names in _NORMAL.items() if pattern.search(line) for name in names)


_Pair = tuple[str, int, int, ContradictionKind]


def _denies(denied: Mention, affirmed: Mention) -> bool:
    side = denied.laterality in ("", "bilateral", affirmed.laterality) or affirmed.laterality == "bilateral"
    place = "" in (denied.anatomy, affirmed.anatomy) or denied.anatomy == affirmed.anatomy
    degree = denied.severity in ("", affirmed.severity)
    # "has resolved" denies the finding itself, "nothing new" and "no worse" do not
    return side and place and degree and denied.change not in ("new", "worse") and not denied.size


def _against_normal(sentences: Sequence[Sentence], affirmed: Sequence[tuple[int, Mention]]) -> Iterator[_Pair]:
    for normal_at, sentence in enumerate(sentences):
        denied = findings_called_normal(sentence.text)
        for at, mention in affirmed:
            # within one sentence the finding is the exception: "no acute process apart from the pneumothorax"
            if mention.finding in denied and at != normal_at:
                yield mention.finding, at, normal_at, ContradictionKind.NORMAL


def _side_bits(mention: Mention) -> int:
    return CODE_OF_SIDE.get(mention.laterality, 0)


def _degree_bits(mention: Mention) -> int:
    """A bit for slight and severe and both for moderate, which is near either."""
    return {1: 1, 2: 3, 3: 2}.get(DEGREE_OF_SEVERITY.get(mention.severity, 0), 0)


def _between_sections(
    sentences: Sequence[Sentence],
    affirmed: Sequence[tuple[int, Mention]],
    kind: ContradictionKind,
    bits_of: Callable[[Mention], int],
) -> Iterator[_Pair]:
    """Findings of which both sections state something, and nothing in common."""
    for name in dict.fromkeys(mention.finding for _, mention in affirmed):
        of_section: dict[str, list[tuple[int, int]]] = {"findings": [], "impression": []}
        for at, mention in affirmed:
            if mention.finding == name and sentences[at].section in of_section:
                of_section[sentences[at].section].append((at, bits_of(mention)))
        first, second = of_section.values()
        stated = [reduce(or_, (bits for _, bits in places), 0) for places in (first, second)]
        if all(stated) and not stated[0] & stated[1]:
            # the sentences that state it: the first may name the finding alone
            here, there = (next(at for at, bits in places if bits) for places in (first, second))
            yield name, here, there, kind
