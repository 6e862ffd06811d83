import io
import json
import os
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from tests.real_data import REAL_DATA
from trrg_core.config.settings import SourceConfig
from trrg_core.errors import ConfigError, DataError
from trrg_core.sources import open_source, read_report
from trrg_core.sources.iu_xray import list_studies
from trrg_core.sources.report_layout import format_report
from trrg_core.storage.store import open_store
from trrg_core.study import Listing, Study


def xml(uid: int, findings: str = "The lungs are clear.", impression: str = "Normal.", extra: str = "") -> bytes:
    return f"""<?xml version="1.0" encoding="utf-8"?>{extra}<eCitation><IUXRId id="{uid}"/>
      <MedlineCitation><Article><Abstract>
      <AbstractText Label="COMPARISON">None.</AbstractText><AbstractText Label="INDICATION"/>
      <AbstractText Label="FINDINGS">{findings}</AbstractText>
      <AbstractText Label="IMPRESSION">{impression}</AbstractText></Abstract></Article></MedlineCitation>
      <parentImage id="CXR{uid}_IM-0001-1001"/><parentImage id="CXR{uid}_IM-0001-2001"/></eCitation>""".encode()


def listed(root: Path, **settings: object) -> Listing:
    return list_studies(open_store(str(root)), SourceConfig(kind="iu-xray", root=str(root), **settings))


def write_xml(root: Path, files: dict[str, bytes]) -> None:
    folder = root / "ecgen-radiology"
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)


def ids(listing: Listing) -> list[str]:
    return [study.study_id for study in listing.studies]


def test_xml_becomes_a_study_laid_out_as_mimic_lays_out_reports(tmp_path: Path) -> None:
    write_xml(tmp_path, {"1.xml": xml(1, findings="Heart\n  is\tnormal.\nIMPRESSION: none")})
    study = listed(tmp_path).studies[0]
    assert (study.subject_id, study.study_id, study.images) == ("CXR1", "CXR1", ())
    assert study.report == (
        " FINAL REPORT\n COMPARISON:\n \n None.\n \n"
        " FINDINGS:\n \n Heart is normal. IMPRESSION: none\n \n IMPRESSION:\n \n Normal.\n \n"
    )
    assert read_report(str(tmp_path), study).text == study.report


def test_a_report_without_any_section_is_empty(tmp_path: Path) -> None:
    assert format_report({"FINDINGS": " ", "IMPRESSION": ""}) == ""
    with pytest.raises(DataError) as caught:
        read_report(str(tmp_path), Study(subject_id="a", study_id="a", split="train", report_path="1.xml", report=""))
    assert caught.value.reason == "empty_report"


def test_a_tgz_is_the_same_as_its_folder(tmp_path: Path) -> None:
    files = {f"{uid}.xml": xml(uid) for uid in (1, 2, 3)}
    (tmp_path / "folder").mkdir()
    (tmp_path / "archive").mkdir()
    write_xml(tmp_path / "folder", files)
    pack(tmp_path / "archive", {f"ecgen-radiology/{name}": data for name, data in files.items()})
    assert listed(tmp_path / "archive").studies == listed(tmp_path / "folder").studies


def pack(root: Path, files: dict[str, bytes], links: tuple[str, ...] = ()) -> None:
    with tarfile.open(root / "ecgen-radiology.tgz", "w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        for name in links:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(member)


def test_a_hostile_archive_is_read_without_leaving_it(tmp_path: Path) -> None:
    files = {"a/1.xml": xml(1), "../2.xml": xml(2), "/tmp/3.xml": xml(3), "a/4.xml": b"<" * 1_000_001}
    pack(tmp_path, files, links=("a/5.xml",))
    listing = listed(tmp_path)
    assert ids(listing) == ["CXR1"]
    assert Counter(reject.reason for reject in listing.rejects) == {
        "path_escape": 2,
        "file_too_large": 1,
        "not_a_file": 1,
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ecgen-radiology.tgz"]


def test_a_cut_archive_stops(tmp_path: Path) -> None:
    pack(tmp_path, {f"a/{uid}.xml": xml(uid, findings=os.urandom(900).hex()) for uid in range(40)})
    file = tmp_path / "ecgen-radiology.tgz"
    file.write_bytes(file.read_bytes()[:20_000])
    with pytest.raises(ConfigError, match="truncated or corrupt"):
        listed(tmp_path)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"<eCitation><IUXRId id='7'/>", "malformed_xml"),
        (b"", "malformed_xml"),
        (b"<eCitation/>", "bad_id"),
        (b"<eCitation><IUXRId id='../7'/></eCitation>", "bad_id"),
        (xml(7, extra='<!DOCTYPE x [<!ENTITY a "b">]>'), "unsafe_xml"),
    ],
)
def test_an_xml_that_cannot_be_used_has_its_reason(tmp_path: Path, data: bytes, reason: str) -> None:
    write_xml(tmp_path, {"1.xml": xml(1), "7.xml": data})
    listing = listed(tmp_path)
    assert ids(listing) == ["CXR1"]
    assert [(reject.reason, reject.path) for reject in listing.rejects] == [(reason, "ecgen-radiology/7.xml")]


def test_two_files_of_one_report_count_once_or_not_at_all(tmp_path: Path) -> None:
    write_xml(tmp_path, {"1.xml": xml(1), "1b.xml": xml(1), "2.xml": xml(2), "2b.xml": xml(2, findings="Else.")})
    listing = listed(tmp_path)
    assert ids(listing) == ["CXR1"]
    assert listing.counts["duplicate_rows"] == 1
    assert [(reject.reason, reject.study_id) for reject in listing.rejects] == [("duplicate_id", "CXR2")] * 2


def test_images_are_found_by_either_of_their_names(tmp_path: Path) -> None:
    write_xml(tmp_path, {"1.xml": xml(1), "2.xml": xml(2)})
    (tmp_path / "images/images_normalized").mkdir(parents=True)
    (tmp_path / "images/CXR1_IM-0001-1001.png").touch()
    (tmp_path / "images/images_normalized/2_IM-0001-2001.dcm.png").touch()
    listing = listed(tmp_path)
    assert [[image.path for image in study.images] for study in listing.studies] == [
        ["images/CXR1_IM-0001-1001.png"],
        ["images/images_normalized/2_IM-0001-2001.dcm.png"],
    ]
    assert listing.counts["images_not_found"] == 2


def test_images_of_a_configured_folder_are_expected_there(tmp_path: Path) -> None:
    write_xml(tmp_path, {"1.xml": xml(1)})
    study = listed(tmp_path, image_folder="scans").studies[0]
    assert study.images[0].path == "scans/CXR1_IM-0001-1001.png"
    source = open_source(SourceConfig(kind="iu-xray", root=str(tmp_path)))
    with pytest.raises(DataError) as caught:
        source.read_image(study.images[0])
    assert caught.value.reason == "missing_image"


def test_the_fixed_split_is_kept_and_the_rest_hashed_or_set_aside(tmp_path: Path) -> None:
    write_xml(tmp_path, {f"{uid}.xml": xml(uid) for uid in (1, 2, 3, 4)})
    (tmp_path / "r2gen_split.csv").write_text("id,split,n_images\nCXR1_IM-1,test,2\nCXR2_IM-1,val,2\nCXR3_X,train,2\n")
    listing = listed(tmp_path)
    assert [study.split for study in listing.studies[:3]] == ["test", "validate", "train"]
    assert listing.counts["split_by_hash"] == 1
    strict = listed(tmp_path, on_missing_split="reject")
    assert [(reject.reason, reject.study_id) for reject in strict.rejects] == [("missing_split", "CXR4")]


def test_the_csv_pair_joins_reports_and_views(tmp_path: Path) -> None:
    (tmp_path / "indiana_reports.csv").write_text(
        "uid,MeSH,Problems,image,indication,comparison,findings,impression\n"
        '1,normal,normal,x,Cough,None,"Clear, and\nstable.",Normal.\n'
        "2,normal,normal,x,,,,\n"
        "2,normal,normal,x,,,,other\n"
        '3,normal,"normal,x,,,,\n'
        "4,normal,normal,x,,,Clear.,\n"
    )
    (tmp_path / "indiana_projections.csv").write_text(
        "uid,filename,projection\n1,1_IM-1.dcm.png,Frontal\n1,1_IM-2.dcm.png,Lateral\n9,9_IM-1.dcm.png,Frontal\n"
    )
    (tmp_path / "images").mkdir()
    (tmp_path / "images/1_IM-1.dcm.png").touch()
    listing = listed(tmp_path)
    assert ids(listing) == ["CXR1", "CXR4"]
    assert " FINDINGS:\n \n Clear, and stable.\n" in str(listing.studies[0].report)
    image = listing.studies[0].images[0]
    assert (image.dicom_id, image.path, image.view_position) == ("1_IM-1", "images/1_IM-1.dcm.png", "FRONTAL")
    assert {(reject.reason, reject.study_id) for reject in listing.rejects} == {
        ("duplicate_id", "2"),
        ("malformed_row", ""),
        ("unknown_study", "9"),
    }


def test_an_annotation_brings_its_own_split(tmp_path: Path) -> None:
    entry = {"id": "CXR1_IM-1", "report": "Clear.", "image_path": ["CXR1_IM-1/0.png"]}
    lists = {
        "train": [entry, entry, {"id": "CXR2"}, {"id": "x", "report": "", "image_path": []}],
        "val": [{**entry, "id": "CXR3_IM-1"}, {**entry, "id": "CXR4", "image_path": ["../../x.png"]}],
        "test": [{**entry, "id": "CXR5"}],
    }
    (tmp_path / "annotation.json").write_text(json.dumps(lists))
    (tmp_path / "r2gen_split.csv").write_text("id,split\nCXR1,test\n")
    (tmp_path / "images/CXR1_IM-1").mkdir(parents=True)
    (tmp_path / "images/CXR1_IM-1/0.png").touch()
    listing = listed(tmp_path)
    assert [(study.study_id, study.split) for study in listing.studies] == [
        ("CXR1", "train"),
        ("CXR3", "validate"),
        ("CXR4", "validate"),
        ("CXR5", "test"),
    ]
    assert listing.studies[0].images[0].path == "images/CXR1_IM-1/0.png"
    assert listing.counts["duplicate_rows"] == 1
    assert Counter(reject.reason for reject in listing.rejects) == {"malformed_row": 1, "bad_id": 1, "path_escape": 1}


def test_a_folder_without_reports_stops(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected one of ecgen-radiology\.tgz"):
        listed(tmp_path)
    write_xml(tmp_path, {"1.xml": xml(1)})
    with pytest.raises(ConfigError, match=r"indiana_reports\.csv"):
        listed(tmp_path, iu_form="kaggle")


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("form", "num_studies", "num_empty", "num_hashed"),
    [("xml", 2769, 23, 715), ("kaggle", 2691, 21, 637), ("r2gen", 2670, 0, 0)],
)
def test_real_iu_xray_is_read_whole(form: str, num_studies: int, num_empty: int, num_hashed: int) -> None:
    root = REAL_DATA / "iu_xray"
    if not root.is_dir():
        pytest.skip(f"no {root}: set TRRG_REAL_DATA")
    source = open_source(SourceConfig(kind="iu-xray", root=str(root), iu_form=form))
    listing = source.list_studies()
    assert len(listing.studies) == num_studies
    assert listing.rejects == ()
    assert listing.counts.get("split_by_hash", 0) == num_hashed
    reasons: Counter[str] = Counter()
    for study in listing.studies:
        try:
            source.read_report(study)
        except DataError as error:
            reasons[error.reason] += 1
    assert reasons == ({"empty_report": num_empty} if num_empty else {})
    images = [image for study in listing.studies for image in study.images]
    assert len(images) == 3
    assert all(max(source.read_image(image).rows, source.read_image(image).columns) <= 512 for image in images)


@pytest.mark.real_data
def test_the_fixed_split_of_r2gen_has_its_known_sizes() -> None:
    path = REAL_DATA / "iu_xray/r2gen_split.csv"
    if not path.is_file():
        pytest.skip(f"no {path}: set TRRG_REAL_DATA")
    source = open_source(SourceConfig(kind="iu-xray", root=str(path.parent), iu_form="xml", on_missing_split="reject"))
    listing = source.list_studies()
    fixed = Counter(line.split(",")[1] for line in path.read_text().splitlines()[1:])
    assert fixed == {"train": 2069, "val": 296, "test": 590}
    assert Counter(reject.reason for reject in listing.rejects) == {"missing_split": 715}
    assert len(listing.studies) == 2769 - 715
