"""The published layout: metadata/SPLIT_metadata_view_position.json, one entry per study, and deid_png/."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from trrg_core.config.settings import SourceConfig
from trrg_core.errors import ConfigError
from trrg_core.sources import open_source
from trrg_core.study import Listing


def entry(patient: str, study: str, views: tuple[str, ...] = ("PA",), **values: Any) -> dict[str, Any]:
    folder = f"../deid_png/{patient}/A{study}/studies/{study}/series/S1/instances"
    return {
        "PatientID": patient,
        "AccessionNumber": f"A{study}",
        "StudyInstanceUid": study,
        "StudyDate": "20240131",
        "PatientSex": "M",
        "PatientAge": "064Y",
        "Indication": "Invented cough.",
        "Comparison": "None.",
        "Findings": "Clear lungs.\nNormal heart.",
        "Impression": "Normal.",
        "ImagePath": [f"{folder}/{study}-{number}.png" for number in range(len(views))],
        "ImageViewPosition": list(views),
    } | values


def write(root: Path, split: str, entries: dict[str, Any]) -> None:
    (root / "metadata").mkdir(exist_ok=True)
    (root / f"metadata/{split}_metadata_view_position.json").write_text(json.dumps(entries))


def listed(root: Path, **settings: Any) -> Listing:
    return open_source(SourceConfig(kind="rexgradient", root=str(root), **settings)).list_studies()


def test_an_entry_is_a_study_in_the_split_of_its_file(tmp_path: Path) -> None:
    write(tmp_path, "train", {"pG1_A7_7": entry("G1", "7", ("POSTERO_ANTERIOR", "LAT", "UNKNOWN"))})
    write(tmp_path, "valid", {"pG2_A8_8": entry("G2", "8")})
    write(tmp_path, "test", {"pG3_A9_9": entry("G3", "9", PatientSex="O", PatientAge="011M", StudyDate="")})
    first, second, third = listed(tmp_path).studies
    assert [study.split for study in (first, second, third)] == ["train", "validate", "test"]
    assert (first.subject_id, first.study_id, first.study_date) == ("G1", "7", "20240131")
    assert (first.sex, first.age_years, third.sex, third.age_years) == ("M", 64, "", None)
    assert [image.view_position for image in first.images] == ["PA", "LATERAL", ""]
    assert first.images[0].path == "deid_png/G1/A7/studies/7/series/S1/instances/7-0.png"
    assert first.report == (
        " FINAL REPORT\n INDICATION:\n \n Invented cough.\n \n FINDINGS:\n \n Clear lungs. Normal heart.\n \n"
        " IMPRESSION:\n \n Normal.\n \n"
    )


def test_studies_of_a_patient_are_ordered_by_their_dates(tmp_path: Path) -> None:
    write(tmp_path, "train", {"a": entry("G1", "7"), "b": entry("G1", "8", StudyDate="20240201")})
    assert [study.prior_study_id for study in listed(tmp_path).studies] == ["", "7"]


def test_the_patient_can_be_named_by_the_key_alone(tmp_path: Path) -> None:
    write(tmp_path, "train", {"pG1_A7_7": entry("G1", "7", PatientID=None)})
    assert listed(tmp_path).studies[0].subject_id == "G1"


def test_no_patient_is_made_of_a_key_of_another_form(tmp_path: Path) -> None:
    write(tmp_path, "train", {"1.2.7_a": entry("G1", "7", PatientID=None), "x": entry("G1", "8", PatientID=" ")})
    listing = listed(tmp_path)
    assert listing.studies == ()
    assert [reject.reason for reject in listing.rejects] == ["bad_id", "bad_id"]


def test_entries_that_cannot_be_used_have_their_reasons(tmp_path: Path) -> None:
    write(
        tmp_path,
        "train",
        {
            "good": entry("G1", "1"),
            "again": entry("G1", "1"),
            "other": entry("G2", "2"),
            "conflict": entry("G2", "2", Findings="Different."),
            "no id": entry("G3", ""),
            "no images": entry("G4", "4", ()),
            "views": entry("G5", "5", ImageViewPosition=["PA", "AP"]),
            "escape": entry("G6", "6", ImagePath=["../../etc/passwd"]),
            "text": "not an entry",
            "both": entry("G9", "9"),
        },
    )
    write(tmp_path, "test", {"both": entry("G9", "10")})
    listing = listed(tmp_path)
    assert [study.study_id for study in listing.studies] == ["1"]
    assert listing.counts["duplicate_rows"] == 2
    assert Counter(reject.reason for reject in listing.rejects) == {
        "duplicate_id": 2,
        "bad_id": 1,
        "no_images": 1,
        "malformed_row": 2,
        "path_escape": 1,
        "patient_in_two_splits": 2,
    }
    assert not any("Different" in str(reject) for reject in listing.rejects)


def test_a_folder_without_the_json_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train_metadata.csv").write_text("id,Findings\n")
    with pytest.raises(ConfigError, match=r"train_metadata_view_position\.json.*The CSV files name no image"):
        listed(tmp_path)
    for text in ("{", "[]"):
        (tmp_path / "train_metadata_view_position.json").write_text(text)
        with pytest.raises(ConfigError, match=r"not a JSON file|expected an object"):
            listed(tmp_path)
