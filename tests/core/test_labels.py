from itertools import permutations, product
from pathlib import Path

import pytest

from trrg_core.errors import ConfigError
from trrg_core.labels import (
    Assertion,
    Label,
    LabelSet,
    aggregate,
    apply_policy,
    column_name,
    label_report,
    load_label_set,
)

PRESENT, ABSENT, UNCERTAIN = Assertion.PRESENT, Assertion.ABSENT, Assertion.UNCERTAIN
SMALL = LabelSet(
    name="small",
    observations=("Edema", "No Finding", "Support Devices"),
    findings={"Edema": ("edema", "fluid"), "Support Devices": ("tube",)},
    no_finding="No Finding",
    not_abnormal=("Support Devices",),
    abnormal=("hernia",),
)


def test_the_numbers_are_chexperts() -> None:
    assert (Label.POSITIVE, Label.NEGATIVE, Label.UNCERTAIN) == (1, 0, -1)


@pytest.mark.parametrize("said", [said for length in range(1, 5) for said in product(Assertion, repeat=length)])
def test_aggregation_does_not_look_at_the_order(said: tuple[Assertion, ...]) -> None:
    expected = (
        Label.POSITIVE if PRESENT in said else Label.UNCERTAIN if UNCERTAIN in said else Label.NEGATIVE
    )  # positive > uncertain > negative, CheXpert section 3
    assert {aggregate(order) for order in permutations(said)} == {expected}


def test_nothing_said_is_null_and_not_negative() -> None:
    assert aggregate([]) is None
    assert label_report({}, SMALL)["Edema"] is None
    assert label_report({"Edema": [ABSENT]}, SMALL)["Edema"] is Label.NEGATIVE


@pytest.mark.parametrize(
    ("policy", "uncertain"), [("u-zeros", Label.NEGATIVE), ("u-ones", Label.POSITIVE), ("u-ignore", None)]
)
def test_a_policy_changes_the_uncertain_label_alone(policy: str, uncertain: Label | None) -> None:
    assert apply_policy(Label.UNCERTAIN, policy) is uncertain  # type: ignore[arg-type]
    for label in (Label.POSITIVE, Label.NEGATIVE, None):
        assert apply_policy(label, policy) is label  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("said", "others", "no_finding"),
    [
        ({}, [], Label.POSITIVE),
        ({"Edema": [ABSENT]}, [], Label.POSITIVE),
        ({"Edema": [PRESENT]}, [], None),
        ({"Edema": [UNCERTAIN]}, [], None),
        ({"Support Devices": [PRESENT]}, [], Label.POSITIVE),
        ({"Edema": [ABSENT], "Support Devices": [PRESENT]}, [ABSENT], Label.POSITIVE),
        ({}, [PRESENT], None),
        ({}, [ABSENT, UNCERTAIN], None),
        ({"No Finding": [ABSENT]}, [], Label.POSITIVE),
    ],
)
def test_no_finding_holds_when_nothing_abnormal_is_positive_or_uncertain(
    said: dict[str, list[Assertion]], others: list[Assertion], no_finding: Label | None
) -> None:
    assert label_report(said, SMALL, others)["No Finding"] is no_finding


def test_a_set_without_no_finding_gets_none() -> None:
    bare = LabelSet(name="bare", observations=("Edema",), findings={"Edema": ("edema",)})
    assert label_report({}, bare) == {"Edema": None}


def test_what_is_outside_the_set_is_left_out_and_the_order_is_the_sets() -> None:
    labels = label_report({"Support Devices": [PRESENT], "Ascites": [PRESENT], "Edema": [ABSENT]}, SMALL)
    assert list(labels) == ["Edema", "No Finding", "Support Devices"]


def test_one_finding_may_count_towards_two_observations() -> None:
    both = LabelSet(name="both", observations=("A", "B", "C"), findings={"C": ("x",), "A": ("x", "y")})
    assert both.observations_of("x") == ("A", "C")
    assert both.observations_of("z") == ()


@pytest.mark.parametrize(
    ("observation", "column"),
    [("Pleural Effusion", "pleural_effusion"), ("Edema", "edema"), ("Pleural_Thickening", "pleural_thickening")],
)
def test_a_column_is_the_observation_in_small_letters(observation: str, column: str) -> None:
    assert column_name(observation) == column


@pytest.mark.parametrize("name", ["chexpert14", "nih14"])
def test_the_shipped_sets_are_consistent(name: str) -> None:
    label_set = load_label_set(name)
    assert label_set.name == name
    assert len(label_set.observations) == 14 + (
        name == "nih14"
    )  # ChestX-ray14 does not count "No Finding" as a disease
    assert len({column_name(name) for name in label_set.observations}) == len(label_set.observations)
    assert set(label_set.findings) == set(label_set.observations) - {label_set.no_finding}
    assert set(label_set.not_abnormal) <= set(label_set.observations)
    counted = {finding for findings in label_set.findings.values() for finding in findings}
    assert not (counted - {"peribronchial_thickening"}) & set(label_set.abnormal)


def test_a_label_set_may_be_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\nobservations: [Edema]\nfindings: {Edema: [edema]}\n")
    assert load_label_set(str(file)) == LabelSet(name="mine", observations=("Edema",), findings={"Edema": ("edema",)})


def test_a_changed_file_gives_its_new_label_set(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\nobservations: [Edema]\nfindings: {Edema: [edema]}\n")
    before = load_label_set(str(file))
    assert load_label_set(str(file)) is before
    file.write_text("name: mine\nobservations: [Fracture]\nfindings: {Fracture: [fracture]}\n")
    assert load_label_set(str(file)).observations == ("Fracture",)


def test_an_unknown_set_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"no label set 'chexpert15': expected one of .*'chexpert14'.*'nih14'"):
        load_label_set("chexpert15")
