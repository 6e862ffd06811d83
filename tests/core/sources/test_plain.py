import gzip
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from tests.real_data import REAL_DATA
from trrg_core.config.settings import PlainConfig, SourceConfig
from trrg_core.errors import ConfigError, DataError
from trrg_core.imaging.decode import encode_jpeg
from trrg_core.report.parser import ReportParser
from trrg_core.report.sections import report_section
from trrg_core.sources import Source, open_source

HEADER = "who,exam,file,text,part,side,day,hour,gender,years\n"
ROWS = (
    "P1,E1,a,Clear.,train,pa,2020-01-02,10:00:00,female,64\n"
    "P1,E1,b,Clear.,train,lateral,2020-01-02,10:00:00,female,64\n"
    "P1,E2,c,Stable.,train,ap,2020-01-02,09:00:00,F,064Y\n"
    "P2,E3,d,Effusion.,val,ap,January 2020,,n/k,6 months\n"
)
PLAIN = PlainConfig(
    table="export.csv",
    image_path="scans/{file}.jpg",
    report_column="text",
    patient_column="who",
    study_column="exam",
    split_column="part",
    view_column="side",
    date_column="day",
    time_column="hour",
    sex_column="gender",
    age_column="years",
)


def opened(root: Path, plain: PlainConfig = PLAIN) -> Source:
    return open_source(SourceConfig(kind="plain", root=str(root), plain=plain))


def test_rows_of_one_study_are_its_radiographs(tmp_path: Path) -> None:
    (tmp_path / "export.csv").write_text(HEADER + ROWS)
    listing = opened(tmp_path).list_studies()
    assert [study.study_id for study in listing.studies] == ["E1", "E2", "E3"]
    first = listing.studies[0]
    assert [(image.path, image.view_position) for image in first.images] == [
        ("scans/a.jpg", "PA"),
        ("scans/b.jpg", "LATERAL"),
    ]
    assert (first.study_date, first.study_time, first.prior_study_id) == ("20200102", "100000", "E2")
    assert (listing.studies[2].split, listing.studies[2].study_date) == ("validate", "")
    assert [(study.sex, study.age_years) for study in listing.studies] == [("F", 64), ("F", 64), ("", None)]
    assert listing.rejects == ()


def test_dates_with_the_day_or_the_month_first_are_counted_and_order_nothing(tmp_path: Path) -> None:
    """`12/01/2023` and `01/31/2024` were ordered by their digits: the later study was the prior of the earlier one."""
    days = ("12/01/2023", "01/31/2024", "31.01.2024", "2024-02-01", "")
    rows = [f"P1,E{number},{number}.jpg,Clear.,{day}\n" for number, day in enumerate(days)]
    (tmp_path / "export.csv").write_text("who,exam,file,text,day\n" + "".join(rows))
    plain = PRIOR.model_copy(update={"prior_column": "", "image_id_column": ""})
    listing = opened(tmp_path, plain).list_studies()
    assert [study.study_date for study in listing.studies] == ["", "", "", "20240201", ""]
    assert {study.prior_study_id for study in listing.studies} == {""}
    assert listing.counts["unread_dates"] == 3


def test_a_table_in_utf_16_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "export.csv").write_bytes((HEADER + ROWS).encode("utf-16"))
    with pytest.raises(ConfigError, match=r"export\.csv: the file is UTF-16, expected UTF-8: convert it"):
        opened(tmp_path).list_studies()


PRIOR_HEADER = "who,exam,file,text,day,before,uid\n"
PRIOR = PlainConfig(
    table="export.csv", image_path="{file}", report_column="text", patient_column="who", study_column="exam",
    date_column="day", prior_column="before", image_id_column="uid",
)  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "priors", "reasons"),
    [
        # what the column says comes before what the dates say
        ("P1,E1,a,Clear.,2020-01-01,,\nP1,E2,b,Clear.,2020-01-02,,", {"E1": "", "E2": ""}, {}),
        ("P1,E1,a,Clear.,,,\nP1,E2,b,Clear.,, E1 ,", {"E1": "", "E2": "E1"}, {}),
        ("P1,E2,b,Clear.,2020-01-02,E0,", {"E2": "E0"}, {}),  # not listed
        # pandas makes floats of a column of numbers with empty cells
        ("P1,10,a,Clear.,,,\nP1,11,b,Clear.,,10.0,", {"10": "", "11": "10"}, {}),
        ("P1,10,a,Clear.,,,\nP2,11,b,Clear.,,10.0,", {"10": ""}, {"wrong_prior": 1}),
        ("P1,10,a,Clear.,,,\nP1,10.0,b,Clear.,,,\nP1,11,c,Clear.,,10.0,", {"10": "", "10.0": "", "11": "10.0"}, {}),
        ("P1,E1,a,Clear.,,E1,", {}, {"wrong_prior": 1}),
        ("P1,E1,a,Clear.,,,\nP2,E2,b,Clear.,,E1,", {"E1": ""}, {"wrong_prior": 1}),
        ("P1,E1,a,Clear.,2020-01-03,,\nP1,E2,b,Clear.,2020-01-02,E1,", {"E1": ""}, {"wrong_prior": 1}),
        ("P1,E2,a,Clear.,,E0,\nP1,E2,b,Clear.,,E1,", {}, {"duplicate_id": 2}),  # rows disagree
        (f"P1,E2,a,Clear.,,{'E' * 129},", {}, {"bad_id": 1}),
    ],
)
def test_a_prior_that_the_table_names_is_of_the_patient_and_not_later(
    tmp_path: Path, rows: str, priors: dict[str, str], reasons: dict[str, int]
) -> None:
    # ids of images are those of the files here
    lines = [line + line.split(",")[2] for line in rows.splitlines()]
    (tmp_path / "export.csv").write_text(PRIOR_HEADER + "\n".join(lines) + "\n")
    listing = opened(tmp_path, PRIOR).list_studies()
    assert {study.study_id: study.prior_study_id for study in listing.studies} == priors
    assert Counter(reject.reason for reject in listing.rejects) == reasons


@pytest.mark.parametrize(
    ("before", "own", "problem"),
    [
        ("2020-01-02,10:00:00", "2020-01-02,10:00:01", ""),
        ("2020-01-02,10:00:00", "2020-01-02,10:00:00", ""),
        ("2020-01-02,10:00:01", "2020-01-02,10:00:00", "is of 20200102 100001, after 20200102 100000"),
        ("2020-01-02,10:00:00", "2020-01-02,", ""),  # which of the two is earlier is unknown
        ("2020-01-02,", "2020-01-02,10:00:00", ""),
        ("2020-01-02,", "2020-01-02,", ""),
        ("2020-01-03,", "2020-01-02,10:00:00", "is of 20200103, after 20200102 100000"),
        ("2020-01-03,10:00:00", ",09:00:00", ""),
        (",10:00:00", "2020-01-02,09:00:00", ""),
        (",10:00:00", ",09:00:00", ""),
    ],
)
def test_a_prior_is_wrong_only_where_it_is_known_to_be_later(
    tmp_path: Path, before: str, own: str, problem: str
) -> None:
    rows = f"P1,E1,a,Clear.,{before},\nP1,E2,b,Clear.,{own},E1\n"
    (tmp_path / "export.csv").write_text("who,exam,file,text,day,clock,before\n" + rows)
    listing = opened(tmp_path, PRIOR.model_copy(update={"time_column": "clock", "image_id_column": ""})).list_studies()
    priors = {study.study_id: study.prior_study_id for study in listing.studies}
    assert priors == ({"E1": ""} if problem else {"E1": "", "E2": "E1"})
    assert [(reject.study_id, reject.reason) for reject in listing.rejects] == [("E2", "wrong_prior")] * bool(problem)
    assert all(reject.detail.endswith(problem) for reject in listing.rejects)


def test_an_image_has_the_id_of_its_column(tmp_path: Path) -> None:
    rows = "P1,E1,a,Clear.,,,I2\nP1,E1,b,Clear.,,,I1\nP2,E2,c,Clear.,,,I3\nP2,E2,d,Clear.,,,I3\nP3,E3,e,Clear.,,,\n"
    (tmp_path / "export.csv").write_text(PRIOR_HEADER + rows)
    listing = opened(tmp_path, PRIOR).list_studies()
    assert [[(image.path, image.dicom_id) for image in study.images] for study in listing.studies] == [
        [("a", "I2"), ("b", "I1")]
    ]
    assert Counter(reject.reason for reject in listing.rejects) == {"duplicate_id": 2, "bad_id": 1}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("101523", "101523"),
        ("10:15:23", "101523"),
        ("101523.125", "101523.125"),
        ("10:15:23.5", "101523.5"),
        ("10.15.23", "101523"),
        ("10:15", ""),
        ("1015.5", ""),
        ("noon", ""),
    ],
)
def test_a_time_keeps_its_fraction(tmp_path: Path, written: str, read: str) -> None:
    (tmp_path / "export.csv").write_text(HEADER + ROWS.splitlines()[2].replace("09:00:00", written) + "\n")
    assert opened(tmp_path).list_studies().studies[0].study_time == read


@pytest.mark.parametrize("name", ["export.csv.gz", "export.tsv", "export.parquet"])
def test_every_form_of_the_table_is_the_same(tmp_path: Path, name: str) -> None:
    (tmp_path / "export.csv").write_text(HEADER + ROWS)
    expected = opened(tmp_path).list_studies().studies
    if name.endswith(".parquet"):
        cells = [line.split(",") for line in ROWS.splitlines()]
        columns = {column: [row[i] for row in cells] for i, column in enumerate(HEADER.strip().split(","))}
        pq.write_table(pa.table(columns), tmp_path / name, write_page_checksum=True)
    elif name.endswith(".gz"):
        (tmp_path / name).write_bytes(gzip.compress((HEADER + ROWS).encode()))
    else:
        (tmp_path / name).write_text((HEADER + ROWS).replace(",", "\t"))
    found = opened(tmp_path, PLAIN.model_copy(update={"table": name})).list_studies().studies
    assert [(s.study_id, s.report, s.images, s.split, s.prior_study_id) for s in found] == [
        (s.study_id, s.report, s.images, s.split, s.prior_study_id) for s in expected
    ]


def test_several_tables_are_read_as_one(tmp_path: Path) -> None:
    (tmp_path / "export.csv").write_text(HEADER + ROWS)
    expected = opened(tmp_path).list_studies().studies
    for name, rows in (("2020", ROWS.splitlines()[:1]), ("2021", [*ROWS.splitlines()[1:], "P9,E9,e"])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "part.csv").write_text(HEADER + "\n".join(rows) + "\n")
    (tmp_path / "2021" / "deep").mkdir()
    (tmp_path / "2021" / "deep" / "part.csv").write_text("not of the same columns\n")
    listing = opened(tmp_path, PLAIN.model_copy(update={"table": "*/part.csv"})).list_studies()
    assert [(s.study_id, s.report, s.images, s.split, s.prior_study_id) for s in listing.studies] == [
        (s.study_id, s.report, s.images, s.split, s.prior_study_id) for s in expected
    ]
    assert [(reject.reason, reject.path) for reject in listing.rejects] == [("malformed_row", "2021/part.csv")]


@pytest.mark.parametrize(("table", "found"), [("*/none.csv", "no file below"), ("../*.csv", "not relative")])
def test_a_pattern_without_a_table_stops(tmp_path: Path, table: str, found: str) -> None:
    with pytest.raises(ConfigError, match=found):
        opened(tmp_path, PLAIN.model_copy(update={"table": table})).list_studies()


def test_a_flipped_byte_in_parquet_stops(tmp_path: Path) -> None:
    cells = {name: [f"{name}{row}" for row in range(300)] for name in HEADER.strip().split(",")}
    path = tmp_path / "export.parquet"
    pq.write_table(pa.table(cells), path, write_page_checksum=True, compression="none", use_dictionary=False)
    data = bytearray(path.read_bytes())
    data[data.index(b"text77") + 5] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ConfigError, match="not a valid Parquet"):
        opened(tmp_path, PLAIN.model_copy(update={"table": "export.parquet"})).list_studies()


def test_rows_that_cannot_be_used_have_their_reasons(tmp_path: Path) -> None:
    bad = (
        ",E4,e,Clear.,train,ap,,,,\n"  # bad_id
        "P5,E5,,Clear.,train,ap,,,,\n"  # missing_image
        "P6,E6,../../etc/passwd,Clear.,train,ap,,,,\n"  # path_escape
        "P7,E7,f,Clear.,holdout,ap,,,,\n"  # unknown_split
        "P8,E8,g,Clear.,train,ap,,,,\n"
        "P8,E8,h,Other text.,train,ap,,,,\n"  # duplicate_id, both
        "P9,E3,i,Effusion.,val,ap,,,,\n"  # duplicate_id: a study of two patients, both
        'P10,E10,j,"Never closed,train,ap,,,,\n'  # malformed_row
        "P11,E11,k,Clear.,train,ap,,,,\n"
        "P12,E12,l,Clear.,train,ap,,,,\n"
        "P12,E13,m,Clear.,test,ap,,,,\n"  # patient_in_two_splits, both
    )
    (tmp_path / "export.csv").write_text(HEADER + ROWS + bad)
    listing = opened(tmp_path).list_studies()
    assert [study.study_id for study in listing.studies] == ["E1", "E2", "E11"]
    assert Counter(reject.reason for reject in listing.rejects) == {
        "bad_id": 1,
        "missing_image": 1,
        "path_escape": 1,
        "unknown_split": 1,
        "duplicate_id": 4,
        "malformed_row": 1,
        "patient_in_two_splits": 2,
    }
    assert not any("Never closed" in str(reject) or "Other text" in str(reject) for reject in listing.rejects)
    assert "line 13" in next(reject.detail for reject in listing.rejects if reject.reason == "malformed_row")


def test_an_identical_row_counts_once(tmp_path: Path) -> None:
    (tmp_path / "export.csv").write_text(HEADER + ROWS + ROWS.splitlines()[0] + "\n")
    listing = opened(tmp_path).list_studies()
    assert len(listing.studies) == 3
    assert listing.counts["duplicate_rows"] == 1


def test_without_a_study_column_each_row_is_a_study(tmp_path: Path) -> None:
    (tmp_path / "export.csv").write_text(HEADER + ROWS)
    listing = opened(tmp_path, PLAIN.model_copy(update={"study_column": ""})).list_studies()
    assert [study.study_id for study in listing.studies] == [
        "P1:scans/a.jpg",
        "P1:scans/b.jpg",
        "P1:scans/c.jpg",
        "P2:scans/d.jpg",
    ]


def test_reports_can_be_files(tmp_path: Path) -> None:
    (tmp_path / "export.csv").write_text("who,file,report_file\nP1,a,texts/a.txt\nP2,b,../b.txt\n")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/a.txt").write_bytes(b"FINDINGS: Clear.\r\n")
    plain = PlainConfig(
        table="export.csv", image_path="{file}.jpg", report_path_column="report_file", report_column="",
        patient_column="who",
    )  # fmt: skip
    source = opened(tmp_path, plain)
    listing = source.list_studies()
    assert source.read_report(listing.studies[0]).text == "FINDINGS: Clear.\n"
    assert [reject.reason for reject in listing.rejects] == ["path_escape"]


def test_a_table_or_column_that_is_not_there_stops(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"source\.plain\.table"):
        opened(tmp_path).list_studies()
    with pytest.raises(ConfigError, match=r"source\.plain\.table is empty"):
        opened(tmp_path, PlainConfig()).list_studies()
    (tmp_path / "export.csv").write_text(HEADER.replace("side", "sides") + ROWS)
    with pytest.raises(ConfigError, match=r"missing columns side;.*is 'sides' meant"):
        opened(tmp_path).list_studies()


def parquet(root: Path, **columns: pa.Array) -> Source:
    rows = {"image": ["a.jpg", "b.jpg"], "patient": ["1", "2"], "report": ["Clear.", "Effusion."]}
    pq.write_table(pa.table(rows | columns), root / "t.parquet")
    return opened(root, PlainConfig(table="t.parquet"))


def test_text_that_parquet_holds_as_bytes_is_text(tmp_path: Path) -> None:
    reports = pa.array([b"Clear.", "Gr\u00f6\u00dfer.".encode()])
    listing = parquet(tmp_path, patient=pa.array([b"P1", b"P2"]), report=reports).list_studies()
    assert [(study.subject_id, study.report) for study in listing.studies] == [
        ("P1", "Clear."),
        ("P2", "Gr\u00f6\u00dfer."),
    ]
    with pytest.raises(ConfigError, match="not a valid Parquet file"):
        parquet(tmp_path, report=pa.array([b"Clear.", b"\xff\xfe"])).list_studies()


def test_a_number_that_is_none_names_no_patient(tmp_path: Path) -> None:
    listing = parquet(tmp_path, patient=pa.array([float("nan"), 2.5])).list_studies()
    assert [study.subject_id for study in listing.studies] == ["2.5"]
    assert [reject.reason for reject in listing.rejects] == ["bad_id"]


@pytest.mark.parametrize(
    "values", [[["Clear."], ["x", "y"]], [{"text": "Clear."}, None], pa.array([b"12", b"34"], pa.binary(2))]
)
def test_a_column_of_parquet_that_is_no_text_stops(tmp_path: Path, values: Any) -> None:
    with pytest.raises(ConfigError, match=r"t\.parquet: column 'report' is of type .*, expected text"):
        parquet(tmp_path, report=pa.array(values)).list_studies()


def test_a_column_of_parquet_that_is_there_twice_stops(tmp_path: Path) -> None:
    columns = [pa.array(["a.jpg"]), pa.array(["1"]), pa.array(["2"]), pa.array(["Clear."])]
    pq.write_table(pa.table(columns, ["image", "patient", "patient", "report"]), tmp_path / "t.parquet")
    with pytest.raises(ConfigError, match=r"t\.parquet: the header names a column more than once: patient"):
        opened(tmp_path, PlainConfig(table="t.parquet")).list_studies()


def test_a_table_without_a_header_is_not_quoted(tmp_path: Path) -> None:
    (tmp_path / "export.csv").write_text(ROWS)
    with pytest.raises(ConfigError, match="names that read like data") as caught:
        opened(tmp_path).list_studies()
    assert not any(cell in str(caught.value) for cell in ROWS.splitlines()[0].split(",") if len(cell) > 3)


def test_text_in_the_column_of_splits_is_not_quoted(tmp_path: Path) -> None:
    (tmp_path / "export.csv").write_text(HEADER + ROWS.replace("train", "No acute disease"))
    details = [reject.detail for reject in opened(tmp_path).list_studies().rejects if reject.reason == "unknown_split"]
    assert details
    assert all("split of 16 characters, expected one of train" in detail for detail in details)


def test_a_source_crosses_to_a_worker_and_reads_there(tmp_path: Path) -> None:
    (tmp_path / "export.csv").write_text(HEADER + ROWS)
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans/a.jpg").write_bytes(encode_jpeg(np.arange(50, dtype=np.uint8)[None].repeat(40, 0)))
    source = pickle.loads(pickle.dumps(opened(tmp_path)))
    study = source.list_studies().studies[0]
    assert source.read_report(study).text == "Clear."
    assert source.read_image(study.images[0]).columns == 50


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("folder", "plain", "num_studies", "num_patients", "num_reports", "sexes", "num_ages"),
    [
        (
            "hannover_cxr",
            PlainConfig(
                table="data.csv", image_path="images/{image_id}.jpg", report_column="",
                patient_column="patient_id", view_column="projection", sex_column="sex", age_column="age",
            ),
            185, 50, 0, {"M": 149, "F": 36}, 0,
        ),
        (
            "covid_cxr",
            PlainConfig(
                table="metadata.csv", image_path="images/{filename}", report_column="clinical_notes",
                patient_column="patientid", view_column="view", date_column="date", sex_column="sex", age_column="age",
            ),
            171, 104, 171, {"M": 96, "F": 65, "": 10}, 164,
        ),
    ],
)  # fmt: skip
def test_real_tables_are_read_whole(
    folder: str,
    plain: PlainConfig,
    num_studies: int,
    num_patients: int,
    num_reports: int,
    sexes: dict[str, int],
    num_ages: int,
) -> None:
    root = REAL_DATA / folder
    if not root.is_dir():
        pytest.skip(f"no {root}: set TRRG_REAL_DATA")
    source = opened(root, plain)
    listing = source.list_studies()
    assert listing.rejects == ()
    assert len(listing.studies) == num_studies
    assert len({study.subject_id for study in listing.studies}) == num_patients
    assert Counter(study.sex for study in listing.studies) == sexes
    assert sum(study.age_years is not None for study in listing.studies) == num_ages
    assert len([source.read_image(image) for study in listing.studies for image in study.images]) == num_studies
    reasons: Counter[str] = Counter()
    for study in listing.studies:
        try:
            source.read_report(study)
        except DataError as error:
            reasons[error.reason] += 1
    assert reasons == ({"missing_report": num_studies - num_reports} if num_reports < num_studies else {})


def test_texts_without_headings_are_the_section_that_is_named(tmp_path: Path) -> None:
    (tmp_path / "export.csv").write_text(HEADER + ROWS.splitlines()[2].replace("Stable.", '"Clear\n lungs."') + "\n")
    study = opened(tmp_path, PLAIN.model_copy(update={"report_section": "impression"})).list_studies().studies[0]
    assert study.report is not None
    parsed = ReportParser("chexpert14").parse(study.report)
    assert report_section(parsed, study.report, "impression") == "Clear lungs."
    assert report_section(parsed, study.report, "findings") == ""


def test_reports_in_files_are_of_no_named_section() -> None:
    with pytest.raises(ValidationError, match="need headings"):
        PlainConfig(table="t.csv", report_path_column="file", report_section="findings")
