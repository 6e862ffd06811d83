"""Every source through the whole ingest: invented text-only reports, and the licensed data with exact counts."""

import io
from collections import Counter
from pathlib import Path

import pydicom
import pytest

from pipelines.jobs import ingest
from pipelines.records.job_result import JobResult
from tests.pipelines.invented_store import parse_studies
from trrg_core.config.load import load_config
from trrg_core.errors import DataError
from trrg_core.storage.store import Store, open_store
from trrg_core.tables.commit_history import history
from trrg_core.tables.delta import count_rows, read_table
from trrg_core.tables.table_ref import TableRef

XML = """<?xml version="1.0" encoding="utf-8"?><eCitation><IUXRId id="{uid}"/><Abstract>
<AbstractText Label="FINDINGS">{findings}</AbstractText><AbstractText Label="IMPRESSION"/></Abstract>
<parentImage id="CXR{uid}_IM-0001-1001"/></eCitation>"""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(ingest, "READ_HERE", 10_000)
    return open_store(str(tmp_path / "store"))


def run(store: Store, kind: str, root: Path, *words: str) -> JobResult:
    settings = [f"source.kind={kind}", f"source.root={root}", *(f"source.{word}" for word in words)]
    settings.append("ingest.max_reject_share=0.4")
    return ingest.run(load_config("tiny", settings), store, {})


def test_reports_without_images_are_ingested_and_parsed(tmp_path: Path, store: Store) -> None:
    folder = tmp_path / "iu/ecgen-radiology"
    folder.mkdir(parents=True)
    for uid, findings in ((1, "Small left pleural effusion."), (2, "No pleural effusion."), (3, "")):
        (folder / f"{uid}.xml").write_text(XML.format(uid=uid, findings=findings))
    done = run(store, "iu-xray", tmp_path / "iu")
    assert (done.counts["studies"], done.counts["images_not_found"], done.rejects) == (2, 3, {"empty_report": 1})
    rows = read_table(store, parse_studies(store, done.ref), columns=["study_id", "labels"]).to_pylist()
    assert {row["study_id"]: row["labels"]["pleural_effusion"] for row in rows} == {"CXR1": 1, "CXR2": 0}


@pytest.fixture
def real(real_data: Path, request: pytest.FixtureRequest) -> Path:
    """A folder of the licensed data, by the test's `folder`."""
    folder = real_data / request.param
    if not folder.is_dir():
        pytest.skip(f"no {folder}: set TRRG_REAL_DATA")
    return folder


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("real", "form", "num_in", "rejects"),
    [
        ("iu_xray", "xml", 2769, {"empty_report": 23}),
        ("iu_xray", "kaggle", 2691, {"empty_report": 21}),
        ("iu_xray", "r2gen", 2670, {}),
    ],
    indirect=["real"],
)
def test_iu_xray_is_ingested_in_every_form(
    real: Path, form: str, num_in: int, rejects: dict[str, int], store: Store
) -> None:
    done = run(store, "iu-xray", real, f"iu_form={form}")
    assert (done.counts["studies_in"], done.rejects) == (num_in, rejects)
    ref = TableRef.parse(done.ref)
    assert count_rows(store, ref) == num_in - sum(rejects.values())
    images = [image for row in read_table(store, ref, columns=["images"]).to_pylist() for image in row["images"]]
    assert len(images) == 3


@pytest.mark.real_data
@pytest.mark.parametrize("real", ["iu_xray"], indirect=True)
def test_the_archive_of_reports_alone_is_ingested_and_parsed(real: Path, tmp_path: Path, store: Store) -> None:
    root = tmp_path / "alone"
    root.mkdir()
    (root / "ecgen-radiology.tgz").write_bytes((real / "ecgen-radiology.tgz").read_bytes())
    done = run(store, "iu-xray", root)
    assert (done.counts["studies"], done.rejects) == (2746, {"empty_report": 23})
    reports = read_table(store, parse_studies(store, done.ref), columns=["study_id", "sentences"])
    assert reports.num_rows == 2746
    assert sum(bool(sentences) for sentences in reports["sentences"].to_pylist()) > 2700


@pytest.mark.real_data
@pytest.mark.parametrize("real", ["mimic_like"], indirect=True)
def test_the_tree_in_mimic_layout_is_ingested_whole(real: Path, store: Store) -> None:
    done = run(store, "mimic-cxr", real)
    assert (done.counts["studies"], done.rejects) == (150, {})
    rows = read_table(store, TableRef.parse(done.ref), columns=["split", "images"]).to_pylist()
    assert Counter(row["split"] for row in rows) == {"train": 125, "validate": 10, "test": 15}
    assert sum(len(row["images"]) for row in rows) == 282


@pytest.mark.real_data
@pytest.mark.parametrize("real", ["covid_cxr"], indirect=True)
def test_a_hospitals_table_is_ingested(real: Path, store: Store) -> None:
    columns = ("report_column=clinical_notes", "patient_column=patientid", "view_column=view", "date_column=date")
    plain = [f"plain.{word}" for word in ("table=metadata.csv", "image_path=images/{filename}", *columns)]
    done = run(store, "plain", real, *plain)
    assert (done.counts["studies"], done.rejects) == (171, {})


@pytest.mark.real_data
@pytest.mark.parametrize("real", ["hannover_cxr"], indirect=True)
def test_a_table_without_reports_stops_and_says_of_each_row_why(real: Path, store: Store) -> None:
    columns = ("report_column=''", "patient_column=patient_id", "view_column=projection")
    plain = [f"plain.{word}" for word in ("table=data.csv", "image_path=images/{image_id}.jpg", *columns)]
    with pytest.raises(DataError, match=r"missing_report.*185"):
        run(store, "plain", real, *plain)
    rejects = read_table(store, history(store, "rejects")[0].ref)
    assert Counter(rejects["reason"].to_pylist()) == {"missing_report": 185}


@pytest.mark.real_data
@pytest.mark.parametrize("real", ["dicom"], indirect=True)
def test_dicom_is_ingested_and_another_body_part_is_set_aside(real: Path, tmp_path: Path, store: Store) -> None:
    root = tmp_path / "export"
    root.mkdir()
    for name in ("RG1_J2KI.dcm", "xrv_test.dcm"):
        (root / name).write_bytes((real / name).read_bytes())
    foot = pydicom.dcmread(real / "xrv_test.dcm")
    foot.BodyPartExamined = "FOOT"
    stream = io.BytesIO()
    foot.save_as(stream)
    (root / "foot.dcm").write_bytes(stream.getvalue())
    names = ("RG1_J2KI", "xrv_test", "foot")
    (root / "t.csv").write_text("patient,image,report\n" + "".join(f"p{n},{n}.dcm,Invented.\n" for n in names))
    settings = [f"source.{word}" for word in ("kind=plain", f"root={root}", "plain.table=t.csv")]
    done = ingest.run(
        load_config("tiny", [*settings, "ingest.max_side_px=512", "ingest.max_reject_share=0.4"]), store, {}
    )
    assert done.rejects == {"wrong_body_part": 1, "no_usable_image": 1}
    rows = read_table(store, TableRef.parse(done.ref)).to_pylist()
    sizes = {row["subject_id"]: (row["images"][0]["rows"], row["images"][0]["columns"]) for row in rows}
    # 1955 x 1841 and 1024 x 1024, long side 512
    assert sizes == {"pRG1_J2KI": (512, 482), "pxrv_test": (512, 512)}
