from pathlib import Path

import pyarrow as pa
import pytest

from tests.core.toy_versions import LABEL_SET, MAYBE, NO, YES, report_row, write_chain, write_version
from trrg_core.errors import ConfigError
from trrg_core.label_stats.distribution import label_distribution
from trrg_core.label_stats.labelled_version import read_labelled_version
from trrg_core.labels import Assertion
from trrg_core.storage.store import Store, open_store
from trrg_core.tables.commit_history import CommitMetadata
from trrg_core.tables.delta import commit_parts, read_table
from trrg_core.tables.parquet import write_part
from trrg_core.tables.schema import SLICES, reports_schema
from trrg_core.tables.table_ref import TableRef

SAID = {
    "1": ("train", {"Edema": NO, "Pneumonia": YES}),
    "2": ("train", {"Edema": NO}),
    "3": ("test", {"Edema": MAYBE}),
}
Counts = dict[tuple[str, Assertion | None, str], tuple[int, int]]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = open_store(str(tmp_path / "store"))
    write_chain(store, SAID)
    return store


def _counts(store: Store, ref: str) -> Counts:
    labelled = read_labelled_version(store, TableRef.parse(ref))
    counts = label_distribution(labelled.table, labelled.slice_reader)
    return {(one.observation, one.assertion, one.split): (one.studies, one.sentences) for one in counts}


def test_reports_and_shards_of_the_same_studies_count_alike(store: Store) -> None:
    of_reports = _counts(store, "reports@0")
    assert of_reports == _counts(store, "shards@0")
    assert of_reports[("Edema", NO, "train")] == (2, 2)
    assert of_reports[("Pneumonia", YES, "train")] == (1, 1)
    assert of_reports[("Pneumonia", None, "train")] == (1, 0)
    assert of_reports[("Edema", MAYBE, "test")] == (1, 1)


def test_a_slice_counts_its_train_rows_as_often_as_it_has_them(store: Store) -> None:
    row = {"subject_id": "p2", "study_id": "2", "split": "train", "repeat": 3, "sentence_weights": [1.0]}
    ref = write_version(store, "slices", [row], SLICES, fingerprint="s", parents=["shards@0"])
    counts = _counts(store, str(ref))
    assert counts[("Edema", NO, "train")] == (3, 3)
    assert {split for _, _, split in counts} == {"train"}
    assert read_labelled_version(store, ref).count_words("train").total == 3 * 2  # "No edema."


def test_reports_and_shards_of_the_same_studies_have_the_same_words(store: Store) -> None:
    for split in ("train", "test"):
        words = [
            read_labelled_version(store, TableRef.parse(ref)).count_words(split) for ref in ("reports@0", "shards@0")
        ]
        assert (words[0].counts == words[1].counts).all()
        assert words[0].total > 0


def test_labels_are_read_without_holding_a_text(store: Store) -> None:
    for ref in ("reports@0", "shards@0"):
        labelled = read_labelled_version(store, TableRef.parse(ref))
        texts = {column.name for column in labelled.table.rows.schema if pa.types.is_string(column.type)}
        assert texts == {"subject_id", "study_id", "split", "sex", "age_band", "view_positions", "frontal"}


def test_mentions_of_the_past_or_of_others_make_no_fact(tmp_path: Path) -> None:
    row = report_row("1", {"Edema": YES, "Pneumonia": YES, "Cardiomegaly": YES})
    for sentence, aside in zip(
        row["sentences"], ({"historical": True}, {"hypothetical": True}, {"experiencer": "mother"}), strict=True
    ):
        sentence["mentions"][0] |= aside
    store = open_store(str(tmp_path / "other"))
    write_version(store, "reports", [row], reports_schema(LABEL_SET), fingerprint="r")
    sentences = {key[0]: count[1] for key, count in _counts(store, "reports@0").items() if key[1] is YES}
    assert sum(sentences.values()) == 0


def test_a_table_without_labels_and_an_unknown_set_are_refused(store: Store) -> None:
    with pytest.raises(ConfigError, match="studies@0 has no labels"):
        read_labelled_version(store, TableRef.parse("studies@0"))
    with pytest.raises(ConfigError, match=r"the labels of shards@0 are not of nih14: .*--label-set"):
        read_labelled_version(store, TableRef.parse("shards@0"), label_set="nih14")


@pytest.mark.parametrize(
    ("table", "column", "is_dropped", "reason"),
    [
        ("shards", "views", True, "a.parquet has no column 'views', which labels are counted with: write it with all"),
        ("shards", "labels", True, "shards@1 has no column 'labels': it was not written by a job"),
        ("shards", "report", False, "a.parquet has 3 of 3 rows without 'report': write it with all columns of docs"),
        ("reports", "sentences", True, "a.parquet has no column 'sentences', which labels are counted with"),
        ("reports", "study_id", False, "a.parquet has 3 of 3 rows without 'study_id'"),
    ],
)
def test_a_file_that_lacks_what_is_counted_is_named(
    store: Store, table: str, column: str, is_dropped: bool, reason: str
) -> None:
    rows = read_table(store, TableRef.parse(f"{table}@0"))
    at = rows.schema.get_field_index(column)
    empty = pa.nulls(rows.num_rows, rows.schema.field(at).type)
    rows = rows.remove_column(at) if is_dropped else rows.set_column(at, rows.schema.field(at), empty)
    part = write_part(store, table, "parts/x/a.parquet", rows)
    store.write_bytes(f"tables/{table}/parts/x/a.json", b"{}")
    ref = commit_parts(store, table, [part], rows.schema, CommitMetadata(fingerprint="x"))
    with pytest.raises(ConfigError, match=reason):
        read_labelled_version(store, ref)
