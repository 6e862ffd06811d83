"""How much of a source may be set aside before the run stops: a corpus that is half broken is no corpus."""

from collections import Counter
from collections.abc import Sequence

from trrg_core.config.settings import IngestConfig
from trrg_core.errors import DataError
from trrg_core.study import Reject


def check_shares(config: IngestConfig, rejects: Sequence[Reject], num_out: int) -> None:
    """Stop when too much was set aside: of all studies, or for one reason. A row that names no study counts as one.

    Args:
        config: the limits.
        rejects: everything that was set aside.
        num_out: studies that can be used.

    Raises:
        DataError: `too_many_rejects`, naming the limit and the commonest reasons.
    """
    lost = {_what(reject) for reject in rejects if not reject.dicom_id}
    seen = max(1, len(lost) + num_out)
    if len(lost) / seen > config.max_reject_share or num_out == 0:
        limit = f"{config.max_reject_share:.0%} (ingest.max_reject_share)"
        raise _too_many(f"{len(lost) / seen:.0%} of the studies were set aside", limit, rejects)
    for reason, allowed in sorted(config.max_reject_share_by_reason.items()):
        share = len({_what(reject) for reject in rejects if reject.reason == reason}) / seen
        if share > allowed:
            limit = f"{allowed:.1%} (ingest.max_reject_share_by_reason)"
            raise _too_many(f"{reason} touches {share:.1%} of the studies", limit, rejects)


def _what(reject: Reject) -> tuple[str, str]:
    return ("", reject.study_id) if reject.study_id else (reject.path, reject.detail)


def _too_many(found: str, limit: str, rejects: Sequence[Reject]) -> DataError:
    reasons = dict(Counter(reject.reason for reject in rejects).most_common(5))
    return DataError("too_many_rejects", f"{found}, allowed are {limit}: {reasons}; `trrg show rejects` lists them")
