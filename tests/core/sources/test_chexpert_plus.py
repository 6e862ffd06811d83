"""The published layout: 27 columns, a row per radiograph, files under PNG/, DICOM/ or as CheXpert's JPEGs."""

import csv
from collections import Counter
from pathlib import Path

import pytest

from trrg_core.config.settings import SourceConfig
from trrg_core.errors import ConfigError
from trrg_core.sources import open_source
from trrg_core.study import Listing

COLUMNS = [
    "path_to_image",
    "path_to_dcm",
    "frontal_lateral",
    "ap_pa",
    "deid_patient_id",
    "patient_report_date_order",
    "report",
    "section_narrative",
    "section_clinical_history",
    "section_history",
    "section_comparison",
    "section_technique",
    "section_procedure_comments",
    "section_findings",
    "section_impression",
    "section_end_of_impression",
    "section_summary",
    "section_accession_number",
    "age",
    "sex",
    "race",
    "ethnicity",
    "interpreter_needed",
    "insurance_type",
    "recent_bmi",
    "deceased",
    "split",
]


def row(patient: int, study: int, view: str = "1_frontal", **cells: str) -> dict[str, str]:
    split = cells.get("split", "train")
    path = f"{split}/patient{patient:05}/study{study}/view{view}"
    defaults = {
        "path_to_image": f"{path}.jpg",
        "path_to_dcm": f"{path}.dcm",
        "frontal_lateral": "Frontal" if view.endswith("frontal") else "Lateral",
        "ap_pa": "AP" if view.endswith("frontal") else "",
        "deid_patient_id": f"patient{patient:05}",
        "patient_report_date_order": str(study),
        "report": "NARRATIVE: ...",
        "section_clinical_history": "Invented cough.",
        "section_findings": "1. Clear lungs.\n\n2. Normal heart.",
        "section_impression": "\\n",
        "age": "62.0",
        "sex": "Female",
        "split": split,
    }
    return dict.fromkeys(COLUMNS, "") | defaults | cells


def listed(root: Path, rows: list[dict[str, str]], *, images: str = "PNG/{}.png", **settings: object) -> Listing:
    with (root / "df_chexpert_plus_240401.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    for one in rows if images else []:
        path = root / images.format(one["path_to_image"].removesuffix(".jpg"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"film")
    source = open_source(SourceConfig(kind="chexpert-plus", root=str(root), **settings))
    return source.list_studies()


def test_the_rows_of_a_study_are_its_radiographs(tmp_path: Path) -> None:
    listing = listed(tmp_path, [row(1, 2, "2_lateral"), row(1, 2), row(1, 1, ap_pa="PA")], validate_share=0)
    assert listing.rejects == ()
    first, second = listing.studies
    assert (second.subject_id, second.study_id, second.sex, second.age_years) == (
        "patient00001",
        "patient00001_study2",
        "F",
        62,
    )
    assert [(image.path, image.view_position) for image in second.images] == [
        ("PNG/train/patient00001/study2/view1_frontal.png", "AP"),
        ("PNG/train/patient00001/study2/view2_lateral.png", "LATERAL"),
    ]
    assert first.images[0].view_position == "PA"
    assert second.report == (
        " FINAL REPORT\n INDICATION:\n \n Invented cough.\n \n FINDINGS:\n \n 1. Clear lungs. 2. Normal heart.\n \n"
    )
    assert len({image.dicom_id for study in listing.studies for image in study.images}) == 3


def test_the_published_order_is_no_order_of_time(tmp_path: Path) -> None:
    listing = listed(tmp_path, [row(1, 1), row(1, 2)])
    assert {(study.study_date, study.prior_study_id) for study in listing.studies} == {("", "")}


def test_the_patients_that_radiologists_labelled_are_the_test(tmp_path: Path) -> None:
    rows = [row(patient, 1) for patient in range(200)] + [row(patient, 1, split="valid") for patient in range(300, 305)]
    listing = listed(tmp_path, rows, validate_share=0.2, test_share=0.3)
    split_of = {study.subject_id: study.split for study in listing.studies}
    assert {split_of[f"patient{patient:05}"] for patient in range(300, 305)} == {"test"}
    counts = Counter(split_of[f"patient{patient:05}"] for patient in range(200))
    assert set(counts) == {"train", "validate"}
    assert 20 <= counts["validate"] <= 60


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        ("PNG/PNG/{}.png", "PNG/PNG/train/patient00001/study1/view1_frontal.png"),
        ("{}.png", "train/patient00001/study1/view1_frontal.png"),
        ("DICOM/{}.dcm", "DICOM/train/patient00001/study1/view1_frontal.dcm"),
        ("{}.jpg", "train/patient00001/study1/view1_frontal.jpg"),
        ("CheXpert-v1.0-small/{}.jpg", "CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg"),
    ],
)
def test_images_are_found_in_each_form_in_which_they_are_published(tmp_path: Path, images: str, expected: str) -> None:
    (study,) = listed(tmp_path, [row(1, 1)], images=images).studies
    assert study.images[0].path == expected


def test_a_download_of_the_last_patients_alone_is_found(tmp_path: Path) -> None:
    for patient in range(980, 1000):
        path = tmp_path / f"PNG/train/patient{patient:05}/study1/view1_frontal.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"film")
    listing = listed(tmp_path, [row(patient, 1) for patient in range(1000)], images="")
    assert len(listing.studies) == 1000  # those without a file are set aside where files are read
    assert {study.images[0].path.partition("/")[0] for study in listing.studies} == {"PNG"}


def test_without_an_image_or_the_table_nothing_is_listed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none of 1 images from all parts of .* source\.image_folder"):
        listed(tmp_path, [row(1, 1)], images="")
    (tmp_path / "df_chexpert_plus_240401.csv").unlink()
    with pytest.raises(ConfigError, match=r"no df_chexpert_plus_240401\.csv"):
        open_source(SourceConfig(kind="chexpert-plus", root=str(tmp_path))).list_studies()


def test_copies_of_a_report_that_were_de_identified_differently_are_one_report(tmp_path: Path) -> None:
    rows = [row(1, 1, section_comparison="3/4/1999"), row(1, 1, "2_lateral", section_comparison="5/6/2001", age="63")]
    listing = listed(tmp_path, rows)
    (study,) = listing.studies
    assert "3/4/1999" in str(study.report)
    assert listing.counts["report_copies_differ"] == 1
    assert (study.sex, study.age_years, len(study.images)) == ("F", None, 2)


def test_rows_that_cannot_be_used_have_their_reasons(tmp_path: Path) -> None:
    rows = [
        row(1, 1),
        row(1, 1),  # counted as a duplicate row
        row(2, 1, deid_patient_id=""),
        row(3, 1, deid_patient_id="patient00004"),
        row(5, 1, path_to_image="../patient00005/study1/view1_frontal.jpg"),
        row(6, 1, path_to_image="film.jpg"),
        row(7, 1, split="holdout"),
        row(8, 1),
        row(8, 1, "2_lateral", split="valid", path_to_image="valid/patient00008/study1/view2_lateral.jpg"),
        row(9, 1, section_findings="", section_clinical_history=""),  # empty: set aside when it is read
    ]
    listing = listed(tmp_path, rows)
    assert {study.study_id for study in listing.studies} == {"patient00001_study1", "patient00009_study1"}
    assert Counter(reject.reason for reject in listing.rejects) == {
        "bad_id": 2,
        "subject_mismatch": 1,
        "path_escape": 1,
        "unknown_split": 1,
        "duplicate_id": 2,
    }
    assert listing.counts["duplicate_rows"] == 1
    assert not any("cough" in str(reject) for reject in listing.rejects)
