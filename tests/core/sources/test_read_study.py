"""What of a DICOM header reaches a row of `studies`, and what of its pixels is flagged."""

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from tests.core.imaging.test_decode import dicom
from trrg_core.config.settings import IngestConfig, PlainConfig, SourceConfig
from trrg_core.sources import open_source
from trrg_core.sources.read_study import read_study


def read(root: Path, files: dict[str, bytes], *, columns: str = "", cells: str = "", **ingest: Any) -> dict[str, Any]:
    for name, data in files.items():
        (root / name).write_bytes(data)
    rows = "".join(f"P1,S1,{name},Clear.{cells}\n" for name in files)
    (root / "export.csv").write_text(f"patient,study,image,report{columns}\n{rows}")
    names = {name: column for name, column in (("sex_column", "sex"), ("age_column", "age")) if column in columns}
    plain = PlainConfig(table="export.csv", study_column="study", **names)
    source = open_source(SourceConfig(kind="plain", root=str(root), plain=plain), IngestConfig(**ingest))
    (study,) = source.list_studies().studies
    row, rejects = read_study(source, study, "stamp")
    assert rejects == []
    assert row is not None
    return row


def test_sex_and_age_are_those_of_the_header_where_the_source_has_none(tmp_path: Path) -> None:
    files = {"a.dcm": dicom(PatientSex="F", PatientAge="064Y"), "b.dcm": dicom()}
    row = read(tmp_path, files)
    assert (row["sex"], row["age_years"]) == ("F", 64)
    row = read(tmp_path, files, columns=",sex,age", cells=",M,70")
    assert (row["sex"], row["age_years"]) == ("M", 70)


def test_headers_that_disagree_are_not_believed(tmp_path: Path) -> None:
    files = {"a.dcm": dicom(PatientSex="F", PatientAge="064Y"), "b.dcm": dicom(PatientSex="M", PatientAge="006M")}
    row = read(tmp_path, files)
    assert (row["sex"], row["age_years"]) == ("", 64)  # an age in months is not known


def test_the_row_names_the_tags_that_were_read_and_holds_no_other(tmp_path: Path) -> None:
    header = pydicom.dcmread(pydicom.filebase.DicomBytesIO(dicom(PatientSex="F", StudyDescription="CALL DR DOE")))
    header.private_block(0x0009, "INVENTED", create=True).add_new(1, "LO", "DOE^JANE PRIVATE")
    header.save_as(tmp_path / "in.dcm")
    row = read(tmp_path, {"a.dcm": (tmp_path / "in.dcm").read_bytes()})
    (image,) = row["images"]
    technical = {"BitsStored", "BodyPartExamined", "Columns", "Modality", "PhotometricInterpretation", "Rows"}
    assert set(image["kept_tags"]) == {*technical, "PatientSex"}
    kept = {key: value for key, value in row.items() if key != "images"} | {"path": image["path"]}
    for secret in ("DOE", "1234567", "PRIVATE", "INVENTED", "CALL"):
        assert secret not in str(kept)
        assert secret.encode() not in image["jpeg"]


@pytest.mark.parametrize(("setting", "expected"), [("dicom", (1, None)), ("all", (1, 1)), ("off", (None, None))])
def test_burned_in_text_is_counted_and_the_film_is_kept(
    tmp_path: Path, setting: str, expected: tuple[Any, Any]
) -> None:
    film = Pillow.new("L", (600, 700), 80)
    ImageDraw.Draw(film).text((20, 20), "DOEJANE1961", fill=255, font=ImageFont.load_default(size=24))
    film.save(tmp_path / "film.jpg", quality=95)
    files = {"a.dcm": dicom(np.asarray(film)), "b.jpg": (tmp_path / "film.jpg").read_bytes()}
    row = read(tmp_path, files, find_burned_in_text=setting)
    assert tuple(image["text_rows"] for image in row["images"]) == expected
