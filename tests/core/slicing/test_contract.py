"""A contract only checks: sizes, prevalence, views, patients across splits."""

import math
from pathlib import Path

import pytest

from tests.core.invented_shards import study, table_of
from tests.core.toy_versions import LABEL_SET as CHEXPERT
from tests.core.toy_versions import NO, YES, report_row, shard_row, study_row, write_version
from trrg_core.errors import ConfigError
from trrg_core.label_stats.label_table import LabelTable
from trrg_core.slicing.checked_version import read_checked_version
from trrg_core.slicing.contract import Check, ContractSpec, check_contract, load_contract
from trrg_core.storage.store import Store, open_store
from trrg_core.tables.schema import PREDICTIONS, SLICES, STUDIES, reports_schema, shards_schema
from trrg_core.tables.table_ref import TableRef

# train: 4 studies of 3 patients, 2 with edema, 1 AP; test: 2 studies, one of a patient of train
LABELS = table_of(
    [
        study("s1", "Edema+", patient="a", views=("AP",)),
        study("s2", "Edema+", patient="a"),
        study("s3", "Edema-", patient="b"),
        study("s4", patient="c"),
        study("s5", "Edema+", patient="c", split="test"),
        study("s6", patient="d", split="test"),
    ]
)


def _checks(labels: LabelTable = LABELS, **contract: object) -> list[Check]:
    return list(check_contract(labels, ContractSpec.model_validate(contract)))


def _check(**contract: object) -> Check:
    return _checks(**contract)[1]


def test_a_patient_in_two_splits_is_counted_once_and_is_not_allowed_unless_told() -> None:
    (shared,) = _checks()
    assert (shared.name, shared.found, shared.high, shared.is_met) == ("patients in several splits", 1, 0, False)
    assert _checks(max_shared_patients=1)[0].is_met


@pytest.mark.parametrize(
    ("size", "found"),
    [
        ({"min": 1}, 6),
        ({"split": "train", "min": 1}, 4),
        ({"split": "train", "of": "patients", "min": 1}, 3),
        ({"split": "validate", "of": "patients", "max": 0}, 0),
    ],
)
def test_sizes_are_counted_by_hand(size: dict[str, object], found: float) -> None:
    assert _check(sizes=[size]).found == found


def test_both_ends_belong_to_the_range() -> None:
    for low, high, is_met in ((0.5, 0.5, True), (0.51, None, False), (None, 0.49, False), (0.4, None, True)):
        bound = {"observation": "Edema", "split": "train", "min": low, "max": high}
        check = _check(prevalence=[bound])
        assert (check.found, check.is_met) == (0.5, is_met)
    assert _check(prevalence=[{"observation": "Edema", "assertion": "ABSENT", "max": 1}]).found == pytest.approx(1 / 6)


def test_the_mix_of_a_column_is_a_share_and_an_absent_value_is_none() -> None:
    assert _check(mix=[{"value": "AP", "split": "train", "max": 0.2}]).found == 0.25
    assert _check(mix=[{"value": "LL", "max": 0}]).is_met
    assert _check(mix=[{"column": "sex", "value": "", "min": 1}]).is_met


def test_a_share_of_no_study_is_in_no_range() -> None:
    check = _check(mix=[{"value": "AP", "split": "validate", "min": 0}])
    assert math.isnan(check.found)
    assert not check.is_met


@pytest.mark.parametrize(
    ("contract", "message"),
    [
        ({"prevalence": [{"observation": "Edemaa", "min": 0.1}]}, "did you mean 'Edema'?"),
        ({"mix": [{"column": "frontl", "value": "AP", "min": 0.1}]}, "did you mean 'frontal'?"),
        ({"mix": [{"column": "denials", "value": "1", "min": 0.1}]}, "no column 'denials'"),
    ],
)
def test_names_that_the_version_does_not_have_are_refused(contract: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        _checks(**contract)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sizes: [{split: train}]", "give `min`, `max` or both"),
        ("sizes: [{min: 3, max: 2}]", "min 3 is more than max 2"),
        ("mix: [{value: AP, max: 1.5}]", "mix.0.max"),
        ("prevalance: []", "did you mean 'prevalence'?"),
    ],
)
def test_a_wrong_contract_names_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "contract.yaml").write_text(text)
    with pytest.raises(ConfigError) as error:
        load_contract(tmp_path / "contract.yaml")
    assert message in str(error.value)


# ---- versions of every table


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Two train studies and one of test in every table; the slice has the first three times."""
    store = open_store(str(tmp_path_factory.mktemp("contract") / "store"))
    stated = {"1": ({"Edema": YES}, "train"), "2": ({"Edema": NO}, "train"), "3": ({"Edema": YES}, "test")}
    ids = [{"subject_id": f"p{one}", "study_id": one, "split": split} for one, (_, split) in stated.items()]
    for name, rows, schema in (
        ("studies", [study_row(one, what, split) for one, (what, split) in stated.items()], STUDIES),
        ("reports", [report_row(one, what, split) for one, (what, split) in stated.items()], reports_schema(CHEXPERT)),
        ("shards", [shard_row(one, what, split) for one, (what, split) in stated.items()], shards_schema(CHEXPERT)),
        ("slices", [ids[0] | {"repeat": 3, "sentence_weights": [1.0]}], SLICES),
        ("predictions", [ids[2]], PREDICTIONS),
    ):
        parents = ["shards@0"] if name == "slices" else []
        write_version(store, name, rows, schema, fingerprint=name, parents=parents)
    return store


def _found(store: Store, ref: str, **contract: object) -> list[float]:
    version = read_checked_version(store, TableRef.parse(ref))
    return [
        check.found
        for check in check_contract(version.labels, ContractSpec.model_validate(contract), version.slice_reader)
    ]


def test_every_table_of_studies_can_be_checked(store: Store) -> None:
    sizes = [{"split": "train", "min": 0}, {"split": "test", "min": 0}]
    found = {name: _found(store, f"{name}@0", sizes=sizes) for name in ("studies", "reports", "shards", "predictions")}
    assert found == {"studies": [0, 2, 1], "reports": [0, 2, 1], "shards": [0, 2, 1], "predictions": [0, 0, 1]}


def test_a_slice_counts_its_repeats_and_the_other_splits_of_its_base(store: Store) -> None:
    edema = [{"observation": "Edema", "split": "train", "min": 0}]
    sizes = [{"split": "train", "min": 0}, {"split": "train", "of": "patients", "min": 0}, {"split": "test", "min": 0}]
    assert _found(store, "slices@0", sizes=sizes, prevalence=edema) == [0, 3, 1, 1, 1.0]
    assert _found(store, "shards@0", prevalence=edema)[1] == 0.5


def test_views_of_studies_are_checked_and_what_a_table_lacks_is_refused(store: Store) -> None:
    views = [{"value": "PA", "split": "train", "min": 1}]
    assert _found(store, "studies@0", mix=views) == [0, 1.0]
    with pytest.raises(ConfigError, match="no column 'frontal'"):
        _found(store, "reports@0", mix=views)
    with pytest.raises(ConfigError, match="the version has no labels"):
        _found(store, "studies@0", prevalence=[{"observation": "Edema", "min": 0}])


def test_rejects_are_not_studies(store: Store) -> None:
    with pytest.raises(ConfigError, match="rejects are not studies"):
        read_checked_version(store, TableRef.parse("rejects@0"))
