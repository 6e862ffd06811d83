"""Scores of what texts state against what studies state, with paired intervals over patients; for `infra.bench.stage2`.

Arrays of facts in (`StudyFacts`), numbers out. N studies, O observations, R resamples of patients.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from infra.bench.stage2_conditions import Codes, StudyFacts, Turn
from trrg_core.labels import STATED_PRESENT
from trrg_core.metrics.bootstrap import draw_weights

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
_RESAMPLES = 1000


@dataclass(frozen=True, kw_only=True)
class Counts:
    """True positives, positives found and positives to find of each study, `[N,O]` each."""

    hits: Bools
    found: Bools
    wanted: Bools


def count_findings(found: StudyFacts, wanted: StudyFacts) -> Counts:
    """Present findings; uncertain ones count as absent."""
    is_found, is_wanted = found.assertion_NO == STATED_PRESENT, wanted.assertion_NO == STATED_PRESENT
    return Counts(hits=is_found & is_wanted, found=is_found, wanted=is_wanted)


def count_sided(found: StudyFacts, wanted: StudyFacts) -> Counts:
    """Present findings with a stated side; a hit has the same side."""
    return _count_attribute(found, wanted, found.side_NO, wanted.side_NO)


def count_graded(found: StudyFacts, wanted: StudyFacts) -> Counts:
    """Present findings with a stated degree; a hit has the same degree."""
    return _count_attribute(found, wanted, found.degree_NO, wanted.degree_NO)


def _count_attribute(found: StudyFacts, wanted: StudyFacts, of_found: Codes, of_wanted: Codes) -> Counts:
    is_found = (found.assertion_NO == STATED_PRESENT) & (of_found > 0)
    is_wanted = (wanted.assertion_NO == STATED_PRESENT) & (of_wanted > 0)
    return Counts(hits=is_found & is_wanted & (of_found == of_wanted), found=is_found, wanted=is_wanted)


def micro_f1(counts: Counts, weight_RN: Floats) -> Floats:
    """Micro F1 for each row of study weights."""
    hits, found, wanted = (weight_RN @ part.sum(1) for part in (counts.hits, counts.found, counts.wanted))
    return np.asarray(2 * hits / np.maximum(found + wanted, 1))


def macro_f1(counts: Counts, weight_RN: Floats) -> Floats:
    """Mean F1 of the findings with a positive to find, for each row of study weights."""
    hits, found, wanted = (weight_RN @ part.astype(float) for part in (counts.hits, counts.found, counts.wanted))
    f1 = 2 * hits / np.maximum(found + wanted, 1)
    return np.asarray((f1 * (wanted > 0)).sum(1) / np.maximum((wanted > 0).sum(1), 1))


def share(part: Bools, whole: Bools) -> float:
    """`part` of `whole`, NaN of nothing."""
    return float(part.sum() / whole.sum()) if whole.sum() else float("nan")


def side_agreement(found: StudyFacts, wanted: StudyFacts) -> tuple[float, int]:
    """Of findings whose side both state, the share with the same side, and their number."""
    return _agreement(found, wanted, found.side_NO, wanted.side_NO)


def degree_agreement(found: StudyFacts, wanted: StudyFacts) -> tuple[float, int]:
    """Of findings whose degree both state, the share with the same degree, and their number."""
    return _agreement(found, wanted, found.degree_NO, wanted.degree_NO)


def _agreement(found: StudyFacts, wanted: StudyFacts, of_found: Codes, of_wanted: Codes) -> tuple[float, int]:
    both = (found.assertion_NO == STATED_PRESENT) & (wanted.assertion_NO == STATED_PRESENT)
    both &= (of_found > 0) & (of_wanted > 0)
    return share(both & (of_found == of_wanted), both), int(both.sum())


def score_text(found: StudyFacts, wanted: StudyFacts, columns: Sequence[int]) -> dict[str, float]:
    """The scores of what was written against what there is; `columns` are the findings that count."""
    found, wanted = _columns(found, columns), _columns(wanted, columns)
    one = np.ones((1, len(found.assertion_NO)))
    findings, sided, graded = count_findings(found, wanted), count_sided(found, wanted), count_graded(found, wanted)
    side, _ = side_agreement(found, wanted)
    degree, _ = degree_agreement(found, wanted)
    return {
        "micro F1": float(micro_f1(findings, one)[0]),
        "macro F1": float(macro_f1(findings, one)[0]),
        "precision": share(findings.hits, findings.found),
        "recall": share(findings.hits, findings.wanted),
        "F1 of sided facts": float(micro_f1(sided, one)[0]),
        "F1 of graded facts": float(micro_f1(graded, one)[0]),
        "side agreement": side,
        "sides reported": share(sided.hits, sided.wanted),
        "degree agreement": degree,
        "hallucinated": float((findings.found & ~findings.wanted).sum() / len(findings.found)),
    }


def _columns(facts: StudyFacts, columns: Sequence[int]) -> StudyFacts:
    assertion, side, degree = (part[:, list(columns)] for part in facts.parts)
    return StudyFacts(assertion_NO=assertion, side_NO=side, degree_NO=degree)


def paired_differences(
    found: StudyFacts, other: StudyFacts, wanted: StudyFacts, columns: Sequence[int], subject_ids: Sequence[str]
) -> dict[str, Floats]:
    """`found` minus `other` by score, `[1+R]`: of all studies, then of each resample of patients.

    The resamples depend on `subject_ids` alone, so that those of several seeds can be averaged one by one.
    """
    weights = draw_weights(list(subject_ids), num_samples=_RESAMPLES, seed=0)
    weight_RN = np.concatenate((np.ones((1, len(subject_ids))), weights))
    first, second, truth = (_columns(facts, columns) for facts in (found, other, wanted))
    return {
        name: score(count(first, truth), weight_RN) - score(count(second, truth), weight_RN)
        for name, score, count in (
            ("micro F1", micro_f1, count_findings),
            ("macro F1", macro_f1, count_findings),
            ("F1 of sided facts", micro_f1, count_sided),
            ("F1 of graded facts", micro_f1, count_graded),
        )
    }


def interval(differences: Floats) -> tuple[float, float, float]:
    """The difference of all studies, and the bounds of 95 % of the resamples."""
    low, high = np.percentile(differences[1:], (2.5, 97.5))
    return float(differences[0]), float(low), float(high)


def score_turn(
    before: StudyFacts, after: StudyFacts, turn: Turn, kind: str, columns: Sequence[int]
) -> dict[str, float]:
    """How often a turned clue turns its statement, and what else changes, of the studies that have a turn."""
    rows = np.flatnonzero(turn.index_N >= 0)
    at = turn.index_N[rows]
    present = after.assertion_NO[rows, at] == STATED_PRESENT
    wanted_side, side = turn.facts.side_NO[rows, at], after.side_NO[rows, at]
    others = np.isin(np.arange(before.assertion_NO.shape[1]), list(columns))[None] & (
        np.arange(before.assertion_NO.shape[1])[None] != at[:, None]
    )
    changed = (before.assertion_NO[rows] != after.assertion_NO[rows]) & others
    flipped = (before.assertion_NO[rows] == STATED_PRESENT) != (after.assertion_NO[rows] == STATED_PRESENT)
    scores = {"studies": float(len(rows))}
    if not len(rows):
        return scores
    if kind == "down":
        scores["followed"] = float((~present).mean())
    elif kind == "up":
        sided = present & (wanted_side > 0) & (side > 0)
        scores |= {"followed": float(present.mean()), "side followed": share((side == wanted_side) & sided, sided)}
        graded = present & (turn.facts.degree_NO[rows, at] > 0) & (after.degree_NO[rows, at] > 0)
        same = after.degree_NO[rows, at] == turn.facts.degree_NO[rows, at]
        scores["degree followed"] = share(same & graded, graded)
    else:
        scores["followed"] = float((present & (side == wanted_side)).mean())
    scores["others changed"] = float(changed.sum(1).mean())
    scores["other findings changed"] = float((flipped & others).sum(1).mean())
    return scores
