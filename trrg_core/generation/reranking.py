"""Which of several drafts of a report to keep: the one that says what the model itself saw.

Drafts as the parser reads them and the study's clues come in, the choice and every draft's score go out. Two witnesses
are heard on each observation: perception, by its clue, and the writer, by how many of its drafts state it. No reference
report is needed and nothing is learnt here, so a choice can be traced to what was believed. Of the rates that judge
reports by their clues, the chosen ones are no independent test any more: they were chosen so.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trrg_core.clue import Clue
from trrg_core.evidence import find_contradictions
from trrg_core.labels import Label, Labels
from trrg_core.report.parsed import ParsedReport, Sentence
from trrg_core.report.prior_comparison import compares_with_prior

# log odds; one sure clue must not outweigh all that the others say
_SUREST = 5.0
# a possible finding stands between saying it and passing over it
_SAID = {Label.POSITIVE: 1.0, Label.UNCERTAIN: 0.5, Label.NEGATIVE: 0.0, None: 0.0}
# a sentence that cannot be true costs what denying a finding costs that is believed with odds of 20 to 1
_UNTRUE = 3.0


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The index of the draft to keep (the first of equals), and the score of each: higher is better.

    `odds` are the log odds by observation that the drafts were held against.
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
    writer_share: float,
    likelihood_weight: float,
) -> Choice:
    """The draft that agrees best with what perception and writer believe, and says least that cannot be true.

    Args:
        parsed: what each draft says.
        log_probabilities: the writer's own, mean per token, of each draft: the better told of equal drafts wins.
        clues: what perception saw; of an observation without one the writer alone is heard.
        has_prior: whether the study has an earlier one; without one no draft can compare. None when unknown.
        writer_share: weight of the writer's belief beside perception's, 0 to 1.
        likelihood_weight: how much one nat per token counts beside the log likelihood of what is said.

    Raises:
        ValueError: if there are no drafts, or not one log probability for each.
    """
    if not parsed or len(parsed) != len(log_probabilities):
        raise ValueError(f"expected a log probability for each draft: {len(parsed)}, {len(log_probabilities)}")
    odds = pool_beliefs([report.labels for report in parsed], clues, writer_share=writer_share)
    scores = tuple(
        agreement(report.labels, odds)
        + likelihood_weight * log_probability
        - _UNTRUE * _count_untrue(report.sentences, has_prior)
        for report, log_probability in zip(parsed, log_probabilities, strict=True)
    )
    return Choice(index=max(range(len(scores)), key=scores.__getitem__), scores=scores, odds=odds)


def pool_beliefs(drafted: Sequence[Labels], clues: Sequence[Clue], *, writer_share: float) -> dict[str, float]:
    """Log odds that each observation is there: the writer's and perception's, weighted.

    A clue's odds are taken against its threshold: at the threshold it speaks for neither side.
    """
    seen = {clue.observation: _clue_odds(clue) for clue in clues}
    pooled: dict[str, float] = {}
    for name in drafted[0]:
        said = sum(_SAID[labels[name]] for labels in drafted)
        # half a draft more on both sides: what no draft says may still be there
        written = math.log((said + 0.5) / (len(drafted) - said + 0.5))
        pooled[name] = written if name not in seen else writer_share * written + (1 - writer_share) * seen[name]
    return pooled


def agreement(labels: Labels, odds: Mapping[str, float]) -> float:
    """Log likelihood of what a report says and passes over under the log odds of each observation; 0 at best.

    A finding that is passed over counts as absent, for a finding that is there gets written down.
    """
    return sum(_log_likelihood(value, _SAID[labels[name]]) for name, value in odds.items())


def _count_untrue(sentences: Sequence[Sentence], has_prior: bool | None) -> int:
    """Contradictions within the report, and comparisons with a study that does not exist."""
    compared = sum(compares_with_prior(item.text) for item in sentences) if has_prior is False else 0
    return len(find_contradictions(sentences)) + compared


def _log_likelihood(odds: float, said: float) -> float:
    return -said * math.log1p(math.exp(-odds)) - (1 - said) * math.log1p(math.exp(odds))


def _clue_odds(clue: Clue) -> float:
    return min(max(_log_odds(clue.probability) - _log_odds(clue.threshold), -_SUREST), _SUREST)


def _log_odds(probability: float) -> float:
    inside = min(max(probability, 1e-6), 1 - 1e-6)
    return math.log(inside / (1 - inside))
