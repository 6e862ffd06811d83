"""Is there enough evidence to judge a model: studies, patients, and positive references of each critical finding?"""

from trrg_core.config.gate_settings import GateConfig
from trrg_core.labels import column_name
from trrg_core.metrics.outcomes import Outcome, OutcomeTable, outcome_column
from trrg_core.metrics.systems import System
from trrg_core.registry.check import Bound, Check, Verdict, check_number


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
    bound = Bound(relation=">=", value=config.min_positives, setting="register.min_positives")
    positives = [
        check_number(
            f"evidence.{column_name(name)}",
            count_positives(table, name),
            bound,
            f"the number of positive references of {name}",
            otherwise=Verdict.INSUFFICIENT,
        )
        for name in config.critical_findings
    ]
    return [studies, patients, *positives]


def count_positives(table: OutcomeTable, finding: str) -> int:
    """Positive references of a finding; 0 of one that the label set does not have."""
    if finding not in table.findings:
        return 0
    counts, columns = table.counts[System.MODEL], table.columns
    expected = (outcome_column(outcome, finding) for outcome in (Outcome.TRUE_POSITIVE, Outcome.FALSE_NEGATIVE))
    return int(sum(counts[:, columns.index(name)].sum() for name in expected))
