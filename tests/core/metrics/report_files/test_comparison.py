import numpy as np
import pytest

from trrg_core.labels import load_label_set
from trrg_core.metrics.bootstrap import draw_weights
from trrg_core.metrics.nlg import LanguageOptions
from trrg_core.metrics.report_files.comparison import adjust_holm, compare_systems
from trrg_core.metrics.report_files.file_scores import FileOptions, compare_pairs
from trrg_core.metrics.report_files.measured_reports import measure_reports
from trrg_core.metrics.report_files.report_file import ReportFile
from trrg_core.metrics.report_files.report_pairs import pair_two

NAMES = ("trrg13.micro.f1.u0", "bleu1.raw", "trrg.side.f1")
WRONG, RIGHT = "no edema .", "there is edema ."


def systems(num_better: int, num: int = 40):
    """References that all affirm edema; the second system is right in `num_better` of them, the first in none."""
    hypotheses = [[WRONG] * num, [RIGHT] * num_better + [WRONG] * (num - num_better)]
    return measure_reports(
        [RIGHT] * num, hypotheses, language=LanguageOptions(protocols=("raw",)), label_set=load_label_set("chexpert14")
    )


def compare(num_better: int, *, num: int = 40, num_samples: int = 400):
    first, second = systems(num_better, num)
    weights = draw_weights([str(n) for n in range(num)], num_samples=num_samples, seed=3)
    return compare_systems(first, second, weights, np.ones(num, dtype=bool), names=NAMES)


def test_a_difference_is_that_of_the_values_with_its_interval():
    one = compare(20)["trrg13.micro.f1.u0"]
    # 20 hits and 20 misses: precision 1, recall 1/2
    assert (one.first, one.second) == (0.0, pytest.approx(2 / 3))
    assert one.difference == pytest.approx(2 / 3)
    assert one.low < one.difference < one.high
    assert one.p == pytest.approx(2 / 401)
    assert one.n == 40


def test_equal_systems_do_not_differ():
    one = compare(0)["trrg13.micro.f1.u0"]
    assert (one.difference, one.low, one.high, one.p, one.p_adjusted) == (0, 0, 0, 1, 1)


def test_one_better_study_of_forty_is_no_evidence():
    # drawn in 1 - (39/40)^40 = 64 % of the resamples; in all others the systems are equal
    assert compare(1)["trrg13.micro.f1.u0"].p > 0.5


def test_a_score_that_one_system_has_not_is_not_compared():
    assert set(compare(3)) == {"trrg13.micro.f1.u0", "bleu1.raw"}  # no report states a side


def test_without_resamples_there_are_differences_alone():
    one = compare(20, num_samples=0)["bleu1.raw"]
    assert one.difference > 0
    assert (one.low, one.high, one.p, one.p_adjusted) == (None, None, None, None)


def test_a_single_patient_gives_neither_interval_nor_p_value():
    first, second = systems(4, 4)
    for subjects, chosen in ((["a"] * 4, [True] * 4), (["a", "a", "b", "c"], [True, True, False, False])):
        weights = draw_weights(subjects, num_samples=50, seed=1)
        for one in compare_systems(first, second, weights, np.array(chosen), names=NAMES).values():
            assert (one.low, one.high, one.p, one.p_adjusted) == (None, None, None, None)
            assert one.difference > 0


def test_holm_by_hand():
    # sorted: .01 * 3, .02 * 2, .5 * 1
    assert adjust_holm({"a": 0.02, "b": 0.01, "c": 0.5}) == pytest.approx({"a": 0.04, "b": 0.03, "c": 0.5})
    # never smaller than that of a smaller p-value, never above 1
    assert adjust_holm({"a": 0.3, "b": 0.31, "c": 0.9}) == pytest.approx({"a": 0.9, "b": 0.9, "c": 0.9})
    assert adjust_holm({}) == {}


def test_false_discoveries_of_equal_systems_are_rare():
    generator = np.random.default_rng(0)
    found = 0
    for seed in range(40):
        texts = [[RIGHT if generator.random() < 0.5 else WRONG for _ in range(60)] for _ in range(2)]
        first, second = measure_reports(
            [RIGHT] * 60, texts, language=LanguageOptions(protocols=("raw",)), label_set=load_label_set("chexpert14")
        )
        weights = draw_weights([str(n) for n in range(60)], num_samples=200, seed=seed)
        compared = compare_systems(first, second, weights, np.ones(60, dtype=bool), names=NAMES)
        found += any(one.p_adjusted < 0.05 for one in compared.values())
    # expected at most 2 of 40; 6 or more have a chance of 1.4 %
    assert found < 6


def test_files_are_compared_on_what_both_have_as_a_whole_and_by_slice():
    references = {str(n): RIGHT for n in range(6)}
    first = {str(n): WRONG for n in range(5)}
    second = {str(n): RIGHT if n > 2 else WRONG for n in range(1, 6)}
    pairs = pair_two(*(ReportFile(path="f", texts=texts) for texts in (first, second, references)))
    assert [one.ids for one in pairs] == [("1", "2", "3", "4")] * 2
    options = FileOptions(
        language=LanguageOptions(protocols=("raw",)), label_set=load_label_set("chexpert14"), resamples=20
    )
    late = np.array([False, False, True, True])
    compared = compare_pairs(*pairs, options, names=NAMES, slices={"late": late, "none": ~late & late})
    assert compared.differences["trrg13.micro.f1.u0"].difference == pytest.approx(2 / 3)
    (one,) = compared.slices
    assert (one.name, one.num_pairs) == ("late", 2)
    assert one.differences["trrg13.micro.f1.u0"].difference == 1
    assert any(text.startswith("A: collapsed") for text in compared.warnings)
    assert any("A: 1 ids have no prediction" in text for text in compared.warnings)
    assert compared.to_json()["differences"]["bleu1.raw"].keys() == {
        "first", "second", "difference", "low", "high", "p", "p_adjusted", "n",
    }  # fmt: skip
