import pytest

from trrg_core.errors import DataError
from trrg_core.study import check_patients

IDS = [("p1", "s1", "train"), ("p1", "s2", "train"), ("p2", "s3", "test")]


def test_studies_once_and_patients_in_one_split_pass():
    check_patients(IDS)


@pytest.mark.parametrize(
    ("extra", "reason"),
    [(("p3", "s3", "train"), "duplicate_study"), (("p2", "s4", "train"), "patient_in_two_splits")],
)
def test_a_table_that_breaks_the_split_is_refused(extra, reason):
    with pytest.raises(DataError) as caught:
        check_patients([*IDS, extra])
    assert caught.value.reason == reason
