"""What stage 2 learns to write of a study in a step: its own report, or a counterfactual one, beside which clues.

Comes in: a row of `shards`, what it states, and the shares of `finetune`. Goes out: the report's segments, what they
state, and which clues are given (set to what the report states) or hidden; all others are as perceived.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.random import Generator

from trrg_core.config.settings import FinetuneConfig
from trrg_core.report.facts import FactCodes
from trrg_core.training.counterfactuals import NO_FINDING, Counterfactual, Edit, ReportEditor
from trrg_core.training.report_segments import Segment, split_report

_DOWN_SHARE = 0.5  # of turned findings, where there is a present one


@dataclass(frozen=True, kw_only=True)
class ReportTarget:
    """A report to learn and its clues; `given` and `hidden` have one entry per observation."""

    segments: Sequence[Segment]
    facts: FactCodes
    given: Sequence[bool]
    hidden: Sequence[bool]


def write_target(
    row: Mapping[str, Any],
    stated: FactCodes,
    *,
    editor: ReportEditor | None,
    config: FinetuneConfig,
    observations: Sequence[str],
    rng: Generator,
) -> ReportTarget:
    """The target of a study in one step; `rng` is of this study and step.

    Without an editor nothing is turned. A study that has nothing to turn keeps its own report and perceived clues, and
    so does every study of a writer without clues: an edited report would contradict the image, and nothing say so.
    """
    draw = rng.random()
    everything, nothing = [True] * len(observations), [False] * len(observations)
    own = ReportTarget(segments=split_report(row), facts=stated, given=nothing, hidden=nothing)
    if config.clues == "off":
        return own
    for share, target in (
        (config.hidden_share, ReportTarget(segments=own.segments, facts=stated, given=nothing, hidden=everything)),
        (config.given_share, ReportTarget(segments=own.segments, facts=stated, given=everything, hidden=nothing)),
    ):
        if draw < share:
            return target
        draw -= share
    findings: tuple[Edit, ...] = ("down", "up") if rng.random() < _DOWN_SHARE else ("up", "down")
    turns: tuple[tuple[float, tuple[Edit, ...]], ...] = (
        (config.turned_share, findings),
        (config.turned_side_share, ("side",)),
        (config.turned_degree_share, ("degree",)),
    )
    for share, kinds in turns:
        if draw < share:
            edited = None if editor is None else _first_edit(editor, row, stated, kinds, rng)
            return own if edited is None else _turned(edited, observations, rng)
        draw -= share
    return own


def _first_edit(
    editor: ReportEditor, row: Mapping[str, Any], stated: FactCodes, kinds: Sequence[Edit], rng: Generator
) -> Counterfactual | None:
    return next((edited for kind in kinds if (edited := editor.edit(row, stated, kind, rng)) is not None), None)


def _turned(edited: Counterfactual, observations: Sequence[str], rng: Generator) -> ReportTarget:
    """The clue of "No Finding" is given, hidden or as perceived, by chance: a person may turn one clue and not that."""
    given, hidden = ([False] * len(observations) for _ in range(2))
    for index in edited.turned:
        given[index] = True
    if NO_FINDING in observations:
        at = observations.index(NO_FINDING)
        (given, hidden, [False] * len(observations))[int(rng.integers(3))][at] = True
    return ReportTarget(segments=edited.segments, facts=edited.facts, given=given, hidden=hidden)
