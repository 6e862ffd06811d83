"""Reranking: which of several drafts of a report agrees best with the model's own perception.

Parsed drafts and the study's clues in; the choice and the score of every draft out. The presence of each
observation is estimated twice: by perception, from its clue, and by the generator, from the share of its drafts that
state it. No reference report is needed and nothing is learned here, so a choice can be traced to the odds that decided
it. Scores that compare reports with clues are no independent test of reranked reports, since these were chosen by their
clues.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trrg_core.clue import Clue
from trrg_core.labels import CODE_OF_SIDE, SIDE_LEFT, SIDE_RIGHT, Assertion, Label, Labels, LabelSet
from trrg_core.report.contradictions import find_contradictions
from trrg_core.report.parsed import ParsedReport, Sentence
from trrg_core.report.prior_comparison import compares_with_prior

# log odds; one certain clue must not outweigh all others together
_MAX_ODDS = 5.0
# a finding stated as possible counts half
_STATED_SHARE = {Label.POSITIVE: 1.0, Label.UNCERTAIN: 0.5, Label.NEGATIVE: 0.0, None: 0.0}
# an impossible statement costs as much as denying a finding with odds of 20 to 1
_IMPOSSIBLE_COST = 3.0


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The index of the draft to keep (the first of equals), and the score of each: higher is better.

    `odds` are the log odds by observation that the drafts were scored with.
    """

    index: int
    scores: tuple[float, ...]
    odds: Mapping[str, float]

    @property
    def score(self) -> float:
        """The score of the draft to keep."""
        return self.scores[self.index]


def choose_draft(
    parsed: Sequence[ParsedReport],
    log_probabilities: Sequence[float],
    *,
    clues: Sequence[Clue],
    has_prior: bool | None,
    label_set: LabelSet,
    writer_share: float,
    likelihood_weight: float,
) -> Choice:
    """The draft that agrees best with perception and the other drafts, and has the fewest impossible statements.

    Args:
        parsed: the parse of each draft.
        log_probabilities: of each draft under the model, mean per token; decides between drafts of equal agreement.
        clues: of the study; for an observation without one only the drafts count.
        has_prior: whether the study has an earlier one; without one no draft can compare. None when unknown.
        label_set: which findings count towards which observation.
        writer_share: weight of the odds from the drafts against those from the clues, 0 to 1.
        likelihood_weight: weight of the log probability, nats per token, against the log likelihood of the statements.

    Raises:
        ValueError: if there are no drafts, or not one log probability for each.
    """
    if not parsed or len(parsed) != len(log_probabilities):
        raise ValueError(f"expected a log probability for each draft: {len(parsed)}, {len(log_probabilities)}")
    odds = pool_odds([report.labels for report in parsed], clues, writer_share=writer_share)
    scores = tuple(
        agreement(report.labels, odds)
        + side_agreement(report.sentences, clues, label_set)
        + likelihood_weight * log_probability
        - _IMPOSSIBLE_COST * _count_impossible(report.sentences, has_prior)
        for report, log_probability in zip(parsed, log_probabilities, strict=True)
    )
    return Choice(index=max(range(len(scores)), key=scores.__getitem__), scores=scores, odds=odds)


def pool_odds(drafted: Sequence[Labels], clues: Sequence[Clue], *, writer_share: float) -> dict[str, float]:
    """Log odds that each observation is present: the weighted mean of those from drafts and those from clues.

    A clue's odds are relative to its threshold: 0 at the threshold.
    """
    perceived = {clue.observation: _clue_odds(clue) for clue in clues}
    pooled: dict[str, float] = {}
    for name in drafted[0]:
        num_stating = sum(_STATED_SHARE[labels[name]] for labels in drafted)
        # half a draft more on both sides: what no draft states may still be present
        written = math.log((num_stating + 0.5) / (len(drafted) - num_stating + 0.5))
        pooled[name] = (
            written if name not in perceived else writer_share * written + (1 - writer_share) * perceived[name]
        )
    return pooled


def agreement(labels: Labels, odds: Mapping[str, float]) -> float:
    """Log likelihood of a report's labels under the log odds of each observation; 0 at best.

    An unmentioned finding counts as absent, since present findings are reported.
    """
    return sum(_log_likelihood(value, _STATED_SHARE[labels[name]]) for name, value in odds.items())


def side_agreement(sentences: Sequence[Sentence], clues: Sequence[Clue], label_set: LabelSet) -> float:
    """Log likelihood of the sides that a report states of present findings, under the clues, relative to chance.

    The probability of a side is taken as given that the finding is present. A finding without a stated side counts 0,
    as one whose side was drawn by chance.
    """
    stated: dict[str, int] = {}
    for mention in (mention for sentence in sentences for mention in sentence.mentions):
        bits = CODE_OF_SIDE.get(mention.laterality, 0)
        if bits and mention.is_current and mention.assertion is Assertion.PRESENT:
            for name in label_set.observations_of(mention.finding):
                stated[name] = stated.get(name, 0) | bits
    total = 0.0
    for clue in clues:
        if clue.observation not in stated or clue.left is None or clue.right is None:
            continue
        present = max(clue.probability, clue.left, clue.right)
        for bit, probability in ((SIDE_LEFT, clue.left), (SIDE_RIGHT, clue.right)):
            share = probability / present if present else 0.5
            likelihood = share if stated[clue.observation] & bit else 1 - share
            total += max(math.log(2 * max(likelihood, 1e-9)), -_MAX_ODDS)
    return total


def _count_impossible(sentences: Sequence[Sentence], has_prior: bool | None) -> int:
    """The number of contradictions within the report and of comparisons with a study that does not exist."""
    compared = sum(compares_with_prior(item.text) for item in sentences) if has_prior is False else 0
    return len(find_contradictions(sentences)) + compared


def _log_likelihood(odds: float, stated: float) -> float:
    return -stated * math.log1p(math.exp(-odds)) - (1 - stated) * math.log1p(math.exp(odds))


def _clue_odds(clue: Clue) -> float:
    return min(max(_log_odds(clue.probability) - _log_odds(clue.threshold), -_MAX_ODDS), _MAX_ODDS)


def _log_odds(probability: float) -> float:
    inside = min(max(probability, 1e-6), 1 - 1e-6)
    return math.log(inside / (1 - inside))
