"""Writes the invented corpus to disk in the layout of MIMIC-CXR-JPG, with the `patients.csv.gz` of MIMIC-IV.

Patients and studies -> `files/p10/p10000032/s50414267.txt` and so on: text files, JPEGs, gzipped CSV files. The ground
truth of each study is written next to the tree, to `<root>.truth.jsonl.gz`, where no reader of the tree can see it.
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
from trrg_core.sources.sample.ground_truth import Patient, StudyTruth, generate_patient
from trrg_core.sources.sample.radiograph import render_radiograph
from trrg_core.sources.sample.reports import Report, write_report
from trrg_core.sources.sample.styles import Styles

_VIEW_NAMES = {"PA": "postero-anterior", "AP": "antero-posterior", "LATERAL": "lateral"}
_ANCHOR_YEARS = "2014 - 2016"  # the true years, as MIMIC-IV gives them for shifted dates
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
    """Counts of a written corpus. `labels` has the number of POSITIVE studies of each observation."""

    root: Path
    truth_path: Path
    num_patients: int
    num_studies: int
    num_images: int
    splits: dict[str, int]
    labels: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class SampleStudy:
    """An invented study without its images: patient, ground truth and report."""

    patient: Patient
    truth: StudyTruth
    report: Report


@dataclass(frozen=True, kw_only=True)
class _WrittenImage:
    dicom_id: str
    view: str
    rows: int
    columns: int


def generate_studies(num_studies: int, seed: int, styles: Styles = "plain") -> Iterator[SampleStudy]:
    """The first `num_studies` studies of the corpus of `seed`, without images; a longer corpus starts with the same.

    `styles` is `plain`, prose alone, or `mixed`: shorthand, templates, lists, capitals, contractions, British spelling.
    """
    num_generated = 0
    for number in count():
        patient = generate_patient(seed, number)
        for truth in patient.studies:
            if num_generated == num_studies:
                return
            yield SampleStudy(patient=patient, truth=truth, report=write_report(patient, truth, seed, styles))
            num_generated += 1


def write_sample(
    root: Path,
    *,
    num_studies: int,
    seed: int,
    on_progress: Callable[[int], None] | None = None,
    num_processes: int = 1,
    styles: Styles = "plain",
) -> SampleSummary:
    """Writes an invented corpus under `root` and its ground truth to `<root>.truth.jsonl.gz`.

    The same arguments give the same bytes, whatever `num_processes` is.

    Args:
        root: folder of the tree; created if missing, must be empty.
        num_studies: studies to write, at least one.
        seed: seed of the corpus.
        on_progress: called with the number of studies written so far.
        num_processes: number of worker processes that render images.
        styles: styles of the reports, as in `generate_studies`; images and ids do not depend on it.

    Raises:
        ValueError: if `num_studies` or `num_processes` is less than one, or `root` is not empty.
    """
    if num_studies < 1 or num_processes < 1:
        raise ValueError(f"num_studies {num_studies} and num_processes {num_processes} must be at least 1")
    if root.exists() and any(root.iterdir()):
        raise ValueError(f"{root} is not empty: the sample is written into a new folder")
    root.mkdir(parents=True, exist_ok=True)
    studies = list(generate_studies(num_studies, seed, styles))
    images: list[tuple[_WrittenImage, ...]] = []
    for written in _map_in_processes(partial(_write_study, root=root, seed=seed), studies, num_processes):
        images.append(written)
        if on_progress is not None:
            on_progress(len(images))
    _write_tables(root, studies, images)
    truth_path = root.with_name(f"{root.name}.truth.jsonl.gz")
    _write_gzip(truth_path, "".join(json.dumps(_truth_record(study)) + "\n" for study in studies))
    return _summarise(root, truth_path, studies, images)


def _map_in_processes(
    job: Callable[[SampleStudy], tuple[_WrittenImage, ...]], studies: Sequence[SampleStudy], num_processes: int
) -> Iterator[tuple[_WrittenImage, ...]]:
    if num_processes == 1:
        yield from map(job, studies)
        return
    with multiprocessing.get_context("spawn").Pool(num_processes) as pool:
        yield from pool.imap(job, studies, chunksize=16)


def _write_study(study: SampleStudy, *, root: Path, seed: int) -> tuple[_WrittenImage, ...]:
    folder = root / _study_path(study.truth)
    folder.mkdir(parents=True)
    folder.with_suffix(".txt").write_bytes(study.report.text.encode("ascii"))
    written = []
    for view in study.truth.views:
        picture = render_radiograph(study.patient, study.truth, view, seed)
        dicom_id = _dicom_id(seed, study.truth.study_id, view)
        (folder / f"{dicom_id}.jpg").write_bytes(encode_jpeg(picture))
        written.append(_WrittenImage(dicom_id=dicom_id, view=view, rows=picture.height, columns=picture.width))
    return tuple(written)


def _study_path(truth: StudyTruth) -> str:
    return f"files/p{truth.subject_id[:2]}/p{truth.subject_id}/s{truth.study_id}"


def _dicom_id(seed: int, study_id: str, view: str) -> str:
    digits = hashlib.sha256(f"sample/{seed}/{study_id}/{view}".encode()).hexdigest()
    return "-".join(digits[start : start + 8] for start in range(0, 40, 8))


def _write_tables(root: Path, studies: Sequence[SampleStudy], images: Sequence[tuple[_WrittenImage, ...]]) -> None:
    truths = [study.truth for study in studies]
    rows = [(truth, image) for truth, written in zip(truths, images, strict=True) for image in written]
    _write_csv(
        root / "cxr-record-list.csv.gz",
        ("subject_id", "study_id", "dicom_id", "path"),
        ((t.subject_id, t.study_id, i.dicom_id, f"{_study_path(t)}/{i.dicom_id}.dcm") for t, i in rows),
    )
    _write_csv(
        root / "cxr-study-list.csv.gz",
        ("subject_id", "study_id", "path"),
        ((t.subject_id, t.study_id, f"{_study_path(t)}.txt") for t in truths),
    )
    _write_csv(root / "mimic-cxr-2.0.0-metadata.csv.gz", _METADATA_COLUMNS, (_metadata_row(t, i) for t, i in rows))
    _write_csv(
        root / "mimic-cxr-2.0.0-split.csv.gz",
        ("dicom_id", "study_id", "subject_id", "split"),
        ((i.dicom_id, t.study_id, t.subject_id, t.split) for t, i in rows),
    )
    _write_csv(
        root / "patients.csv.gz",
        ("subject_id", "gender", "anchor_age", "anchor_year", "anchor_year_group", "dod"),
        (_patient_row(patient) for patient in {study.patient.number: study.patient for study in studies}.values()),
    )
    names = load_label_set("chexpert14").observations
    _write_csv(
        root / "mimic-cxr-2.0.0-chexpert.csv.gz",
        ("subject_id", "study_id", *names),
        ((d.truth.subject_id, d.truth.study_id, *(_label_cell(d, name) for name in names)) for d in studies),
    )


def _label_cell(study: SampleStudy, observation: str) -> str:
    label = study.report.labels[observation]
    return "" if label is None else f"{float(label)}"


def _metadata_row(truth: StudyTruth, image: _WrittenImage) -> tuple[object, ...]:
    procedure = "CHEST (PA AND LAT)" if len(truth.views) > 1 else f"CHEST ({truth.views[0]})"
    if truth.views[0] == "AP":
        procedure = "CHEST (PORTABLE AP)" if len(truth.views) == 1 else "CHEST (AP AND LAT)"
    orientation = "Recumbent" if truth.views == ("AP",) else "Erect"
    moment = (truth.date, truth.time)
    view = (_VIEW_NAMES[image.view], orientation)
    ids = (image.dicom_id, truth.subject_id, truth.study_id)
    return (*ids, procedure, image.view, image.rows, image.columns, *moment, procedure, *view)


def _patient_row(patient: Patient) -> tuple[object, ...]:
    """A row as in MIMIC-IV, where every age above 89 is given as 91."""
    age = patient.age if patient.age <= 89 else 91
    return (patient.subject_id, patient.sex, age, patient.studies[0].date[:4], _ANCHOR_YEARS, "")


def _truth_record(study: SampleStudy) -> dict[str, Any]:
    truth = study.truth
    return {
        "subject_id": truth.subject_id,
        "study_id": truth.study_id,
        "split": truth.split,
        "has_prior": truth.has_prior,
        "labels": study.report.labels,
        "signs": [asdict(sign) for sign in truth.signs],
        "devices": [asdict(device) for device in truth.devices],
        "sentences": [
            {
                "section": stated.section,
                "text": stated.sentence.text,
                "facts": [[fact.finding, fact.assertion] for fact in stated.sentence.facts],
            }
            for stated in study.report.sentences
        ],
    }


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    _write_gzip(path, text.getvalue())


def _write_gzip(path: Path, text: str) -> None:
    # no time and no file name in the header: equal content gives equal bytes
    path.write_bytes(gzip.compress(text.encode(), mtime=0))


def _summarise(
    root: Path,
    truth_path: Path,
    studies: Sequence[SampleStudy],
    images: Sequence[tuple[_WrittenImage, ...]],
) -> SampleSummary:
    splits = [study.truth.split for study in studies]
    names = load_label_set("chexpert14").observations
    return SampleSummary(
        root=root,
        truth_path=truth_path,
        num_patients=len({study.truth.subject_id for study in studies}),
        num_studies=len(studies),
        num_images=sum(len(written) for written in images),
        splits={name: splits.count(name) for name in ("train", "validate", "test")},
        labels={name: sum(study.report.labels[name] == 1 for study in studies) for name in names},
    )
