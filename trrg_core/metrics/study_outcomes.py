"""Reports beside their references -> the counts of `trrg_core.metrics.outcomes`, one row per study."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trrg_core.config.fingerprint import fingerprint
from trrg_core.labels import LabelSet
from trrg_core.metrics.attribute_agreement import (
    FactTable,
    clue_facts,
    compare_degrees,
    compare_sides,
    compare_zones,
    empty_facts,
    fact_table,
    findings_of,
    report_facts,
)
from trrg_core.metrics.outcomes import Basis, Counts, OutcomeTable
from trrg_core.metrics.score import Prediction
from trrg_core.metrics.significance import Significance, load_significance
from trrg_core.metrics.systems import System
from trrg_core.report.facts import FactCodes
from trrg_core.report.parsed import ParsedReport

# raised when counts change their meaning: tables of different versions do not compare
_VERSION = 2

_WORD = re.compile(r"[a-z0-9]+(?:[.'/-][a-z0-9]+)*")
_END = re.compile(r"[.!?;](?:\s|$)|\n")


@dataclass(frozen=True, kw_only=True)
class StatedReport:
    """A report as text and as what it states of each finding. The text is empty where there is none."""

    text: str
    facts: FactCodes


def count_outcomes_of(
    systems: Mapping[System, Sequence[Prediction]],
    references: Sequence[ParsedReport],
    *,
    label_set: LabelSet,
    section: str,
) -> OutcomeTable:
    """The outcomes of every system, and of the two that write nothing: the clue labels and the empty report.

    Args:
        systems: the predictions of each system for the same studies in the same order; the model's have the clues.
        references: the parsed reference of each study.
        label_set: the observations that are counted, "No Finding" excepted.
        section: the report section that the texts are taken from.

    Raises:
        ValueError: if there are no studies.
    """
    order = sorted(range(len(references)), key=lambda index: systems[System.MODEL][index].study_id)
    rows = {system: [predictions[index] for index in order] for system, predictions in systems.items()}
    model, findings, significance = rows[System.MODEL], findings_of(label_set), load_significance()
    expected = [
        StatedReport(text=row.reference, facts=report_facts(references[index], label_set))
        for row, index in zip(model, order, strict=True)
    ]
    stated = {
        **{
            system: [StatedReport(text=row.hypothesis, facts=report_facts(row.parsed, label_set)) for row in of_system]
            for system, of_system in rows.items()
        },
        System.CLUE_LABELS: [StatedReport(text="", facts=clue_facts(row.clues, label_set)) for row in model],
        System.EMPTY_REPORT: [StatedReport(text="", facts=empty_facts(label_set))] * len(model),
    }
    return OutcomeTable(
        basis=Basis(
            test=fingerprint([[row.study_id, row.subject_id, row.reference] for row in model]),
            section=section,
            labeler=references[0].parser_id,
            rules=f"{_VERSION}-{significance.fingerprint}",
        ),
        findings=findings,
        study_ids=tuple(row.study_id for row in model),
        subject_ids=tuple(row.subject_id for row in model),
        counts={
            system: count_studies(expected, reports, findings=findings, significance=significance)
            for system, reports in stated.items()
        },
    )


def count_studies(
    references: Sequence[StatedReport],
    hypotheses: Sequence[StatedReport],
    *,
    findings: Sequence[str],
    significance: Significance,
) -> Counts:
    """The counts of one system, `[N,K]`, columns as `trrg_core.metrics.outcomes.count_columns`.

    Raises:
        ValueError: if there are no studies or the two differ in length.
    """
    if not references or len(references) != len(hypotheses):
        raise ValueError(f"expected as many references as hypotheses: {len(references)}, {len(hypotheses)}")
    known = frozenset(word for report in references for word in _WORD.findall(report.text.lower()))
    texts = np.array([_compare_texts(*pair, known) for pair in zip(references, hypotheses, strict=True)])
    truth, stated = (fact_table([report.facts for report in reports]) for reports in (references, hypotheses))
    return count_facts(truth, stated, texts, weights=significance.of(findings), significance=significance)


def count_facts(
    truth: FactTable, stated: FactTable, texts: npt.NDArray[Any], *, weights: Counts, significance: Significance
) -> Counts:
    """The same from facts and counts of the texts.

    Args:
        truth: facts of the references.
        stated: facts of the hypotheses.
        texts: words matched, of the hypothesis, of the reference and unknown, and whether it is malformed, `[N,5]`.
        weights: the significance of each finding, `[O]`.
        significance: how much of an agreement counts when its side or degree is wrong.
    """
    is_asserting = (stated.assertions != 0).any(axis=1)
    sides, degrees = compare_sides(truth, stated), compare_degrees(truth, stated)
    zones = compare_zones(truth, stated)
    counted = (
        *(sides.both, sides.agree, sides.expected, sides.due),
        *(degrees.both, degrees.agree, degrees.due, degrees.by_chance),
        *(zones.both, zones.agree, zones.by_chance),
    )
    is_wrong = (sides.both & ~sides.agree) | (degrees.both & ~degrees.agree)
    columns = [
        *_outcomes(truth, stated),
        *(np.ones(len(is_asserting)), is_asserting),
        *_truth(truth, stated, np.where(is_wrong, significance.wrong_attribute, 1.0), weights),
        *(cells.sum(axis=1) for cells in counted),
    ]
    return np.column_stack([*columns, texts]).astype(np.float64)


def _outcomes(truth: FactTable, stated: FactTable) -> list[Counts]:
    expected, affirmed = truth.is_present, stated.is_present
    return [(expected & affirmed) * 1.0, (~expected & affirmed) * 1.0, (expected & ~affirmed) * 1.0]


def _truth(truth: FactTable, stated: FactTable, credit: Counts, weights: Counts) -> list[Counts]:
    """Weight that both reports agree in, and weight that either affirms, each summed over both reports.

    `credit` is how much of an agreement counts, `[N,O]`.
    """
    credit = credit * (truth.is_present & stated.is_present)
    either = truth.is_present.astype(np.float64) + stated.is_present
    return [2 * credit @ weights, either @ weights]


def _compare_texts(reference: StatedReport, hypothesis: StatedReport, known: frozenset[str]) -> tuple[int, ...]:
    """The row of `texts` in `count_facts`; words as in BLEU-1, `known` those of all references."""
    expected, stated = (Counter(_WORD.findall(report.text.lower())) for report in (reference, hypothesis))
    unknown = sum(count for word, count in stated.items() if word not in known)
    is_malformed = _count_repeated(hypothesis.text) > _count_repeated(reference.text) or _is_cut(
        hypothesis.text
    ) > _is_cut(reference.text)
    return (expected & stated).total(), stated.total(), expected.total(), unknown, is_malformed


def _count_repeated(text: str) -> int:
    """Sentences that an earlier one has the words of, in whatever order."""
    sentences = [frozenset(_WORD.findall(sentence)) for sentence in _END.split(text.lower())]
    return sum(map(bool, sentences)) - len({words for words in sentences if words})


def _is_cut(text: str) -> bool:
    """Whether the text ends within a sentence."""
    end = text.rstrip()[-1:]
    return end.isalnum() or end in (",", "-")
