import csv
import gzip
import hashlib
import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.real_data import REAL_DATA
from trrg_core.config.settings import IngestConfig, SourceConfig
from trrg_core.errors import ConfigError, DataError
from trrg_core.imaging.decode import encode_jpeg
from trrg_core.sources import open_source
from trrg_core.sources.mimic_cxr import list_studies
from trrg_core.study import Image, Listing, Study

REPORT = " FINAL REPORT\n FINDINGS:\n \n The lungs are clear.\n"
META = "mimic-cxr-2.0.0-metadata.csv.gz"
SPLIT = "mimic-cxr-2.0.0-split.csv.gz"
STUDIES = "cxr-study-list.csv.gz"
PATIENTS = "patients.csv.gz"


def jpeg() -> bytes:
    return encode_jpeg(np.add.outer(np.arange(60), np.arange(80)).astype(np.uint8))


class Tree:
    """Three patients: 10000001 with two studies, 10000002 and 10000003 with one each."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.studies = [["subject_id", "study_id", "path"]]
        self.meta = [["dicom_id", "subject_id", "study_id", "ViewPosition", "StudyDate", "StudyTime"]]
        self.split = [["dicom_id", "study_id", "subject_id", "split"]]
        for subject, study, split, date, time in (
            ("10000001", "50000009", "train", "21800101", "91500.5"),
            ("10000001", "50000001", "train", "21800101", "101500.5"),
            ("10000002", "50000002", "validate", "21810101", "120000"),
            ("10000003", "50000003", "test", "21820101", "120000"),
        ):
            self.add(subject, study, split, date, time)

    def add(self, subject: str, study: str, split: str, date: str, time: str, dicom: str = "") -> None:
        dicom = dicom or f"d{study}"
        path = f"files/p{subject[:2]}/p{subject}/s{study}.txt"
        self.studies.append([subject, study, path])
        self.meta.append([dicom, subject, study, "AP", date, time])
        if split:
            self.split.append([dicom, study, subject, split])
        file = self.root / path
        (file.parent / f"s{study}").mkdir(parents=True, exist_ok=True)
        file.write_text(REPORT)
        (file.parent / f"s{study}" / f"{dicom}.jpg").write_bytes(jpeg())

    def list(self, **settings: object) -> Listing:
        for name, rows in ((STUDIES, self.studies), (META, self.meta), (SPLIT, self.split)):
            self.write(name, "".join(",".join(row) + "\n" for row in rows))
        return list_studies(str(self.root), config=SourceConfig(root=str(self.root), **settings))

    def write(self, name: str, text: str) -> None:
        (self.root / name).write_bytes(gzip.compress(text.encode()))


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_the_files_of_mimic_cxr_jpg_may_be_in_a_second_root(
    tree: Tree, tmp_path_factory: pytest.TempPathFactory
) -> None:
    expected = tree.list()
    images = tmp_path_factory.mktemp("jpg")
    for path in (*tree.root.rglob("*.jpg"), tree.root / META, tree.root / SPLIT):
        target = images / path.relative_to(tree.root)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    listing = list_studies(str(tree.root), config=SourceConfig(root=str(tree.root), image_folder=str(images)))
    assert listing == expected
    with pytest.raises(ConfigError, match="neither"):
        list_studies(str(tree.root))


def reasons(listing: Listing) -> Counter[str]:
    return Counter(reject.reason for reject in listing.rejects)


def by_id(listing: Listing) -> dict[str, Study]:
    return {study.study_id: study for study in listing.studies}


def test_a_sound_tree_is_listed_by_patient_and_id(tree: Tree) -> None:
    listing = tree.list()
    assert [study.study_id for study in listing.studies] == ["50000001", "50000009", "50000002", "50000003"]
    assert [study.split for study in listing.studies] == ["train", "train", "validate", "test"]
    assert listing.rejects == ()
    study = listing.studies[0]
    assert study.report_path == "files/p10/p10000001/s50000001.txt"
    assert study.images == (
        Image(dicom_id="d50000001", path="files/p10/p10000001/s50000001/d50000001.jpg", view_position="AP"),
    )
    assert len(list_studies(str(tree.root), 2).studies) == 2


def test_sex_and_age_come_from_the_patients_of_mimic_iv_when_they_are_there(tree: Tree) -> None:
    listing = tree.list()
    assert {(study.sex, study.age_years) for study in listing.studies} == {("", None)}
    header = "subject_id,gender,anchor_age,anchor_year,anchor_year_group,dod\n"
    tree.write(PATIENTS, header + "10000001,F,60,2178,2014 - 2016,\n10000002,?,old,2181,,\n10000009,M,50,2178,,\n")
    listing = tree.list()
    assert [(study.subject_id, study.sex, study.age_years) for study in listing.studies] == [
        ("10000001", "F", 62),
        ("10000001", "F", 62),
        ("10000002", "", None),
        ("10000003", "", None),
    ]
    assert listing.rejects == ()


def test_rows_that_contradict_each_other_on_a_patient_are_set_aside_and_its_studies_kept(tree: Tree) -> None:
    tree.write(PATIENTS, "subject_id,gender,anchor_age,anchor_year\n10000001,F,60,2178\n10000001,M,60,2178\n")
    listing = tree.list()
    assert [study.sex for study in listing.studies] == [""] * 4
    assert reasons(listing) == {"duplicate_id": 2}


def test_the_order_of_index_rows_does_not_matter(tree: Tree) -> None:
    first = tree.list()
    for rows in (tree.studies, tree.meta, tree.split):
        rows[1:] = rows[:0:-1]
    assert tree.list() == first


def test_a_prior_is_found_by_time_and_not_by_id(tree: Tree) -> None:
    # 50000009 was taken at 09:15, its hour without the leading zero; 50000001 an hour later
    studies = by_id(tree.list())
    assert studies["50000001"].prior_study_id == "50000009"
    assert studies["50000009"].prior_study_id == ""
    assert studies["50000009"].study_time == "091500.5"


def test_studies_of_one_moment_share_their_prior(tree: Tree) -> None:
    tree.add("10000001", "50000005", "train", "21800101", "101500.5")
    tree.add("10000001", "50000006", "train", "21800101", "")
    tree.add("10000001", "50000007", "train", "", "")
    tree.add("10000001", "50000008", "train", "21800102", "")
    studies = by_id(tree.list())
    assert studies["50000001"].prior_study_id == studies["50000005"].prior_study_id == "50000009"
    assert studies["50000006"].prior_study_id == ""
    assert studies["50000007"].prior_study_id == ""
    assert studies["50000008"].prior_study_id == "50000001"


def test_an_identical_row_counts_once(tree: Tree) -> None:
    tree.studies.append(tree.studies[1])
    tree.meta.append(tree.meta[1])
    listing = tree.list()
    assert len(listing.studies) == 4
    assert listing.rejects == ()
    assert listing.counts["duplicate_rows"] == 2


def test_conflicting_rows_are_all_set_aside(tree: Tree) -> None:
    tree.studies.append(["10000003", "50000002", "files/p10/p10000003/s50000002.txt"])
    listing = tree.list()
    assert "50000002" not in by_id(listing)
    assert reasons(listing)["duplicate_id"] == 2
    assert {reject.subject_id for reject in listing.rejects if reject.reason == "duplicate_id"} == {
        "10000002",
        "10000003",
    }


def test_a_conflicting_image_is_set_aside_and_its_study_with_it(tree: Tree) -> None:
    tree.meta.append(["d50000002", "10000002", "50000002", "PA", "21810101", "120000"])
    listing = tree.list()
    assert reasons(listing) == {"duplicate_id": 2, "no_images": 1}


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        ("10000004,50000004", "line 6: 2 fields, expected 3"),
        ('10000004,50000004,"files/x.txt', "line 6: unexpected end of data"),
        ("10000004,50000004,a,b", "line 6: 4 fields, expected 3"),
        ('10000004,50000004,5" x', "line 6: odd number of quotes"),
    ],
)
def test_a_malformed_row_is_set_aside_with_its_line_and_nothing_after_it(tree: Tree, line: str, detail: str) -> None:
    tree.add("10000005", "50000005", "train", "", "")
    last = tree.studies.pop()
    tree.studies += [line.split("\n"), last]
    listing = tree.list()
    assert reasons(listing)["malformed_row"] == 1
    bad = next(reject for reject in listing.rejects if reject.reason == "malformed_row")
    assert (bad.path, bad.detail) == (STUDIES, detail)
    assert "50000005" in by_id(listing)


def test_a_row_that_is_not_utf8_is_set_aside_alone(tree: Tree) -> None:
    tree.list()
    plain = gzip.decompress((tree.root / STUDIES).read_bytes())
    (tree.root / STUDIES).write_bytes(gzip.compress(plain + b"10000004,50000004,files/\xe9.txt\n"))
    listing = list_studies(str(tree.root))
    assert len(listing.studies) == 4
    assert [(reject.reason, reject.detail) for reject in listing.rejects] == [("malformed_row", "line 6: not UTF-8")]


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "s3://other/x.txt", "files/../../x.txt"])
def test_a_path_out_of_the_tree_is_refused(tree: Tree, path: str) -> None:
    tree.studies[1][2] = path
    listing = tree.list()
    assert "50000009" not in by_id(listing)
    assert "path_escape" in {reject.reason for reject in listing.rejects if reject.study_id == "50000009"}


def test_a_record_path_out_of_the_tree_is_refused(tree: Tree) -> None:
    tree.write(
        "cxr-record-list.csv.gz",
        "subject_id,study_id,dicom_id,path\n10000002,50000002,d50000002,../../etc/passwd\n",
    )
    listing = tree.list()
    bad = {(reject.reason, reject.dicom_id) for reject in listing.rejects}
    assert bad == {("path_escape", "d50000002"), ("no_images", "")}


def test_a_link_out_of_the_tree_is_refused_when_read(tree: Tree, tmp_path_factory: pytest.TempPathFactory) -> None:
    secret = tmp_path_factory.mktemp("elsewhere") / "secret.txt"
    secret.write_text("secret")
    study = tree.list().studies[0]
    (tree.root / study.report_path).unlink()
    (tree.root / study.report_path).symlink_to(secret)
    with pytest.raises(DataError) as caught:
        open_source(SourceConfig(root=str(tree.root))).read_report(study)
    assert caught.value.reason == "path_escape"


def test_an_unknown_split_sets_the_study_aside(tree: Tree) -> None:
    tree.split[3][3] = "tset"
    listing = tree.list()
    assert [(reject.reason, reject.study_id) for reject in listing.rejects] == [("unknown_split", "50000002")]


def test_a_patient_in_two_splits_is_set_aside_whole(tree: Tree) -> None:
    tree.split[1][3] = "test"
    listing = tree.list()
    assert reasons(listing) == {"patient_in_two_splits": 2}
    assert {reject.subject_id for reject in listing.rejects} == {"10000001"}


def test_a_study_without_a_split_follows_its_patient(tree: Tree) -> None:
    tree.add("10000003", "50000007", "", "", "")
    listing = tree.list()
    assert by_id(listing)["50000007"].split == "test"
    assert listing.counts.get("split_by_hash", 0) == 0


def test_patients_without_a_split_are_hashed_whole_and_always_alike(tree: Tree) -> None:
    for number in range(400):
        for study in range(2):
            tree.add(f"11{number:06d}", f"51{number:05d}{study}", "", "", "")
    listing = tree.list(validate_share=0.2, test_share=0.3)
    assert listing.counts["split_by_hash"] == 800
    hashed = [study for study in listing.studies if study.subject_id.startswith("11")]
    of_patient: dict[str, set[str]] = {}
    for study in hashed:
        of_patient.setdefault(study.subject_id, set()).add(study.split)
    assert all(len(splits) == 1 for splits in of_patient.values())
    shares = Counter(next(iter(splits)) for splits in of_patient.values())
    assert abs(shares["validate"] / 400 - 0.2) < 0.07
    assert abs(shares["test"] / 400 - 0.3) < 0.08
    fewer = list_studies(str(tree.root), config=SourceConfig(validate_share=0.2, test_share=0.3, max_studies=100))
    assert all(study in listing.studies for study in fewer.studies)


def test_without_a_split_row_studies_can_be_set_aside(tree: Tree) -> None:
    tree.add("10000009", "50000090", "", "", "")
    assert reasons(tree.list(on_missing_split="reject")) == {"missing_split": 1}


def test_an_image_of_an_unknown_study_or_another_patient_is_set_aside(tree: Tree) -> None:
    tree.meta.append(["dlost", "10000002", "59999999", "AP", "", ""])
    tree.meta.append(["dother", "10000003", "50000002", "AP", "", ""])
    listing = tree.list()
    assert {(r.reason, r.study_id) for r in listing.rejects} == {
        ("unknown_study", "59999999"),
        ("subject_mismatch", "50000002"),
    }


def test_a_malformed_id_is_set_aside(tree: Tree) -> None:
    tree.studies.append(["1000000x", "50000077", "files/x.txt"])
    tree.studies.append(["", "50000078", "files/x.txt"])
    assert reasons(tree.list()) == {"bad_id": 2}


def test_a_renamed_column_stops_with_a_diff(tree: Tree) -> None:
    tree.meta[0][3] = "View_Position"
    with pytest.raises(ConfigError, match=r"missing columns ViewPosition.*'View_Position' meant to be"):
        tree.list()


def test_a_new_column_is_recorded_and_ignored(tree: Tree) -> None:
    for number, row in enumerate(tree.meta):
        row.append("Manufacturer" if number == 0 else "m")
    listing = tree.list()
    assert len(listing.studies) == 4
    assert listing.unknown_columns == {META: ("Manufacturer",)}


def test_a_cut_index_file_stops(tree: Tree) -> None:
    tree.list()
    data = (tree.root / META).read_bytes()
    (tree.root / META).write_bytes(data[: len(data) // 2])
    with pytest.raises(ConfigError, match="gzip stream is truncated"):
        list_studies(str(tree.root))


def test_missing_index_files_stop(tree: Tree) -> None:
    tree.list()
    (tree.root / META).unlink()
    with pytest.raises(ConfigError, match="neither"):
        list_studies(str(tree.root))
    (tree.root / STUDIES).unlink()
    with pytest.raises(ConfigError, match=r"no cxr-study-list\.csv"):
        list_studies(str(tree.root))


def test_a_tree_of_dicom_without_metadata_is_listed_from_its_records(tree: Tree) -> None:
    tree.list()
    rows = ["subject_id,study_id,dicom_id,path"]
    for path in sorted(tree.root.rglob("*.jpg")):
        path.rename(path.with_suffix(".dcm"))
        relative = path.relative_to(tree.root).with_suffix(".dcm")
        rows.append(f"{relative.parts[2][1:]},{relative.parts[3][1:]},{relative.stem},{relative}")
    (tree.root / "cxr-record-list.csv").write_text("\n".join(rows))
    (tree.root / META).unlink()
    (tree.root / SPLIT).unlink()
    listing = list_studies(str(tree.root))
    assert len(listing.studies) == 4
    assert {image.path[-4:] for study in listing.studies for image in study.images} == {".dcm"}
    assert listing.counts["split_by_hash"] == 4


def test_broken_files_show_when_they_are_read(tree: Tree) -> None:
    study = tree.list().studies[0]
    source = open_source(SourceConfig(root=str(tree.root)))
    assert source.read_report(study).text == REPORT
    assert source.read_image(study.images[0]).rows == 60
    (tree.root / study.images[0].path).unlink()
    (tree.root / study.report_path).unlink()
    with pytest.raises(DataError) as no_image:
        source.read_image(study.images[0])
    with pytest.raises(DataError) as no_report:
        source.read_report(study)
    assert (no_image.value.reason, no_report.value.reason) == ("missing_image", "missing_report")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty_report"),
        (b" \r\n\x00", "empty_report"),
        (b" FINDINGS: caf\xe9", "report_not_utf8"),
        ("FINDINGS: clear".encode("utf-16"), "report_not_utf8"),
        (b"x" * 65_537, "report_too_long"),
    ],
)
def test_a_report_that_cannot_be_used_has_its_reason(tree: Tree, data: bytes, reason: str) -> None:
    study = tree.list().studies[0]
    (tree.root / study.report_path).write_bytes(data)
    with pytest.raises(DataError) as caught:
        open_source(SourceConfig(root=str(tree.root))).read_report(study)
    assert caught.value.reason == reason
    assert "caf" not in str(caught.value)
    assert caught.value.__cause__ is None or "caf" not in repr(caught.value.__cause__)


def test_a_report_in_windows_1252_can_be_read_with_a_flag(tree: Tree) -> None:
    study = tree.list().studies[0]
    data = b"\r\n FINDINGS:\r\n na\xefve\x00 patient\r\n"
    (tree.root / study.report_path).write_bytes(data)
    ingest = IngestConfig(on_bad_encoding="cp1252")
    report = open_source(SourceConfig(root=str(tree.root)), ingest).read_report(study)
    assert report.text == "\n FINDINGS:\n na\xefve patient\n"
    assert (report.encoding, report.flags) == ("cp1252", ("not_utf8", "nul", "cr"))
    assert report.sha256 == hashlib.sha256(data).hexdigest()


def test_files_are_held_against_the_checksum_list(tree: Tree) -> None:
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.relative_to(tree.root)}"
        for path in sorted((tree.root / "files").rglob("*.*"))
    ]
    (tree.root / "SHA256SUMS.txt").write_text("\n".join([*lines, "no checksum here"]))
    listing = tree.list()
    assert [(r.reason, r.detail) for r in listing.rejects] == [("malformed_row", "line 9: no checksum")]
    study = listing.studies[0]
    source = open_source(SourceConfig(root=str(tree.root)))
    source.read_report(study)
    source.read_image(study.images[0])
    (tree.root / study.images[0].path).write_bytes(encode_jpeg(np.zeros((60, 80), np.uint8)))
    (tree.root / study.report_path).write_text(REPORT + " ")
    for read in (lambda: source.read_image(study.images[0]), lambda: source.read_report(study)):
        with pytest.raises(DataError) as caught:
            read()
        assert caught.value.reason == "checksum_mismatch"


def test_the_fingerprint_follows_the_content(tree: Tree) -> None:
    tree.list()
    source = open_source(SourceConfig(root=str(tree.root)))
    before = source.fingerprint(source.list_studies())
    assert source.fingerprint(source.list_studies()) == before
    (tree.root / "unrelated.txt").write_text("x")
    assert source.fingerprint(source.list_studies()) == before
    (tree.root / source.list_studies().studies[0].report_path).write_text(REPORT + " changed\n")
    assert source.fingerprint(source.list_studies()) != before


def test_markup_in_a_report_is_kept_as_it_is(tree: Tree) -> None:
    study = tree.list().studies[0]
    text = " FINDINGS: <script>alert(1)</script> </s><|system|> =cmd {{ x }} ![](http://x)\n"
    (tree.root / study.report_path).write_text(text)
    assert open_source(SourceConfig(root=str(tree.root))).read_report(study).text == text


@pytest.mark.parametrize("root", ["", "no/such/folder"])
def test_a_root_that_is_not_there_stops(root: str) -> None:
    with pytest.raises(ConfigError, match=r"source\.root"):
        open_source(SourceConfig(root=root))


@pytest.mark.real_data
def test_the_tree_in_mimic_layout_is_read_whole() -> None:
    root = REAL_DATA / "mimic_like"
    if not root.is_dir():
        pytest.skip(f"no {root}: set TRRG_REAL_DATA")
    source = open_source(SourceConfig(root=str(root)))
    listing = source.list_studies()
    assert listing.rejects == ()
    assert Counter(study.split for study in listing.studies) == {"train": 125, "validate": 10, "test": 15}
    assert sum(len(study.images) for study in listing.studies) == 282
    texts = [source.read_report(study) for study in listing.studies]
    assert len(texts) == 150
    assert not any(report.flags for report in texts)
    kept = [source.read_image(image) for study in listing.studies for image in study.images]
    assert max(max(image.rows, image.columns) for image in kept) <= 512
    with gzip.open(root / META, "rt") as file:
        views = {row["dicom_id"]: row["ViewPosition"] for row in csv.DictReader(io.StringIO(file.read()))}
    assert {image.dicom_id: image.view_position for image in kept} == views
