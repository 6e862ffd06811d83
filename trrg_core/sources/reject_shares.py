"""Limits on the share of a source that may be set aside before the run stops."""

from collections import Counter
from collections.abc import Sequence

from trrg_core.config.settings import IngestConfig
from trrg_core.errors import DataError
from trrg_core.study import Reject


def check_reject_shares(config: IngestConfig, rejects: Sequence[Reject], num_out: int) -> None:
    """Check the share of studies that were set aside, in total and per reason.

    A row without a study id counts as one study.

    Args:
        config: the limits.
        rejects: all rejects of the run.
        num_out: number of studies that can be used.

    Raises:
        DataError: `too_many_rejects`, with the limit and the most frequent reasons.
    """
    lost = {_study_key(reject) for reject in rejects if not reject.dicom_id}
    total = max(1, len(lost) + num_out)
    if len(lost) / total > config.max_reject_share or num_out == 0:
        limit = f"{config.max_reject_share:.0%} (ingest.max_reject_share)"
        raise _too_many(f"{len(lost) / total:.0%} of the studies were set aside", limit, rejects)
    for reason, allowed in sorted(config.max_reject_share_by_reason.items()):
        share = len({_study_key(reject) for reject in rejects if reject.reason == reason}) / total
        if share > allowed:
            limit = f"{allowed:.1%} (ingest.max_reject_share_by_reason)"
            raise _too_many(f"{reason} affects {share:.1%} of the studies", limit, rejects)


def _study_key(reject: Reject) -> tuple[str, str]:
    return ("", reject.study_id) if reject.study_id else (reject.path, reject.detail)


def _too_many(finding: str, limit: str, rejects: Sequence[Reject]) -> DataError:
    counts = Counter(reject.reason for reject in rejects).most_common(5)
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in counts)
    return DataError("too_many_rejects", f"{finding}, the limit is {limit}: {reasons}; `trrg show rejects` lists them")
