"""The evidence for each sentence of a generated report: its parsed mentions joined to the study's disease clues.

A parsed report and clues come in, a status for every sentence goes out. No reference report is needed, so this works in
use as well as in evaluation. Mentions are checked against the perception of stage 1, which is not the ground truth: a
status is whether the report agrees with what the model itself perceived.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import product

from trrg_core.clue import Clue
from trrg_core.labels import CODE_OF_SIDE, Assertion, LabelSet
from trrg_core.report.parsed import Mention, ParsedReport, Sentence
from trrg_core.report.prior_comparison import compares_with_prior


class Support(StrEnum):
    """The status of a mention or sentence against the clues, the most severe first.

    CONTRADICTED denies what a clue shows; UNSUPPORTED affirms, or states as possible, what no clue shows, or shows on
    other sides only.
    """

    CONTRADICTED = "CONTRADICTED"
    UNSUPPORTED = "UNSUPPORTED"
    SUPPORTED = "SUPPORTED"
    NOT_CHECKABLE = "NOT_CHECKABLE"


_BY_SEVERITY = tuple(Support)
# "no other nodule" and "the lungs are otherwise clear" do not deny what was affirmed before
_LIMITS_DENIAL = re.compile(r"\b(?:other|otherwise|additional|further|remaining|remainder|elsewhere)\b", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class MentionEvidence:
    """A mention, the clue it was checked against (None: there is no clue for it) and its status."""

    mention: Mention
    clue: Clue | None
    status: Support


@dataclass(frozen=True, kw_only=True)
class SentenceEvidence:
    """A sentence's mentions and the most severe of their statuses.

    `false_prior`: it compares with a prior that the study does not have.
    """

    start: int
    end: int
    status: Support
    mentions: tuple[MentionEvidence, ...]
    false_prior: bool


@dataclass(frozen=True, kw_only=True)
class Contradiction:
    """A finding that one sentence affirms and another, or the same, denies: indices into the sentences."""

    finding: str
    affirmed_in: int
    denied_in: int


@dataclass(frozen=True, kw_only=True)
class ReportEvidence:
    """The evidence for one generated report.

    `omitted` are shown clues of which the report mentions nothing. `has_prior` is None when it is unknown whether the
    study has a prior; comparisons are not checked then.
    """

    sentences: tuple[SentenceEvidence, ...]
    clues: tuple[Clue, ...]
    contradictions: tuple[Contradiction, ...]
    omitted: tuple[Clue, ...]
    has_prior: bool | None


def gather_evidence(
    report: ParsedReport,
    *,
    clues: Sequence[Clue],
    label_set: LabelSet,
    has_prior: bool | None,
) -> ReportEvidence:
    """The evidence for each sentence of `report`.

    Args:
        report: the parsed generated report.
        clues: the study's clues, in any order; an observation without one is not checkable.
        label_set: which findings count towards which observation.
        has_prior: whether the study has an earlier one; None when unknown.
    """
    given = {clue.observation: clue for clue in clues}
    known = {name: given[name] for name in label_set.observations if name in given and name != label_set.no_finding}
    return ReportEvidence(
        sentences=tuple(_check_sentence(item, known, label_set, has_prior) for item in report.sentences),
        clues=tuple(known.values()),
        contradictions=find_contradictions(report.sentences),
        omitted=_find_omitted(report.sentences, known, label_set),
        has_prior=has_prior,
    )


def find_contradictions(sentences: Sequence[Sentence]) -> tuple[Contradiction, ...]:
    """Findings affirmed in one place and denied in another that covers it, in text order.

    "No effusion" covers "left effusion", "no right effusion" does not; nor do "no large", "no new" and "no other
    effusion".
    """
    current = [(at, mention) for at, item in enumerate(sentences) for mention in item.mentions if mention.is_current]
    affirmed = [pair for pair in current if pair[1].assertion is Assertion.PRESENT]
    denied = [
        (at, mention)
        for at, mention in current
        if mention.assertion is Assertion.ABSENT and not _LIMITS_DENIAL.search(sentences[at].text)
    ]
    pairs = {
        (yes.finding, yes_at, no_at): None
        for (yes_at, yes), (no_at, no) in product(affirmed, denied)
        if yes.finding == no.finding and _denies(no, yes)
    }
    return tuple(Contradiction(finding=name, affirmed_in=yes, denied_in=no) for name, yes, no in pairs)


def _denies(denied: Mention, affirmed: Mention) -> bool:
    side = denied.laterality in ("", "bilateral", affirmed.laterality) or affirmed.laterality == "bilateral"
    place = "" in (denied.anatomy, affirmed.anatomy) or denied.anatomy == affirmed.anatomy
    degree = denied.severity in ("", affirmed.severity)
    # "has resolved" denies the finding itself, "nothing new" and "no worse" do not
    return side and place and degree and denied.change not in ("new", "worse") and not denied.size


def _check_sentence(
    sentence: Sentence, clues: Mapping[str, Clue], label_set: LabelSet, has_prior: bool | None
) -> SentenceEvidence:
    mentions = tuple(_check_mention(mention, clues, label_set) for mention in sentence.mentions)
    return SentenceEvidence(
        start=sentence.start,
        end=sentence.end,
        status=min((item.status for item in mentions), key=_BY_SEVERITY.index, default=Support.NOT_CHECKABLE),
        mentions=mentions,
        false_prior=has_prior is False and compares_with_prior(sentence.text),
    )


def _check_mention(mention: Mention, clues: Mapping[str, Clue], label_set: LabelSet) -> MentionEvidence:
    known = [clues[name] for name in label_set.observations_of(mention.finding) if name in clues]
    if not known or not mention.is_current:
        return MentionEvidence(mention=mention, clue=None, status=Support.NOT_CHECKABLE)
    # a finding that counts towards several observations is checked against the clue furthest above its threshold
    clue = max(known, key=lambda item: item.probability - item.threshold)
    stated, perceived = CODE_OF_SIDE.get(mention.laterality, 0), clue.sides
    if mention.assertion is Assertion.ABSENT:
        is_elsewhere = bool(stated and perceived) and not stated & perceived
        status = Support.CONTRADICTED if clue.is_shown and not is_elsewhere else Support.SUPPORTED
    else:
        on_other_side = bool(perceived) and bool(stated & ~perceived)
        status = Support.SUPPORTED if clue.is_shown and not on_other_side else Support.UNSUPPORTED
    return MentionEvidence(mention=mention, clue=clue, status=status)


def _find_omitted(sentences: Sequence[Sentence], clues: Mapping[str, Clue], label_set: LabelSet) -> tuple[Clue, ...]:
    mentioned = {
        name
        for sentence in sentences
        for mention in sentence.mentions
        if mention.is_current
        for name in label_set.observations_of(mention.finding)
    }
    return tuple(clue for name, clue in clues.items() if clue.is_shown and name not in mentioned)
