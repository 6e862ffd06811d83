import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.core.toy_versions import LABEL_SET, NO, YES, report_text, shard_row, study_row, write_version
from trrg_core.config.load import load_config
from trrg_core.config.settings import IngestConfig
from trrg_core.errors import ConfigError, DataError, StorageError
from trrg_core.exports import export, exported_study, parquet_files
from trrg_core.exports.export import ExportReport, ExportRequest, Layout, export_version
from trrg_core.exports.export_folder import new_folder, verify_folder
from trrg_core.exports.hashed_ids import IdHasher, read_export_key
from trrg_core.exports.parquet_files import ParquetFiles
from trrg_core.imaging.decode import decode_image, encode_jpeg
from trrg_core.sources import open_source
from trrg_core.sources.read_study import read_study
from trrg_core.storage.store import Store, open_store
from trrg_core.tables.delta import file_paths, read_table
from trrg_core.tables.schema import SLICES, STUDIES, shards_schema
from trrg_core.tables.table_ref import TableRef
from trrg_core.withdrawal.record import Withdrawal, WithdrawalKey, write_withdrawals

NUM_TRAIN = 70  # more than one row group
HASHER = IdHasher(secret=b"an invented secret of a test")
SPELLING = {"train": "train", "validate": "validation", "test": "test"}


def _film(number: int, side: int = 24) -> bytes:
    y, x = np.mgrid[:side, : side + 8]
    return encode_jpeg(((x * 5 + y * 3 + number * 7) % 200).astype(np.uint8))


def _row(number: int, split: str) -> dict[str, Any]:
    row = study_row(f"S{number}:a/b.c", {"Edema": YES if number % 2 else NO}, split)
    row |= {
        "subject_id": f"P-{split}-{number // 2}",
        "study_date": f"2020010{1 + number % 2}",
        "study_time": f"1015{number % 60:02d}.250",
    }
    row |= {"sex": "F" if number % 3 else "", "age_years": None if number % 5 == 0 else 40 + number % 30}
    row["report"] = f'FINDINGS: {row["report"]}\nSeen by "nobody", \u00e9t\u00e9 {number}.'
    row["prior_study_id"] = f"S{number - 1}:a/b.c" if number % 2 else ""
    views = ("PA", "LATERAL") if number % 4 == 0 else ("AP",)
    row["images"] = [
        {
            "dicom_id": f"D{number}-{at}",
            "view_position": view,
            "path": f"p/S{number}/{at}.jpg",
            "sha256": hashlib.sha256(f"{number}-{at}".encode()).hexdigest(),
            "rows": 24,
            "columns": 32,
            "jpeg": _film(number + at),
        }
        for at, view in enumerate(views)
    ]
    return row


ROWS = [
    *(_row(number, "train") for number in range(NUM_TRAIN)),
    *(_row(number, "validate") for number in range(100, 103)),
    *(_row(number, "test") for number in range(200, 204)),
]
BY_ID = {row["study_id"]: row for row in ROWS}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """`studies@0`, the shards of all but the last test study, and a slice of it."""
    store = open_store(str(tmp_path_factory.mktemp("exported") / "store"))
    write_version(store, "studies", ROWS, STUDIES, fingerprint="studies")
    shards = [
        shard_row(row["study_id"], {"Edema": YES, "Pneumonia": NO}, row["split"]) | {"subject_id": row["subject_id"]}
        for row in ROWS[:-1]
    ]
    schema = shards_schema(LABEL_SET)
    write_version(store, "shards", shards, schema, fingerprint="shards", parents=["studies@0"])
    slice_rows = [
        {
            "subject_id": row["subject_id"],
            "study_id": row["study_id"],
            "split": "train",
            "repeat": 1 + at % 3,
            "sentence_weights": [1.0, 0.25],
        }
        for at, row in enumerate(ROWS[:20])
    ]
    notes = {"name": ["few"]}
    write_version(store, "slices", slice_rows, SLICES, fingerprint="slices", parents=["shards@0"], notes=notes)
    return store


@pytest.fixture
def own(tmp_path: Path) -> Store:
    """A store with `studies@0` that a test may change."""
    store = open_store(str(tmp_path / "store"))
    write_version(store, "studies", [*ROWS[:4], ROWS[-1]], STUDIES, fingerprint="studies")
    return store


def exported(store: Store, folder: Path, layout: Layout, ref: str = "studies@0", **request: Any) -> ExportReport:
    report = export_version(store, TableRef.parse(ref), folder, ExportRequest(layout=layout, **request))
    assert verify_folder(folder) == []
    return report


def _as_exported(row: dict[str, Any]) -> dict[str, Any]:
    names = ("subject_id", "study_id", "study_date", "study_time", "prior_study_id", "sex", "age_years", "report")
    return {name: row[name] for name in names} | {"split": SPELLING[row["split"]]}


def _images(row: dict[str, Any]) -> list[dict[str, Any]]:
    names = {"path": "original_path", "sha256": "original_sha256"}
    return [{names.get(name, name): value for name, value in one.items() if name != "jpeg"} for one in row["images"]]


def test_parquet_has_every_study_and_no_pixels(shared: Store, tmp_path: Path) -> None:
    report = exported(shared, tmp_path / "out", Layout.PARQUET)
    rows = [row for path in sorted((tmp_path / "out").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    expected = [_as_exported(row) | {"images": _images(row)} for row in ROWS]
    assert sorted(rows, key=lambda row: row["study_id"]) == sorted(expected, key=lambda row: row["study_id"])
    assert {split: (count.studies, count.images, count.patients) for split, count in report.splits.items()} == {
        "train": (70, 70 + 18, 35),
        "validate": (3, 3 + 1, 2),
        "test": (4, 4 + 1, 2),
    }
    assert report.left_out == {}


def test_one_split_and_the_same_version_give_the_same_bytes(shared: Store, tmp_path: Path) -> None:
    for name in ("a", "b"):
        exported(shared, tmp_path / name, Layout.WEBDATASET, split="test")
    manifests = [(tmp_path / name / "manifest.json").read_bytes() for name in ("a", "b")]
    assert manifests[0] == manifests[1]
    values = json.loads(manifests[0])
    assert list(values["splits"]) == ["test"]
    assert values["num_files"] == len(values["files"]) == 2
    assert values["num_bytes"] == sum((tmp_path / "a" / one["path"]).stat().st_size for one in values["files"])


def test_a_changed_missing_or_added_file_is_found(shared: Store, tmp_path: Path) -> None:
    exported(shared, tmp_path / "out", Layout.HUGGING_FACE, split="test")
    films = sorted((tmp_path / "out").rglob("*.jpg"))
    films[0].write_bytes(films[1].read_bytes())
    films[2].unlink()
    (tmp_path / "out" / "more.txt").write_text("x")
    names = [films[0].relative_to(tmp_path / "out"), films[2].relative_to(tmp_path / "out")]
    assert verify_folder(tmp_path / "out") == [f"{names[0]}: changed", f"{names[1]}: missing", "more.txt: not listed"]


def test_the_image_folder_read_as_a_plain_source_has_the_same_rows(tmp_path: Path) -> None:
    by_id = {row["study_id"]: row for row in deepcopy(ROWS)}
    # priors that no date would find: of undated studies, one that was set aside, none for a second study
    for number in (4, 5):
        by_id[f"S{number}:a/b.c"] |= {"study_date": "", "study_time": ""}
    by_id["S7:a/b.c"]["prior_study_id"], by_id["S9:a/b.c"]["prior_study_id"] = "S1000", ""
    by_id["S8:a/b.c"]["images"] = [by_id["S8:a/b.c"]["images"][0] | {"dicom_id": f"D{12 - at}"} for at in range(12)]
    store = open_store(str(tmp_path / "store"))
    write_version(store, "studies", list(by_id.values()), STUDIES, fingerprint="studies")
    exported(store, tmp_path / "out", Layout.HUGGING_FACE)
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    preset = card.partition("```yaml\n")[2].partition("```")[0].replace("path/to/this/folder", str(tmp_path / "out"))
    (tmp_path / "preset.yaml").write_text(preset)
    source = open_source(load_config(str(tmp_path / "preset.yaml")).source, IngestConfig())
    listing = source.list_studies()
    assert listing.rejects == ()
    assert len(listing.studies) == len(ROWS)
    for study in listing.studies:
        before = by_id[study.study_id]
        found = {name: getattr(study, name) for name in _as_exported(before)}
        assert found == _as_exported(before) | {"split": before["split"]}
        found_images = [(image.dicom_id, image.view_position) for image in study.images]
        assert found_images == [(one["dicom_id"], one["view_position"]) for one in before["images"]]
    row, rejects = read_study(source, listing.studies[0], "")
    assert row is not None
    assert rejects == []
    for image, before in zip(row["images"], by_id[row["study_id"]]["images"], strict=True):
        assert (image["rows"], image["columns"]) == (before["rows"], before["columns"])
        again, once = (decode_image(one["jpeg"], max_pixels=10_000).astype(int) for one in (image, before))
        assert np.abs(again - once).mean() < 2


def test_tars_are_bounded_and_hold_every_sample_once(shared: Store, tmp_path: Path) -> None:
    exported(shared, tmp_path / "out", Layout.WEBDATASET, max_file_mib=1)
    ((small, tars),) = _tars(tmp_path / "out", "test")
    assert small == "test-000000.tar"
    samples: dict[str, dict[str, bytes]] = {}
    for name, data in tars:
        key, _, extension = name.partition(".")
        assert samples.setdefault(key, {}).setdefault(extension, data) is data
    values = {json.loads(sample["json"])["study_id"]: sample for sample in samples.values()}
    assert set(values) == {row["study_id"] for row in ROWS if row["split"] == "test"}
    for study_id, sample in values.items():
        row = BY_ID[study_id]
        assert json.loads(sample["json"]) == _as_exported(row) | {"images": _images(row)}
        assert [sample[f"{at}.jpg"] for at in range(len(sample) - 1)] == [one["jpeg"] for one in row["images"]]


def test_a_full_tar_is_closed_before_it_exceeds_its_size(own: Store, tmp_path: Path) -> None:
    rows = [ROWS[at] | {"report": str(at) * 300_000} for at in range(8)]
    write_version(own, "studies", rows, STUDIES, fingerprint="long")
    exported(own, tmp_path / "out", Layout.WEBDATASET, ref="studies@1", max_file_mib=1)
    tars = list(_tars(tmp_path / "out", "train"))
    assert [sum(name.endswith(".json") for name, _ in members) for _, members in tars] == [3, 3, 2]
    assert all((tmp_path / "out" / name).stat().st_size <= 2**20 for name, _ in tars)


def test_a_parquet_file_is_closed_at_its_size(own: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_files, "_ROWS_PER_GROUP", 2)
    schema = pa.schema([("number", pa.int64()), ("text", pa.string())])
    rows = [{"number": number, "text": hashlib.sha256(str(number).encode()).hexdigest() * 9} for number in range(7)]
    with new_folder(tmp_path / "out", own) as folder:
        files = ParquetFiles(folder, schema, max_bytes=600)
        for row in rows:
            files.add("train", [row])
            files.add("test", [row])
        files.close()
        folder.write_manifest({})
    for split in ("train", "test"):
        paths = sorted((tmp_path / "out").glob(f"{split}-*.parquet"))
        pieces = [pq.read_table(path).to_pylist() for path in paths]
        assert [len(piece) for piece in pieces] == [2, 2, 2, 1]
        assert all(path.stat().st_size >= 600 for path in paths[:-1])
        assert [row for piece in pieces for row in piece] == rows
    assert verify_folder(tmp_path / "out") == []


def _tars(folder: Path, split: str) -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    for path in sorted(folder.glob(f"{split}-*.tar")):
        with tarfile.open(path) as tar:
            yield path.name, [(one.name, tar.extractfile(one).read()) for one in tar.getmembers()]  # type: ignore[union-attr]


def test_a_slice_is_its_train_studies_with_repeats_and_weights(shared: Store, tmp_path: Path) -> None:
    report = exported(shared, tmp_path / "out", Layout.PARQUET, ref="slices@0")
    rows = {
        row["study_id"]: row
        for path in sorted((tmp_path / "out").glob("*.parquet"))
        for row in pq.read_table(path).to_pylist()
    }
    held_out = [row["study_id"] for row in ROWS[:-1] if row["split"] != "train"]
    assert set(rows) == {*(row["study_id"] for row in ROWS[:20]), *held_out}
    for at, row in enumerate(ROWS[:20]):
        found = rows[row["study_id"]]
        assert found["repeat"] == 1 + at % 3
        assert found["sentences"] == ["There is edema.", "No pneumonia."]
        assert found["sentence_weights"] == [1.0, 0.25]
        assert found["target"] == report_text({"Edema": YES, "Pneumonia": NO})
        assert (found["labels"]["edema"], found["labels"]["pneumonia"], found["labels"]["fracture"]) == (1, 0, None)
        assert found["report"] == row["report"]
    assert all((rows[name]["repeat"], rows[name]["sentence_weights"]) == (1, [1.0, 1.0]) for name in held_out)
    assert report.splits["train"].rows == sum(1 + at % 3 for at in range(20))
    assert report.left_out == {"not_in_slice": NUM_TRAIN - 20 + 1}
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "slices@0 (few)" in card
    assert "made from shards@0, studies@0" in card


def test_hashed_ids_join_with_the_same_key_and_name_nobody(shared: Store, tmp_path: Path) -> None:
    for name, hasher in (("a", HASHER), ("b", HASHER), ("c", IdHasher(secret=b"another invented secret"))):
        exported(shared, tmp_path / name, Layout.HUGGING_FACE, hasher=hasher, split="test")
    tables = [pq.read_table(tmp_path / name / "test" / "metadata.parquet") for name in ("a", "b", "c")]
    ids = [set(table["subject_id"].to_pylist()) for table in tables]
    assert ids[0] == ids[1]
    assert len(ids[0]) == 2
    assert not ids[0] & ids[2]
    rows = tables[0].to_pylist()
    assert {row["prior_study_id"] for row in rows} <= {"", *(row["study_id"] for row in rows)}
    assert any(row["prior_study_id"] for row in rows)
    originals = [value for row in ROWS for value in (row["subject_id"], row["study_id"], row["images"][0]["dicom_id"])]
    originals += [image[name] for row in ROWS for image in row["images"] for name in ("path", "sha256")]
    stored = {str(value) for row in rows for value in row.values()}
    assert not stored & set(originals)
    for path in (tmp_path / "a").rglob("*"):
        assert not any(text in path.name for text in originals)
    text = (tmp_path / "a" / "README.md").read_text() + (tmp_path / "a" / "manifest.json").read_text()
    assert not any(one in text for one in originals)


def test_hashing_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRRG_EXPORT_KEY", "short")
    with pytest.raises(ConfigError, match="TRRG_EXPORT_KEY"):
        read_export_key()
    monkeypatch.setenv("TRRG_EXPORT_KEY", "an invented secret of a test")
    assert read_export_key().check == HASHER.check


def _withdraw(store: Store, patient: str = "", study: str = "") -> None:
    key = WithdrawalKey(secret=b"an invented secret of a test")
    patients = key.hash_patient(patient) if patient else ""
    one = Withdrawal(patient=patients, studies=(key.hash_study(study),) if study else (), day="2026-01-01")
    write_withdrawals(store, key, [one])


def test_withdrawn_patients_and_studies_are_not_exported_before_their_rows_are_erased(
    own: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _withdraw(own, patient=ROWS[-1]["subject_id"])
    _withdraw(own, study=ROWS[0]["study_id"])
    monkeypatch.delenv("TRRG_WITHDRAWAL_KEY", raising=False)
    with pytest.raises(ConfigError, match="TRRG_WITHDRAWAL_KEY"):
        exported(own, tmp_path / "out", Layout.PARQUET)
    monkeypatch.setenv("TRRG_WITHDRAWAL_KEY", "an invented secret of a test")
    report = exported(own, tmp_path / "out", Layout.PARQUET)
    rows = pq.read_table(tmp_path / "out" / "train-00000.parquet").to_pylist()
    assert [row["study_id"] for row in rows] == [row["study_id"] for row in ROWS[1:4]]
    assert [row["prior_study_id"] for row in rows] == ["", "", ROWS[2]["study_id"]]
    assert report.left_out == {"withdrawn": 2}
    assert list(report.splits) == ["train"]


def test_a_withdrawal_during_the_export_leaves_no_folder(
    own: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = exported_study._row_groups

    def read_and_withdraw(store: Store, path: str) -> Iterator[list[dict[str, Any]]]:
        yield from read(store, path)
        _withdraw(own, patient=ROWS[0]["subject_id"])

    monkeypatch.setattr(exported_study, "_row_groups", read_and_withdraw)
    with pytest.raises(DataError) as caught:
        exported(own, tmp_path / "out", Layout.PARQUET)
    assert caught.value.reason == "withdrawn"
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_studies_are_written_while_later_row_groups_are_unread(
    shared: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    num_read, read_when_written = [0], []
    read, write = exported_study._row_groups, export.ExportFolder.write_file

    def count(store: Store, path: str) -> Iterator[list[dict[str, Any]]]:
        for rows in read(store, path):
            num_read[0] += 1
            yield rows

    def note(self: Any, name: str, data: bytes) -> None:
        read_when_written.append(num_read[0])
        write(self, name, data)

    monkeypatch.setattr(exported_study, "_row_groups", count)
    monkeypatch.setattr(export.ExportFolder, "write_file", note)
    exported(shared, tmp_path / "out", Layout.HUGGING_FACE)
    # the row group of test with 5 images, the first of train with 64 + 16, its second, that of validate
    assert read_when_written[: 5 + 80] == [1] * 5 + [2] * 80
    assert num_read[0] == 4


KILLED = """
import os, signal, sys
from pathlib import Path
from trrg_core.exports import export
from trrg_core.exports.export import ExportRequest, Layout, export_version
from trrg_core.storage.store import open_store
from trrg_core.tables.table_ref import TableRef
write = export.write_card
def stop(facts):
    os.kill(os.getpid(), signal.SIGKILL)
export.write_card = stop
request = ExportRequest(layout=Layout.HUGGING_FACE)
export_version(open_store(sys.argv[1]), TableRef.parse("studies@0"), Path(sys.argv[2]), request)
"""


def test_a_killed_export_leaves_nothing_that_looks_finished_and_the_next_one_succeeds(
    own: Store, tmp_path: Path
) -> None:
    words = [sys.executable, "-c", KILLED, own.uri, str(tmp_path / "out")]
    ended = subprocess.run(words, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    assert list((tmp_path / "out.partial").rglob("*.jpg"))
    with pytest.raises(ConfigError, match="not a finished export"):
        verify_folder(tmp_path / "out.partial")
    exported(own, tmp_path / "out", Layout.PARQUET)
    assert not (tmp_path / "out.partial").exists()
    assert not list((tmp_path / "out").rglob("*.jpg"))


def test_two_exports_do_not_write_one_folder(own: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = exported_study._row_groups

    def export_beside(store: Store, path: str) -> Iterator[list[dict[str, Any]]]:
        with pytest.raises(ConfigError, match="another export"):
            exported(own, tmp_path / "out", Layout.WEBDATASET)
        yield from read(store, path)

    monkeypatch.setattr(exported_study, "_row_groups", export_beside)
    exported(own, tmp_path / "out", Layout.PARQUET)
    assert (tmp_path / "out" / "train-00000.parquet").exists()


def test_a_file_that_cannot_be_read_leaves_no_folder(own: Store, tmp_path: Path) -> None:
    path = Path(file_paths(own, TableRef.parse("studies@0"))[0])
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(StorageError, match=path.name):
        exported(own, tmp_path / "out", Layout.WEBDATASET)
    assert [one.name for one in tmp_path.iterdir()] == ["store"]


@pytest.mark.parametrize(("code", "kind"), [(errno.ENOSPC, StorageError), (errno.EACCES, ConfigError)])
def test_a_disk_that_is_full_or_refuses_leaves_no_folder(
    own: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, kind: type[Exception]
) -> None:
    def fail(self: Any, name: str, data: bytes) -> None:
        raise OSError(code, os.strerror(code), name)

    monkeypatch.setattr(export.ExportFolder, "write_file", fail)
    with pytest.raises(kind, match=os.strerror(code)):
        exported(own, tmp_path / "out", Layout.HUGGING_FACE)
    assert [one.name for one in tmp_path.iterdir()] == ["store"]


def test_folders_that_cannot_be_used_are_refused(own: Store, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").write_text("kept")
    (tmp_path / "file").write_text("kept")
    refused = {
        "full": "not empty",
        "file": "not empty",
        "file/out": "file",
        "x" * 250: "too long",
        "store/out": "inside the store",
        "s3://bucket/out": "local folder",
    }
    for name, reason in refused.items():
        with pytest.raises(ConfigError, match=reason):
            exported(own, Path(name) if "://" in name else tmp_path / name, Layout.PARQUET)
    assert (tmp_path / "full" / "a").read_text() == (tmp_path / "file").read_text() == "kept"
    (tmp_path / "empty").mkdir()
    exported(own, tmp_path / "empty", Layout.PARQUET)


def test_what_is_no_version_of_studies_is_refused(shared: Store, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a version of studies, or a slice"):
        exported(shared, tmp_path / "out", Layout.PARQUET, ref="shards@0")
    with pytest.raises(ConfigError, match="no version studies@7"):
        exported(shared, tmp_path / "out", Layout.PARQUET, ref="studies@7")
    with pytest.raises(ConfigError, match="expected one of train, validate, test"):
        exported(shared, tmp_path / "out", Layout.PARQUET, split="valid")


def test_a_study_without_an_image_is_counted_where_it_has_no_row(own: Store, tmp_path: Path) -> None:
    write_version(own, "studies", [ROWS[0], ROWS[1] | {"images": []}], STUDIES, fingerprint="none")
    assert exported(own, tmp_path / "hf", Layout.HUGGING_FACE, ref="studies@1").left_out == {"no_image": 1}
    assert exported(own, tmp_path / "tar", Layout.WEBDATASET, ref="studies@1").splits["train"].studies == 2
    write_version(own, "studies", [ROWS[1] | {"images": []}], STUDIES, fingerprint="nothing")
    with pytest.raises(DataError) as caught:
        exported(own, tmp_path / "out", Layout.HUGGING_FACE, ref="studies@2")
    assert caught.value.reason == "empty_export"
    assert read_table(own, TableRef.parse("studies@2")).num_rows == 1
