import pytest

from trrg_core.config.load import load_config
from trrg_core.config.settings import IngestConfig
from trrg_core.errors import ConfigError, DataError
from trrg_core.sources.reject_shares import check_reject_shares
from trrg_core.study import Reject

REJECTS = [
    Reject(reason="empty_report", study_id="s1"),
    Reject(reason="jpeg_corrupt", study_id="s2", dicom_id="d1"),
    Reject(reason="jpeg_corrupt", study_id="s2", dicom_id="d2"),
    Reject(reason="malformed_row", path="list.csv", detail="line 3: odd number of quotes"),
    Reject(reason="malformed_row", path="list.csv", detail="line 9: odd number of quotes"),
]


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        # 10 studies: 7 usable, one lost, two rows without a study id
        ({"max_reject_share": 0.29}, "30% of the studies were set aside"),
        ({"max_reject_share_by_reason": {"jpeg_corrupt": 0.09}}, r"jpeg_corrupt affects 10\.0% of the studies"),
        ({"max_reject_share_by_reason": {"malformed_row": 0.1}}, r"malformed_row affects 20\.0% of the studies"),
        ({"max_reject_share_by_reason": {"empty_report": 0.0}}, r"empty_report affects 10\.0% .* the limit is 0\.0%"),
    ],
)
def test_a_limit_passed_stops(limits: dict, message: str) -> None:
    config = IngestConfig(**{"max_reject_share": 0.3, **limits})
    with pytest.raises(DataError, match=message) as caught:
        check_reject_shares(config, REJECTS, 7)
    assert caught.value.reason == "too_many_rejects"


def test_a_limit_reached_does_not_stop() -> None:
    limits = {"jpeg_corrupt": 0.1, "malformed_row": 0.2, "missing_image": 0}
    check_reject_shares(IngestConfig(max_reject_share=0.3, max_reject_share_by_reason=limits), REJECTS, 7)


def test_no_usable_study_at_all_stops() -> None:
    with pytest.raises(DataError, match="of the studies were set aside"):
        check_reject_shares(IngestConfig(max_reject_share=1), [], 0)


def test_a_share_is_a_share() -> None:
    assert load_config("tiny", ["ingest.max_reject_share_by_reason={empty_report: 0.5}"])
    with pytest.raises(ConfigError, match=r"max_reject_share_by_reason.empty_report"):
        load_config("tiny", ["ingest.max_reject_share_by_reason={empty_report: 5}"])
