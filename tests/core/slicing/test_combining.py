"""Union, intersection and difference of slices, and slices side by side, counted by hand."""

from typing import Any

import pyarrow as pa
import pytest

from tests.core.invented_shards import study, table_of
from trrg_core.errors import ConfigError
from trrg_core.labels import Assertion
from trrg_core.slicing.combining import Operation, combine_slices, parse_operation
from trrg_core.slicing.plan import Slice
from trrg_core.slicing.slice_comparison import compare_slices
from trrg_core.tables.schema import SLICES
from trrg_core.tables.slice_reader import SliceReader

Rows = dict[str, tuple[int, list[float]]]


def _slice(rows: Rows) -> Slice:
    table = pa.Table.from_pylist(
        [
            {"subject_id": f"p{one}", "study_id": one, "split": "train", "repeat": repeat, "sentence_weights": weights}
            for one, (repeat, weights) in rows.items()
        ],
        schema=SLICES,
    )
    sizes: dict[str, Any] = {"num_patients": len(rows), "num_rows": sum(repeat for repeat, _ in rows.values())}
    return Slice(
        rows=table,
        outcomes=(),
        notes=(),
        base_studies=5,
        eligible_studies=5,
        effective_studies=0,
        effective_sentences=0,
        **sizes,
    )


ONE = _slice({"a": (2, [1.0, 0.5]), "b": (1, [0.25]), "d": (3, [])})
OTHER = _slice({"b": (4, [0.75]), "c": (1, [1.0]), "d": (1, [])})


def _rows(plan: Slice) -> Rows:
    return {row["study_id"]: (row["repeat"], row["sentence_weights"]) for row in plan.rows.to_pylist()}


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ("union", {"a": (2, [1.0, 0.5]), "b": (4, [0.75]), "c": (1, [1.0]), "d": (3, [])}),
        ("intersect", {"b": (1, [0.25]), "d": (1, [])}),
        ("minus", {"a": (2, [1.0, 0.5])}),
    ],
)
def test_an_operation_combines_repeats_and_weights_study_by_study(operation: Operation, expected: Rows) -> None:
    plan = combine_slices(operation, {"slices@0": ONE, "slices@1": OTHER})
    assert _rows(plan) == expected
    assert plan.rows.schema == SLICES
    assert (plan.num_studies, plan.num_patients) == (len(expected), len(expected))
    assert plan.num_rows == sum(repeat for repeat, _ in expected.values())


def test_union_and_intersection_do_not_depend_on_the_order() -> None:
    operations: tuple[Operation, ...] = ("union", "intersect")
    for operation in operations:
        there = combine_slices(operation, {"x": ONE, "y": OTHER})
        back = combine_slices(operation, {"y": OTHER, "x": ONE})
        assert there.rows.equals(back.rows)


def test_effective_sizes_are_kishs() -> None:
    plan = combine_slices("union", {"x": ONE, "y": OTHER})
    assert plan.effective_studies == pytest.approx(10**2 / (4 + 16 + 1 + 9))
    # a: 1 and 0.5 twice, b: 0.75 four times, c: 1 once
    assert plan.effective_sentences == pytest.approx(7**2 / (2 * 1.25 + 4 * 0.5625 + 1))


def test_a_note_says_what_it_is_made_of() -> None:
    assert combine_slices("minus", {"slices@0": ONE, "slices@1": OTHER}).notes == (
        "slices@0 without the studies of slices@1",
    )


def test_slices_of_other_bases_and_wrong_operations_are_refused() -> None:
    with pytest.raises(ConfigError, match="not of one base"):
        combine_slices("union", {"x": ONE, "y": _slice({"b": (1, [1.0, 1.0])})})
    with pytest.raises(ConfigError, match="at least two"):
        combine_slices("union", {"x": ONE})
    with pytest.raises(ConfigError, match="did you mean 'union'"):
        parse_operation("unions")


def test_columns_side_by_side() -> None:
    labels = table_of(
        [
            study("a", "Edema+", patient="p1"),
            study("b", "Edema-", patient="p1", views=("AP",)),
            study("c", patient="p2"),
            study("t", "Edema+", split="test"),
        ]
    )
    rare = SliceReader(_slice({"a": (3, [1.0]), "c": (1, [])}).rows)
    base, sliced = compare_slices(labels, {"shards@0": None, "slices@0": rare})
    assert (base.studies, base.rows, base.patients, base.in_common) == (3, 3, 2, (3, 2))
    assert (sliced.studies, sliced.rows, sliced.patients, sliced.in_common) == (2, 4, 2, (2, 2))
    assert sliced.effective_studies == pytest.approx(16 / 10)
    assert base.shares["Edema", Assertion.PRESENT] == pytest.approx(1 / 3)
    assert sliced.shares["Edema", Assertion.PRESENT] == 0.75
    assert sliced.shares["Edema", None] == 0.25
    assert base.views == pytest.approx({"PA": 2 / 3, "AP": 1 / 3, "none": 0})
    assert sliced.views == {"PA": 1, "AP": 0, "none": 0}
    with pytest.raises(ConfigError, match="at least two"):
        compare_slices(labels, {"shards@0": None})
