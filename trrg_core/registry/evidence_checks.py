"""Is there enough evidence to judge a model: studies, patients, and positive references of each critical finding?"""

import numpy as np
import numpy.typing as npt

from trrg_core.config.gate_settings import GateConfig
from trrg_core.labels import column_name
from trrg_core.metrics.outcomes import Outcome, OutcomeTable, outcome_column
from trrg_core.metrics.systems import System
from trrg_core.registry.check import Bound, Check, Verdict, check_number

# of fewer patients a finding is missing in more than 5 % of the resamples (e^-2 is .14, e^-3 is .05)
_MIN_PATIENTS = 3


def check_evidence(table: OutcomeTable, config: GateConfig) -> list[Check]:
    """Checks of the numbers of studies and of patients, and of the positives of each critical finding.

    Few patients are few independent cases, however many studies they have: of one patient, every interval has no width.
    """
    studies = check_number(
        "evidence.studies",
        len(table.study_ids),
        Bound(relation=">=", value=config.min_studies, setting="register.min_studies"),
        "the number of test studies",
        otherwise=Verdict.INSUFFICIENT,
    )
    patients = check_number(
        "evidence.patients",
        len(set(table.subject_ids)),
        Bound(relation=">=", value=config.min_patients, setting="register.min_patients"),
        "the number of test patients",
        otherwise=Verdict.INSUFFICIENT,
    )
    return [studies, patients, *(_check_finding(name, table, config) for name in config.critical_findings)]


def _check_finding(name: str, table: OutcomeTable, config: GateConfig) -> Check:
    """Whether enough references affirm a critical finding, of enough patients for an interval of its recall."""
    check = f"evidence.{column_name(name)}"
    if name not in table.findings:
        known = ", ".join(table.findings)
        reason = f"the label set has no finding {name!r}: register.critical_findings must name some of {known}"
        return Check(name=check, verdict=Verdict.INSUFFICIENT, reason=reason)
    positive = _is_positive(table, name)
    affirmed = zip(table.subject_ids, positive, strict=True)
    patients = len({subject_id for subject_id, is_positive in affirmed if is_positive})
    if int(positive.sum()) >= config.min_positives and patients < _MIN_PATIENTS:
        return check_number(
            check,
            patients,
            Bound(relation=">=", value=_MIN_PATIENTS),
            f"the number of patients with positive references of {name}",
            otherwise=Verdict.INSUFFICIENT,
        )
    return check_number(
        check,
        int(positive.sum()),
        Bound(relation=">=", value=config.min_positives, setting="register.min_positives"),
        f"the number of positive references of {name}",
        otherwise=Verdict.INSUFFICIENT,
    )


def _is_positive(table: OutcomeTable, finding: str) -> npt.NDArray[np.bool_]:
    counts, columns = table.counts[System.MODEL], table.columns
    expected = (outcome_column(outcome, finding) for outcome in (Outcome.TRUE_POSITIVE, Outcome.FALSE_NEGATIVE))
    return np.asarray(sum(counts[:, columns.index(name)] for name in expected) > 0)
