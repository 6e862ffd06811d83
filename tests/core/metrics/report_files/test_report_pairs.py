import pytest

from trrg_core.errors import DataError
from trrg_core.metrics.report_files.report_file import ReportFile
from trrg_core.metrics.report_files.report_pairs import pair_reports


def file(texts: dict[str, str | None], **fields: object) -> ReportFile:
    return ReportFile(path="file", texts=texts, **fields)


def test_pairs_are_in_the_order_of_the_references() -> None:
    pairs = pair_reports(file({"b": "B", "a": "A"}), file({"a": "ra", "b": "rb"}))
    assert (pairs.ids, pairs.references, pairs.hypotheses) == (("a", "b"), ("ra", "rb"), ("A", "B"))
    assert (pairs.subject_ids, pairs.unit) == (("a", "b"), "studies")


def test_ids_of_one_side_only_are_listed() -> None:
    pairs = pair_reports(file({"a": "A", "x": "X"}), file({"a": "ra", "y": "ry", "z": "rz"}))
    assert pairs.only_predicted == ("x",)
    assert pairs.only_referenced == ("y", "z")
    assert pairs.to_json()["only_in_references"] == ["y", "z"]


def test_a_null_prediction_is_an_empty_report_and_a_null_reference_is_not_scored() -> None:
    pairs = pair_reports(file({"a": None, "b": "B"}), file({"a": "ra", "b": None}))
    assert (pairs.ids, pairs.hypotheses) == (("a",), ("",))
    assert pairs.empty_predictions == ("a",)
    assert pairs.empty_references == ("b",)


def test_patients_are_resampled_only_if_every_study_has_one() -> None:
    references = file({"a": "x", "b": "y"}, subjects={"a": "p", "b": "p"})
    assert pair_reports(file({"a": "A", "b": "B"}), references).subject_ids == ("p", "p")
    some = file({"a": "x", "b": "y"}, subjects={"a": "p"})
    assert pair_reports(file({"a": "A", "b": "B"}), some).unit == "studies"


def test_set_aside_rows_of_both_files_are_kept_with_their_file() -> None:
    aside = (("c", "several_texts"),)
    pairs = pair_reports(file({"a": "A"}, set_aside=aside), file({"a": "x"}))
    assert pairs.set_aside == (("file", "c", "several_texts"),)


def test_nothing_in_common_is_an_error_that_shows_ids_of_both() -> None:
    with pytest.raises(DataError, match=r"no id is in both files: file has 1 \(1\); file has 1 \(CXR1\)") as caught:
        pair_reports(file({"1": "A"}), file({"CXR1": "x"}))
    assert caught.value.reason == "no_common_ids"


def test_only_null_references_are_an_error() -> None:
    with pytest.raises(DataError, match="all 2 references are null or blank"):
        pair_reports(file({"a": "A", "b": "B"}), file({"a": None, "b": None}))
