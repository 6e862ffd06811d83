"""The invented corpus: same seed same bytes, MIMIC-CXR's layout, and pictures and words that tell one truth."""

import csv
import gzip
import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trrg_core.labels import Assertion, Label
from trrg_core.report.parser import ReportParser
from trrg_core.sources.mimic_cxr import list_studies
from trrg_core.sources.sample import SampleStudy, SampleSummary, generate_studies, write_sample
from trrg_core.sources.sample.findings_text import PART_OF
from trrg_core.sources.sample.ground_truth import Sign, StudyTruth, generate_patient
from trrg_core.sources.sample.radiograph import render_radiograph
from trrg_core.sources.sample.wording import Fact, fill_phrase, load_phrases, read_phrase

COMPARES = re.compile(r"unchanged|prior|previous|again|stable|interval|remains|increased in size|no longer", re.I)


@pytest.fixture(scope="module")
def studies() -> list[SampleStudy]:
    return list(generate_studies(600, seed=11))


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> SampleSummary:
    return write_sample(tmp_path_factory.mktemp("corpus") / "sample", num_studies=24, seed=11)


def read_table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(gzip.decompress(path.read_bytes()).decode().splitlines()))


def digest(summary: SampleSummary) -> str:
    found = hashlib.sha256(summary.truth_path.read_bytes())
    for path in sorted(path for path in summary.root.rglob("*") if path.is_file()):
        found.update(str(path.relative_to(summary.root)).encode() + path.read_bytes())
    return found.hexdigest()


def test_same_seed_gives_the_same_bytes_with_any_number_of_processes(summary: SampleSummary, tmp_path: Path) -> None:
    again = write_sample(tmp_path / "again", num_studies=24, seed=11, num_processes=2)
    other = write_sample(tmp_path / "other", num_studies=24, seed=12)
    assert digest(again) == digest(summary)
    assert digest(other) != digest(summary)


def test_a_longer_corpus_begins_with_the_shorter_one(studies: list[SampleStudy]) -> None:
    assert list(generate_studies(50, seed=11)) == studies[:50]


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(ValueError, match="not empty"):
        write_sample(tmp_path, num_studies=1, seed=1)


def test_progress_counts_every_study(tmp_path: Path) -> None:
    seen: list[int] = []
    write_sample(tmp_path / "few", num_studies=3, seed=1, on_progress=seen.append)
    assert seen == [1, 2, 3]


def test_tables_have_the_headers_of_mimic_cxr_jpg(summary: SampleSummary) -> None:
    headers = {
        "cxr-record-list": "subject_id,study_id,dicom_id,path",
        "cxr-study-list": "subject_id,study_id,path",
        "mimic-cxr-2.0.0-split": "dicom_id,study_id,subject_id,split",
        "mimic-cxr-2.0.0-metadata": "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,"
        "Rows,Columns,StudyDate,StudyTime,ProcedureCodeSequence_CodeMeaning,ViewCodeSequence_CodeMeaning,"
        "PatientOrientationCodeSequence_CodeMeaning",
        "mimic-cxr-2.0.0-chexpert": "subject_id,study_id,Atelectasis,Cardiomegaly,Consolidation,Edema,"
        "Enlarged Cardiomediastinum,Fracture,Lung Lesion,Lung Opacity,No Finding,Pleural Effusion,"
        "Pleural Other,Pneumonia,Pneumothorax,Support Devices",
    }
    for name, header in headers.items():
        text = gzip.decompress((summary.root / f"{name}.csv.gz").read_bytes()).decode()
        assert text.splitlines()[0] == header


def test_sex_and_age_are_those_of_the_patient_at_each_study(summary: SampleSummary, studies: list[SampleStudy]) -> None:
    patients = {study.patient.subject_id: study.patient for study in studies}
    studies = list_studies(str(summary.root)).studies
    assert {study.sex for study in studies} == {"F", "M"}
    for study in studies:
        patient = patients[study.subject_id]
        assert study.sex == patient.sex
        years = int(study.study_date[:4]) - int(patient.studies[0].date[:4])
        assert study.age_years == (patient.age if patient.age <= 89 else 91) + years


def test_every_listed_file_is_there_and_every_file_is_listed(summary: SampleSummary) -> None:
    records = read_table(summary.root / "cxr-record-list.csv.gz")
    studies = read_table(summary.root / "cxr-study-list.csv.gz")
    pattern = re.compile(r"files/p1\d/p(1\d{7})/s(5\d{7})/([0-9a-f]{8}(?:-[0-9a-f]{8}){4})\.dcm")
    for row in records:
        match = pattern.fullmatch(row["path"])
        assert match is not None
        assert match.groups() == (row["subject_id"], row["study_id"], row["dicom_id"])
    listed = {row["path"].replace(".dcm", ".jpg") for row in records} | {row["path"] for row in studies}
    found = {str(p.relative_to(summary.root)) for p in (summary.root / "files").rglob("*") if p.is_file()}
    assert found == listed
    assert len(studies) == summary.num_studies == 24
    assert len(records) == summary.num_images


def test_images_decode_to_grey_of_the_listed_size(summary: SampleSummary) -> None:
    paths = {path.stem: path for path in summary.root.rglob("*.jpg")}
    for row in read_table(summary.root / "mimic-cxr-2.0.0-metadata.csv.gz"):
        with Image.open(paths[row["dicom_id"]]) as picture:
            picture.load()
            assert (picture.mode, picture.height, picture.width) == ("L", int(row["Rows"]), int(row["Columns"]))
            assert np.asarray(picture).std() > 25


def test_label_table_and_truth_say_the_same(summary: SampleSummary) -> None:
    rows = read_table(summary.root / "mimic-cxr-2.0.0-chexpert.csv.gz")
    truths = [json.loads(line) for line in gzip.decompress(summary.truth_path.read_bytes()).splitlines()]
    for row, truth in zip(rows, truths, strict=True):
        assert row["study_id"] == truth["study_id"]
        assert {name: float(row[name]) if row[name] else None for name in truth["labels"]} == truth["labels"]
    assert summary.root not in summary.truth_path.parents


def test_reports_are_printed_as_mimic_cxr_prints_them(studies: list[SampleStudy]) -> None:
    for study in studies:
        text = study.report.text
        assert text.isascii()
        assert "{" not in text
        assert "[" not in text
        assert sum(line.strip() == "FINAL REPORT" for line in text.splitlines()) == 1
        assert all(line.startswith(" ") and len(line) <= 79 for line in text.splitlines())


def test_every_labelled_sentence_stands_in_the_text(studies: list[SampleStudy]) -> None:
    for study in studies:
        words = " ".join(study.report.text.split())
        assert all(stated.sentence.text in words for stated in study.report.sentences)


def test_a_patient_is_in_one_split_and_all_three_are_filled(studies: list[SampleStudy]) -> None:
    split_of: dict[str, str] = {}
    for study in studies:
        assert split_of.setdefault(study.truth.subject_id, study.truth.split) == study.truth.split
    counts = [list(split_of.values()).count(name) for name in ("train", "validate", "test")]
    assert counts[0] / sum(counts) == pytest.approx(0.8, abs=0.02)
    assert counts[1] == pytest.approx(counts[2], abs=1)


def test_ids_are_unique(studies: list[SampleStudy]) -> None:
    assert len({study.truth.study_id for study in studies}) == len(studies)
    numbers = {study.patient.number: study.truth.subject_id for study in studies}
    assert len(set(numbers.values())) == len(numbers)


def test_studies_of_a_patient_go_forward_in_time() -> None:
    for number in range(300):
        moments = [(study.date, study.time) for study in generate_patient(11, number).studies]
        assert moments == sorted(set(moments))


def test_only_a_study_with_a_prior_compares(studies: list[SampleStudy]) -> None:
    with_words = [d for d in studies if any(COMPARES.search(stated.sentence.text) for stated in d.report.sentences)]
    assert len(with_words) > 50
    assert all(study.truth.has_prior for study in with_words)


@pytest.mark.parametrize(
    ("observation", "low", "high"),
    [
        ("No Finding", 0.28, 0.42),
        ("Pleural Effusion", 0.15, 0.30),
        ("Lung Opacity", 0.12, 0.30),
        ("Atelectasis", 0.12, 0.30),
        ("Cardiomegaly", 0.12, 0.30),
        ("Support Devices", 0.12, 0.32),
        ("Edema", 0.06, 0.15),
        ("Pneumonia", 0.04, 0.12),
        ("Consolidation", 0.03, 0.12),
        ("Pneumothorax", 0.02, 0.08),
        ("Lung Lesion", 0.02, 0.07),
        ("Fracture", 0.01, 0.06),
        ("Pleural Other", 0.01, 0.05),
        ("Enlarged Cardiomediastinum", 0.01, 0.05),
    ],
)
def test_prevalence_is_that_of_the_field(studies: list[SampleStudy], observation: str, low: float, high: float) -> None:
    share = np.mean([study.report.labels[observation] == Label.POSITIVE for study in studies])
    assert low <= share <= high


def test_every_sign_of_the_image_is_stated_and_nothing_else(studies: list[SampleStudy]) -> None:
    named_by_others = {"opacity", "atelectasis", "pleural_plaque"}  # stated with pneumonia, bands, thickening
    not_drawn = {"degenerative_change", "scoliosis", "aortic_calcification"}
    devices = {"support_device", "sternal_wires"}
    for study in studies:
        if not any(stated.section in ("findings", "last_paragraph") for stated in study.report.sentences):
            continue
        assertions: dict[str, set[Assertion]] = {}
        for stated in study.report.sentences:
            for fact in stated.sentence.facts:
                assertions.setdefault(fact.finding, set()).add(fact.assertion)
        shown = {sign.finding: sign.assertion for sign in study.truth.signs}
        for finding, assertion in shown.items():
            assert assertion in assertions[finding]
        for finding in set(assertions) - set(shown) - named_by_others - not_drawn - devices:
            assert assertions[finding] == {Assertion.ABSENT}
        assert bool(devices & set(assertions)) == bool(study.truth.devices)


def test_no_finding_means_nothing_but_devices(studies: list[SampleStudy]) -> None:
    for study in studies:
        if study.report.labels["No Finding"] == Label.POSITIVE and "FINDINGS:" in study.report.text:
            assert study.truth.signs == ()


def stated_findings(study: SampleStudy, assertion: Assertion) -> set[str]:
    return {
        fact.finding
        for stated in study.report.sentences
        for fact in stated.sentence.facts
        if fact.assertion is assertion
    }


@pytest.mark.parametrize("finding", ["degenerative_change", "scoliosis", "aortic_calcification"])
def test_a_worn_spine_or_a_calcified_aorta_is_not_no_finding(studies: list[SampleStudy], finding: str) -> None:
    stated = [study for study in studies if finding in stated_findings(study, Assertion.PRESENT)]
    assert stated
    assert all(study.report.labels["No Finding"] is None for study in stated)
    assert all("Normal chest radiograph" not in study.report.text for study in stated)


def test_a_tortuous_aorta_and_denied_free_air_leave_no_finding(studies: list[SampleStudy]) -> None:
    for words in ("aorta is tortuous", "No free air"):
        stated = [d for d in studies if words in " ".join(d.report.text.split()) and not d.truth.signs]
        plain = [d for d in stated if not stated_findings(d, Assertion.PRESENT) - {"support_device", "sternal_wires"}]
        assert plain
        assert all(study.report.labels["No Finding"] is Label.POSITIVE for study in plain)


def test_wires_of_a_sternotomy_alone_are_no_support_device(studies: list[SampleStudy]) -> None:
    alone = [d for d in studies if {device.kind for device in d.truth.devices} == {"sternal_wires"}]
    assert alone
    assert all(study.report.labels["Support Devices"] is None for study in alone)


def test_the_parser_reads_the_labels_that_the_corpus_holds_true(studies: list[SampleStudy]) -> None:
    parser = ReportParser()
    pairs = [
        (label == Label.POSITIVE, found == Label.POSITIVE)
        for study in studies
        for label, found in zip(
            study.report.labels.values(), parser.parse(study.report.text).labels.values(), strict=True
        )
    ]
    assert 2 * pairs.count((True, True)) / (sum(true for true, _ in pairs) + sum(read for _, read in pairs)) >= 0.99


def test_findings_sections_are_as_long_as_those_of_the_field(studies: list[SampleStudy]) -> None:
    sections = [[s.sentence.text for s in study.report.sentences if s.section != "impression"] for study in studies]
    sections = [lines for lines in sections if lines]
    assert np.mean([len(" ".join(lines).split()) for lines in sections]) >= 34
    assert np.mean([4 <= len(lines) <= 8 for lines in sections]) > 0.75


def test_each_sign_has_phrases_enough() -> None:
    phrases = load_phrases("signs")
    assert set(phrases) == set(PART_OF)
    common = {"pleural_effusion", "edema", "atelectasis", "consolidation", "pneumonia", "opacity", "cardiomegaly"}
    for finding, kinds in phrases.items():
        assert len(kinds["present"]) >= (12 if finding in common else 6)
        assert len(kinds["uncertain"]) >= 6
        for phrase in kinds["uncertain"]:
            assert Fact(finding=finding, assertion=Assertion.UNCERTAIN) in phrase.facts


def test_a_marked_phrase_gives_words_and_facts() -> None:
    line = fill_phrase(read_phrase("{size} [edema+ edema], no [mass- lung  mass]."), {"size": "mild"})
    assert line.text == "Mild edema, no lung mass."
    assert line.facts == (
        Fact(finding="edema", assertion=Assertion.PRESENT),
        Fact(finding="mass", assertion=Assertion.ABSENT),
    )


def picture_of(sign: Sign | None) -> np.ndarray:
    """Mean of a few frontal films of one invented patient with this sign alone, shape [128, 128], 0 to 255."""
    patient = generate_patient(3, 0)
    truth = StudyTruth(
        subject_id=patient.subject_id,
        study_id="50000001",
        split="train",
        index=0,
        date="21500101",
        time="120000.000",
        views=("PA",),
        case="by hand",
        signs=(sign,) if sign else (),
    )
    picture = render_radiograph(patient, truth, "PA", 3).resize((128, 128))
    return np.asarray(picture, np.float32)


def test_an_effusion_of_the_left_is_white_on_image_right() -> None:
    clear = picture_of(None)
    for side, columns in (("left", slice(96, 110)), ("right", slice(18, 32))):
        shown = picture_of(Sign(finding="pleural_effusion", side=side, extent=0.5)) - clear  # type: ignore[arg-type]
        other = slice(18, 32) if side == "left" else slice(96, 110)
        assert shown[85:105, columns].mean() > 20
        assert abs(shown[85:105, other].mean()) < 3


def test_a_pneumothorax_of_the_right_is_black_at_the_rim_of_image_left() -> None:
    shown = picture_of(Sign(finding="pneumothorax", side="right", extent=0.8)) - picture_of(None)
    assert shown[35:60, 24:30].mean() < -10
    assert abs(shown[35:60, 98:104].mean()) < 3


@pytest.mark.parametrize("finding", sorted(PART_OF))
def test_each_sign_is_seen_and_plain_ones_more_than_doubtful(finding: str) -> None:
    clear = picture_of(None)
    side = "" if finding in ("edema", "cardiomegaly", "enlarged_cardiomediastinum") else "left"
    plain = Sign(finding=finding, side=side, zone="middle", extent=0.5)
    doubtful = Sign(finding=finding, side=side, zone="middle", extent=0.1, assertion=Assertion.UNCERTAIN)
    change_plain = np.abs(picture_of(plain) - clear)
    change_doubtful = np.abs(picture_of(doubtful) - clear)
    assert (change_plain > 15).sum() >= 12
    assert change_doubtful.sum() < change_plain.sum()
