"""The corpus on disk, in the layout of MIMIC-CXR-JPG: `files/p10/p10000032/s50414267.txt` and its neighbours, with
the `patients.csv.gz` of MIMIC-IV.

Last room: patients and studies -> text files, JPEGs and the gzipped CSVs. What is true of each study is written
beside the tree, to `<root>.truth.jsonl.gz`, so that no reader of the tree can see it.
"""

import csv
import gzip
import hashlib
import io
import json
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from trrg_core.labels import load_label_set
from trrg_core.sources.sample.film import encode_jpeg
from trrg_core.sources.sample.ground_truth import Patient, StudyTruth, imagine_patient
from trrg_core.sources.sample.radiograph import take_radiograph
from trrg_core.sources.sample.reports import Report, write_report

_VIEW_NAMES = {"PA": "postero-anterior", "AP": "antero-posterior", "LATERAL": "lateral"}
_ANCHOR_YEARS = "2014 - 2016"  # the years that MIMIC-IV says a patient's own years stand for
_METADATA_COLUMNS = (
    "dicom_id",
    "subject_id",
    "study_id",
    "PerformedProcedureStepDescription",
    "ViewPosition",
    "Rows",
    "Columns",
    "StudyDate",
    "StudyTime",
    "ProcedureCodeSequence_CodeMeaning",
    "ViewCodeSequence_CodeMeaning",
    "PatientOrientationCodeSequence_CodeMeaning",
)


@dataclass(frozen=True, kw_only=True)
class SampleSummary:
    """What `write_sample` wrote. `labels` counts the studies that are POSITIVE for each observation."""

    root: Path
    truth_path: Path
    num_patients: int
    num_studies: int
    num_images: int
    splits: dict[str, int]
    labels: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class DraftStudy:
    """A study before its pictures are taken: who, what is true of it, what its report says."""

    patient: Patient
    truth: StudyTruth
    report: Report


@dataclass(frozen=True, kw_only=True)
class _TakenImage:
    dicom_id: str
    view: str
    rows: int
    columns: int


def draft_sample(num_studies: int, seed: int) -> Iterator[DraftStudy]:
    """The first `num_studies` studies of this seed's corpus, without pictures; a longer corpus begins alike."""
    written = 0
    for number in count():
        patient = imagine_patient(seed, number)
        for truth in patient.studies:
            if written == num_studies:
                return
            yield DraftStudy(patient=patient, truth=truth, report=write_report(patient, truth, seed))
            written += 1


def write_sample(
    root: Path,
    *,
    num_studies: int,
    seed: int,
    on_progress: Callable[[int], None] | None = None,
    num_processes: int = 1,
) -> SampleSummary:
    """Writes an invented corpus under `root` (made if need be); its truth goes to `<root>.truth.jsonl.gz`.

    The same arguments give the same bytes, whatever `num_processes` is.

    Args:
        root: folder of the tree, empty or not yet there.
        num_studies: studies to write, at least one.
        seed: chooses the corpus.
        on_progress: called with the number of studies written so far.
        num_processes: worker processes that draw.

    Raises:
        ValueError: if `num_studies` or `num_processes` is less than one, or `root` holds anything.
    """
    if num_studies < 1 or num_processes < 1:
        raise ValueError(f"num_studies {num_studies} and num_processes {num_processes} must be at least 1")
    if root.exists() and any(root.iterdir()):
        raise ValueError(f"{root} is not empty: the sample is written into a new folder")
    root.mkdir(parents=True, exist_ok=True)
    drafts = list(draft_sample(num_studies, seed))
    images: list[tuple[_TakenImage, ...]] = []
    for taken in _spread(partial(_write_study, root=root, seed=seed), drafts, num_processes):
        images.append(taken)
        if on_progress is not None:
            on_progress(len(images))
    _write_tables(root, drafts, images)
    truth_path = root.with_name(f"{root.name}.truth.jsonl.gz")
    _write_gzip(truth_path, "".join(json.dumps(_truth_record(draft)) + "\n" for draft in drafts))
    return _summarise(root, truth_path, drafts, images)


def _spread(
    job: Callable[[DraftStudy], tuple[_TakenImage, ...]], drafts: Sequence[DraftStudy], num_processes: int
) -> Iterator[tuple[_TakenImage, ...]]:
    if num_processes == 1:
        yield from map(job, drafts)
        return
    with multiprocessing.get_context("spawn").Pool(num_processes) as pool:
        yield from pool.imap(job, drafts, chunksize=16)


def _write_study(draft: DraftStudy, *, root: Path, seed: int) -> tuple[_TakenImage, ...]:
    folder = root / _study_path(draft.truth)
    folder.mkdir(parents=True)
    folder.with_suffix(".txt").write_bytes(draft.report.text.encode("ascii"))
    taken = []
    for view in draft.truth.views:
        picture = take_radiograph(draft.patient, draft.truth, view, seed)
        dicom_id = _dicom_id(seed, draft.truth.study_id, view)
        (folder / f"{dicom_id}.jpg").write_bytes(encode_jpeg(picture))
        taken.append(_TakenImage(dicom_id=dicom_id, view=view, rows=picture.height, columns=picture.width))
    return tuple(taken)


def _study_path(truth: StudyTruth) -> str:
    return f"files/p{truth.subject_id[:2]}/p{truth.subject_id}/s{truth.study_id}"


def _dicom_id(seed: int, study_id: str, view: str) -> str:
    digits = hashlib.sha256(f"sample/{seed}/{study_id}/{view}".encode()).hexdigest()
    return "-".join(digits[start : start + 8] for start in range(0, 40, 8))


def _write_tables(root: Path, drafts: Sequence[DraftStudy], images: Sequence[tuple[_TakenImage, ...]]) -> None:
    truths = [draft.truth for draft in drafts]
    each = [(truth, image) for truth, taken in zip(truths, images, strict=True) for image in taken]
    _write_csv(
        root / "cxr-record-list.csv.gz",
        ("subject_id", "study_id", "dicom_id", "path"),
        ((t.subject_id, t.study_id, i.dicom_id, f"{_study_path(t)}/{i.dicom_id}.dcm") for t, i in each),
    )
    _write_csv(
        root / "cxr-study-list.csv.gz",
        ("subject_id", "study_id", "path"),
        ((t.subject_id, t.study_id, f"{_study_path(t)}.txt") for t in truths),
    )
    _write_csv(root / "mimic-cxr-2.0.0-metadata.csv.gz", _METADATA_COLUMNS, (_metadata_row(t, i) for t, i in each))
    _write_csv(
        root / "mimic-cxr-2.0.0-split.csv.gz",
        ("dicom_id", "study_id", "subject_id", "split"),
        ((i.dicom_id, t.study_id, t.subject_id, t.split) for t, i in each),
    )
    _write_csv(
        root / "patients.csv.gz",
        ("subject_id", "gender", "anchor_age", "anchor_year", "anchor_year_group", "dod"),
        (_patient_row(patient) for patient in {draft.patient.number: draft.patient for draft in drafts}.values()),
    )
    names = load_label_set("chexpert14").observations
    _write_csv(
        root / "mimic-cxr-2.0.0-chexpert.csv.gz",
        ("subject_id", "study_id", *names),
        ((d.truth.subject_id, d.truth.study_id, *(_label_cell(d, name) for name in names)) for d in drafts),
    )


def _label_cell(draft: DraftStudy, observation: str) -> str:
    label = draft.report.labels[observation]
    return "" if label is None else f"{float(label)}"


def _metadata_row(truth: StudyTruth, image: _TakenImage) -> tuple[object, ...]:
    procedure = "CHEST (PA AND LAT)" if len(truth.views) > 1 else f"CHEST ({truth.views[0]})"
    if truth.views[0] == "AP":
        procedure = "CHEST (PORTABLE AP)" if len(truth.views) == 1 else "CHEST (AP AND LAT)"
    lying = "Recumbent" if truth.views == ("AP",) else "Erect"
    when = (truth.date, truth.time)
    view = (_VIEW_NAMES[image.view], lying)
    ids = (image.dicom_id, truth.subject_id, truth.study_id)
    return (*ids, procedure, image.view, image.rows, image.columns, *when, procedure, *view)


def _patient_row(patient: Patient) -> tuple[object, ...]:
    """As in MIMIC-IV, where each age above 89 is 91."""
    age = patient.age if patient.age <= 89 else 91
    return (patient.subject_id, patient.sex, age, patient.studies[0].date[:4], _ANCHOR_YEARS, "")


def _truth_record(draft: DraftStudy) -> dict[str, Any]:
    truth = draft.truth
    return {
        "subject_id": truth.subject_id,
        "study_id": truth.study_id,
        "split": truth.split,
        "has_prior": truth.has_prior,
        "labels": draft.report.labels,
        "signs": [asdict(sign) for sign in truth.signs],
        "devices": [asdict(device) for device in truth.devices],
        "sentences": [
            {
                "section": stated.section,
                "text": stated.line.text,
                "facts": [[fact.finding, fact.assertion] for fact in stated.line.facts],
            }
            for stated in draft.report.stated
        ],
    }


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    _write_gzip(path, text.getvalue())


def _write_gzip(path: Path, text: str) -> None:
    # no time and no name in the header: the same content gives the same bytes
    path.write_bytes(gzip.compress(text.encode(), mtime=0))


def _summarise(
    root: Path,
    truth_path: Path,
    drafts: Sequence[DraftStudy],
    images: Sequence[tuple[_TakenImage, ...]],
) -> SampleSummary:
    splits = [draft.truth.split for draft in drafts]
    names = load_label_set("chexpert14").observations
    return SampleSummary(
        root=root,
        truth_path=truth_path,
        num_patients=len({draft.truth.subject_id for draft in drafts}),
        num_studies=len(drafts),
        num_images=sum(len(taken) for taken in images),
        splits={name: splits.count(name) for name in ("train", "validate", "test")},
        labels={name: sum(draft.report.labels[name] == 1 for draft in drafts) for name in names},
    )
