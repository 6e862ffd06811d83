import numpy as np
import pytest

from trrg_core.metrics.floors import modal_report, nearest_neighbour


def test_the_modal_report_ignores_case_and_spacing_when_it_counts():
    assert modal_report(["Clear lungs.", "Edema.", "clear  lungs."]) == "Clear lungs."


def test_equally_frequent_reports_do_not_depend_on_row_order():
    assert modal_report(["b", "a"]) == modal_report(["a", "b"]) == "a"


def test_without_training_reports_there_is_no_modal_report():
    with pytest.raises(ValueError, match="no training report"):
        modal_report([])


def test_the_nearest_neighbour_is_by_angle_not_by_length():
    train = np.array([[10.0, 0.0], [0.0, 0.1], [-1.0, 0.0]])
    assert nearest_neighbour(np.array([[0.1, 1.0], [3.0, 1.0], [-9.0, 1.0]]), train).tolist() == [1, 0, 2]


def test_chunks_change_nothing():
    generator = np.random.default_rng(2)
    query, train = generator.normal(size=(600, 8)), generator.normal(size=(50, 8))
    exact = np.argmax(query @ (train / np.linalg.norm(train, axis=1, keepdims=True)).T, axis=1)
    assert nearest_neighbour(query, train).tolist() == exact.tolist()


def test_a_zero_vector_and_ties_take_the_first():
    assert nearest_neighbour(np.zeros((1, 2)), np.ones((3, 2))).tolist() == [0]


def test_values_that_are_not_finite_and_other_shapes_are_refused():
    with pytest.raises(ValueError, match="not finite"):
        nearest_neighbour(np.array([[np.nan, 1.0]]), np.ones((1, 2)))
    with pytest.raises(ValueError, match=r"found \(1, 2\) and \(0, 2\)"):
        nearest_neighbour(np.ones((1, 2)), np.ones((0, 2)))
