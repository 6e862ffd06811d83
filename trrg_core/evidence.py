"""The evidence for each sentence of a generated report: its parsed mentions joined to the study's disease clues.

A parsed report and clues come in, a status for every sentence goes out. No reference report is needed, so this works in
use as well as in evaluation. Mentions are checked against the perception of stage 1, which is not the ground truth: a
status is whether the report agrees with what the model itself perceived.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from trrg_core.clue import Clue
from trrg_core.labels import CODE_OF_SIDE, DEGREE_OF_SEVERITY, Assertion, LabelSet
from trrg_core.report.contradictions import Contradiction, ContradictionKind, find_contradictions
from trrg_core.report.identifiers import count_identifiers
from trrg_core.report.parsed import Mention, ParsedReport, Sentence
from trrg_core.report.prior_comparison import compares_with_prior

# a statement is supported where the calibrated probability that it is true, its precision, is at least this
PRECISION = 0.8
# a degree that is less likely than this, given that the finding is present, is another degree than the clue's
_LEAST_DEGREE = 0.2
MEASUREMENT = "measurement"
# lengths, volumes and densities; shares and angles need no scale
_MEASURED = re.compile(
    r"""
    (?:\d | \b(?:an?|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|fifteen|twenty|thirty|few|several))
        [\s-]{0,3}(?:mms?|cms?|ml|cc|hu|micro?ns?|inch(?:es)?|(?:milli|centi|deci)?(?:met(?:er|re)|lit(?:er|re))s?|
        hounsfield\s+units?|finger-?\s?breadths?)\b
    | \bsub-?(?:centi|milli)met(?:er|re|ric)\b
    | \d\s*(?:x|by)\s*\d
    """,
    re.VERBOSE | re.IGNORECASE,
)


class Support(StrEnum):
    """The status of a mention or sentence against the clues, the most severe first.

    CONTRADICTED denies what a clue shows; UNSUPPORTED affirms, or states as possible, what no clue shows, or shows on
    other sides or in another degree only. SUPPORTED agrees with the clue, with a calibrated probability of at least
    `PRECISION`; WEAK agrees with less, or adds what the clue does not know: a measurement, a side or a degree.
    """

    CONTRADICTED = "CONTRADICTED"
    UNSUPPORTED = "UNSUPPORTED"
    WEAK = "WEAK"
    SUPPORTED = "SUPPORTED"
    NOT_CHECKABLE = "NOT_CHECKABLE"


_BY_SEVERITY = tuple(Support)
_CONTRADICTS = {
    ContradictionKind.DENIED: "contradicts itself",
    ContradictionKind.NORMAL: "contradicts a normal statement",
    ContradictionKind.OTHER_SIDE: "another side in findings and impression",
    ContradictionKind.OTHER_DEGREE: "another degree in findings and impression",
}

# a report that abstains from a finding does not leave it out; it states nothing of it either
_NOT_ASSESSED = re.compile(r"\bcannot be assessed\b", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class MentionEvidence:
    """A mention, the clue it was checked against (None: there is no clue for it) and its status.

    `probability` is that of the statement, with its side and degree: of a denial, that the finding is absent. None
    without a clue.
    """

    mention: Mention
    clue: Clue | None
    status: Support
    probability: float | None = None


@dataclass(frozen=True, kw_only=True)
class SentenceEvidence:
    """A sentence's mentions and the most severe of their statuses.

    `false_prior`: it compares with a prior that the study does not have; `unknown_prior`: it compares, and whether the
    study has a prior is unknown. `invented` are kinds of what no radiograph tells: `measurement`, `date`, `name`, ...
    """

    start: int
    end: int
    status: Support
    mentions: tuple[MentionEvidence, ...]
    false_prior: bool
    unknown_prior: bool = False
    invented: tuple[str, ...] = ()

    @property
    def probability(self) -> float | None:
        """The least probability among the mentions that decide the status; None where nothing is checkable."""
        decisive = [item.probability for item in self.mentions if item.status is self.status]
        return min((value for value in decisive if value is not None), default=None)


@dataclass(frozen=True, kw_only=True)
class ReportEvidence:
    """The evidence for one generated report.

    `omitted` are shown clues of which the report mentions nothing, or denies other sides or degrees only. `has_prior`
    is None when it is unknown whether the study has a prior; comparisons are not judged then.
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


def remarks_on(evidence: ReportEvidence) -> list[tuple[str, ...]]:
    """What is to be said of each sentence beside its status, in words; mostly nothing."""
    contradicting = {
        index: _CONTRADICTS[item.kind]
        for item in evidence.contradictions
        for index in (item.affirmed_in, item.denied_in)
    }
    return [tuple(_remarks(item, contradicting.get(index))) for index, item in enumerate(evidence.sentences)]


def _remarks(sentence: SentenceEvidence, contradicts: str | None) -> Iterator[str]:
    if contradicts:
        yield contradicts
    if sentence.false_prior:
        yield "no prior to compare with"
    if sentence.unknown_prior:
        yield "prior unknown"
    for kind in sentence.invented:
        yield f"{kind}: no film tells it"


def find_inventions(text: str) -> tuple[str, ...]:
    """Kinds of what `text` states and no radiograph tells: measurements, since films have no scale, and identities."""
    measured = (MEASUREMENT,) if _MEASURED.search(text) else ()
    return (*measured, *sorted(count_identifiers(text)))


def _check_sentence(
    sentence: Sentence, clues: Mapping[str, Clue], label_set: LabelSet, has_prior: bool | None
) -> SentenceEvidence:
    invented = find_inventions(sentence.text)
    mentions = tuple(_check_mention(mention, clues, label_set, bool(invented)) for mention in sentence.mentions)
    compares = has_prior is not True and compares_with_prior(sentence.text)
    return SentenceEvidence(
        start=sentence.start,
        end=sentence.end,
        status=min((item.status for item in mentions), key=_BY_SEVERITY.index, default=Support.NOT_CHECKABLE),
        mentions=mentions,
        false_prior=compares and has_prior is False,
        unknown_prior=compares and has_prior is None,
        invented=invented,
    )


def _check_mention(
    mention: Mention, clues: Mapping[str, Clue], label_set: LabelSet, is_embellished: bool
) -> MentionEvidence:
    known = [clues[name] for name in label_set.observations_of(mention.finding) if name in clues]
    if not known or not mention.is_current:
        return MentionEvidence(mention=mention, clue=None, status=Support.NOT_CHECKABLE)
    # a finding that counts towards several observations is checked against the clue furthest above its threshold
    clue = max(known, key=lambda item: item.probability - item.threshold)
    sides, degree = CODE_OF_SIDE.get(mention.laterality, 0), DEGREE_OF_SEVERITY.get(mention.severity, 0)
    is_true = clue.probability_of(sides, degree)
    if mention.assertion is Assertion.ABSENT:
        is_true = 1 - is_true
        is_wrong = clue.is_shown and not _is_other(clue, sides, degree)
        status = Support.CONTRADICTED if is_wrong else _grade(is_true)
    else:
        is_wrong = not clue.is_shown or _excludes(clue, sides, degree)
        is_partly_known = is_embellished or bool(mention.size) or _adds(clue, sides, degree)
        status = Support.UNSUPPORTED if is_wrong else Support.WEAK if is_partly_known else _grade(is_true)
    return MentionEvidence(mention=mention, clue=clue, status=status, probability=is_true)


def _grade(probability: float) -> Support:
    return Support.SUPPORTED if round(probability, 6) >= PRECISION else Support.WEAK


def _adds(clue: Clue, sides: int, degree: int) -> bool:
    """Whether a side or degree is stated that the clue does not know."""
    return bool(sides and clue.left is None) or bool(degree and clue.degrees is None)


def _excludes(clue: Clue, sides: int, degree: int) -> bool:
    """Whether a shown clue speaks against the sides or the degree of an affirmation."""
    return bool(clue.sides and sides & ~clue.sides) or clue.degree_share(degree) < _LEAST_DEGREE


def _is_other(clue: Clue, sides: int, degree: int) -> bool:
    """Whether a denial is of other sides or of another degree than those of the clue: "no large effusion"."""
    return bool(sides and clue.sides and not sides & clue.sides) or clue.degree_share(degree) < 1 / 2


def _find_omitted(sentences: Sequence[Sentence], clues: Mapping[str, Clue], label_set: LabelSet) -> tuple[Clue, ...]:
    mentioned = {
        name
        for sentence in sentences
        for mention in sentence.mentions
        if mention.is_current or _NOT_ASSESSED.search(sentence.text)
        for name in label_set.observations_of(mention.finding)
        if name in clues and not _denies_other(mention, clues[name])
    }
    return tuple(clue for name, clue in clues.items() if clue.is_shown and name not in mentioned)


def _denies_other(mention: Mention, clue: Clue) -> bool:
    """Whether a mention denies the finding on other sides or in another degree only, which leaves the clue's open."""
    sides, degree = CODE_OF_SIDE.get(mention.laterality, 0), DEGREE_OF_SEVERITY.get(mention.severity, 0)
    return mention.assertion is Assertion.ABSENT and _is_other(clue, sides, degree)
