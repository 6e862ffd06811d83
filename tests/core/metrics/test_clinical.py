import numpy as np
import pytest

from trrg_core.metrics.clinical import score_labels, score_observations

REFERENCES = [{"A": 1, "B": 1}, {"A": 0, "B": -1}, {"A": None, "B": 0}]
HYPOTHESES = [{"A": 1, "B": 0}, {"A": 1, "B": 1}, {"A": None, "B": None}]


def scores(references=REFERENCES, hypotheses=HYPOTHESES, observations=("A", "B")):
    return score_labels(references, hypotheses, observations=observations, sets={"t": observations})


def test_micro_pools_all_decisions():
    # A: one hit, one false alarm; B: one miss, one false alarm (the uncertain reference read as negative)
    assert scores()["t.micro.precision.u0"] == pytest.approx(1 / 3)
    assert scores()["t.micro.recall.u0"] == pytest.approx(1 / 2)
    assert scores()["t.micro.f1.u0"] == pytest.approx(2 / 5)


def test_uncertain_as_positive_turns_the_false_alarm_into_a_hit():
    assert scores()["t.micro.f1.u1"] == pytest.approx(4 / 6)


def test_macro_is_the_mean_over_observations():
    assert scores()["t.macro.f1.u0"] == pytest.approx((2 / 3 + 0) / 2)
    assert scores()["t.macro.precision.u0"] == pytest.approx((1 / 2 + 0) / 2)


def test_example_is_the_mean_over_studies_and_nothing_found_of_nothing_counts_zero():
    # study 1: a hit and a miss, 2/3; study 2: two false alarms, 0; study 3: nothing on either side, 0
    assert scores()["t.example.f1.u0"] == pytest.approx((2 / 3 + 0 + 0) / 3)


def test_macro_leaves_out_an_observation_without_positive_references_micro_does_not():
    references = [{"A": 1, "B": None}]
    hypotheses = [{"A": 1, "B": 1}]
    assert scores(references, hypotheses)["t.macro.f1.u0"] == 1.0
    assert scores(references, hypotheses)["t.micro.f1.u0"] == pytest.approx(2 / 3)


def test_nothing_positive_anywhere_scores_zero_without_a_warning():
    values = scores([{"A": 0, "B": None}], [{"A": None, "B": 0}])
    assert set(values.values()) == {0.0}


def test_agreement_with_scikit_learn_on_random_tables():
    from sklearn.metrics import precision_recall_fscore_support

    generator = np.random.default_rng(5)
    names = [f"o{n}" for n in range(6)]
    tables = [
        [dict(zip(names, row.tolist(), strict=True)) for row in generator.integers(-1, 2, size=(80, 6))]
        for _ in range(2)
    ]
    ours = scores(*tables, observations=names)
    for uncertain, positive in (("u0", (1,)), ("u1", (1, -1))):
        truth, predicted = (
            np.array([[row[name] in positive for name in names] for row in table], dtype=int) for table in tables
        )
        for ours_name, theirs in (
            ("micro", "micro"),
            ("macro", "macro"),
            ("example", "samples"),
            ("weighted", "weighted"),
        ):
            expected = precision_recall_fscore_support(truth, predicted, average=theirs, zero_division=0)[:3]
            values = [ours[f"t.{ours_name}.{measure}.{uncertain}"] for measure in ("precision", "recall", "f1")]
            assert values == pytest.approx(list(expected)), (ours_name, uncertain)


def test_each_set_of_observations_is_averaged_by_itself():
    row = {"A": 1, "B": 1}
    values = score_labels([row], [{"A": 1}], observations=("A", "B"), sets={"t": ("A", "B"), "a": ("A",)})
    assert values["t.micro.recall.u0"] == 0.5
    assert values["a.micro.recall.u0"] == 1.0


def test_observation_scores_carry_their_support():
    a, b = score_observations(REFERENCES, HYPOTHESES, observations=("A", "B"))
    assert (a.observation, a.support, a.predicted) == ("A", 1, 2)
    assert (a.precision, a.recall, a.f1) == (0.5, 1.0, pytest.approx(2 / 3))
    assert (b.support, b.predicted, b.f1) == (1, 1, 0.0)


def test_tables_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match="3, 1"):
        scores(REFERENCES, HYPOTHESES[:1])


def test_weighted_counts_each_observation_by_its_support():
    # A is positive in two references and found once; B in one, found; C in none, and falsely affirmed
    references = [{"A": 1, "B": 1}, {"A": 1}, {}]
    hypotheses = [{"A": 1, "B": 1}, {}, {"C": 1}]
    values = scores(references, hypotheses, observations=("A", "B", "C"))
    assert values["t.weighted.recall.u0"] == pytest.approx((2 * 1 / 2 + 1 * 1) / 3)
    assert values["t.weighted.f1.u0"] == pytest.approx((2 * 2 / 3 + 1 * 1) / 3)
    assert scores([{}], [{"A": 1}], observations=("A",))["t.weighted.f1.u0"] == 0.0
