import pyarrow as pa
import pytest

from tests.core.invented_shards import OBSERVATIONS, SCHEMA, study, table_of
from trrg_core.label_stats.label_table import join_label_tables, label_rows, label_table

ROWS = [
    study("s3", "Edema+ Pneumothorax-", patient="p2", views=("PA", "LATERAL", "PA")),
    study("s1", "", patient="p9", split="test", views=()),
    study("s2", "Effusion?", patient="p1", views=("AP",), words=5),
    study(
        "s4",
        "Edema+ Effusion-",
        patient="p1",
        sentences=["Edema+ Effusion-", "Effusion- Pneumothorax-", "Effusion-", "Edema- Edema+", "Edema? Pneumothorax-"],
    ),
]


def test_rows_are_ordered_by_split_patient_and_study() -> None:
    assert table_of(ROWS).rows["study_id"].to_pylist() == ["s1", "s2", "s4", "s3"]
    assert table_of(ROWS).rows.equals(table_of(ROWS[::-1]).rows)


def test_sentences_are_counted_by_their_strongest_assertion() -> None:
    row = table_of(ROWS).rows.to_pylist()[2]
    assert (row["edema_present"], row["edema_absent"], row["edema_uncertain"]) == (2, 0, 1)
    assert (row["pleural_effusion_present"], row["pleural_effusion_absent"]) == (0, 3)
    assert row["pneumothorax_absent"] == 2
    assert row["num_sentences"] == 5


def test_denials_are_bits_of_sentences_that_only_deny() -> None:
    edema, pneumothorax, effusion = (1 << at for at in range(3))
    denials = table_of(ROWS).rows["denials"].to_pylist()
    assert denials == [[], [0], [0, effusion | pneumothorax, effusion, 0, 0], [0]]
    assert table_of([study("s1", sentences=["Edema-"])]).rows["denials"].to_pylist() == [[edema]]


def test_labels_keep_null_apart_from_zero() -> None:
    rows = table_of(ROWS).rows
    assert rows["edema"].to_pylist() == [None, None, 1, 1]
    assert rows["pneumothorax"].to_pylist() == [None, None, None, 0]
    assert rows["pleural_effusion"].to_pylist() == [None, -1, 0, None]


def test_views_are_named_once_each_and_the_frontal_found() -> None:
    rows = table_of(ROWS).rows
    assert rows["view_positions"].to_pylist() == ["none", "AP", "PA", "LATERAL+PA"]
    assert rows["frontal"].to_pylist() == ["none", "AP", "PA", "PA"]
    assert rows["num_views"].to_pylist() == [0, 1, 1, 3]
    assert rows["num_words"].to_pylist() == [3, 5, 3, 3]


def test_ages_fall_into_bands_and_unknown_ones_into_none() -> None:
    ages = {"a": None, "b": 0, "c": 17, "d": 18, "e": 59, "f": 60, "g": 80, "h": 104}
    rows = table_of([study(name, age=age, sex="F" if age else "") for name, age in ages.items()]).rows
    assert rows["age_years"].to_pylist() == list(ages.values())
    assert rows["age_band"].to_pylist() == ["", "0-17", "0-17", "18-39", "40-59", "60-79", "80+", "80+"]
    assert rows["sex"].to_pylist() == ["", "", "F", "F", "F", "F", "F", "F"]


def test_no_text_and_no_image_is_kept() -> None:
    kept = table_of(ROWS).rows
    assert not {"report", "sentences", "views", "jpeg", "text"} & set(kept.column_names)
    assert "invented" not in str(kept.to_pydict())


def test_an_empty_table_and_sliced_chunks_are_read() -> None:
    empty = label_table(SCHEMA.empty_table(), OBSERVATIONS)
    assert (empty.rows.num_rows, empty.split_rows("train").num_rows) == (0, 0)
    rows = pa.Table.from_pylist(ROWS, schema=SCHEMA)
    pieces = pa.concat_tables([rows.slice(0, 1), rows.slice(1, 2), rows.slice(3, 1)])
    assert label_table(pieces, OBSERVATIONS).rows.equals(table_of(ROWS).rows)
    assert label_table(rows.slice(2), OBSERVATIONS).rows.equals(table_of(ROWS[2:]).rows)


def test_pieces_in_any_order_join_to_the_same_table() -> None:
    rows = pa.Table.from_pylist(ROWS, schema=SCHEMA)
    for starts in ((2, 0, 1, 3), (1, 3, 2, 0)):
        pieces = (label_rows(rows.slice(start, 1), OBSERVATIONS) for start in starts)
        joined = join_label_tables(pieces, OBSERVATIONS).rows
        assert joined.equals(table_of(ROWS).rows)
        assert {column.num_chunks for column in joined.columns} == {1}


def test_a_split_is_a_run_of_rows() -> None:
    table = table_of(ROWS)
    assert table.split_rows("train")["study_id"].to_pylist() == ["s2", "s4", "s3"]
    assert table.split_rows("test")["study_id"].to_pylist() == ["s1"]
    assert table.split_rows("validate").num_rows == 0


def test_too_many_observations_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 62"):
        label_table(SCHEMA.empty_table(), [f"o{at}" for at in range(63)])
