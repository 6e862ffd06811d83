"""A corpus with many faults, an S3 that fails one request in ten, a killed job: no row is lost, none is added.

A patient who withdraws from there leaves nothing behind, also where the withdrawal is killed and repeated.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipelines.running.catalog import JOBS
from tests.core.faulty_s3 import FaultyS3, faulty_s3, make_bucket
from tests.core.store_contents import contents, find_words, rows_of_all
from trrg_core.sources.sample.layout import write_sample
from trrg_core.storage.store import Store, open_store
from trrg_core.tables.commit_history import history
from trrg_core.tables.delta import read_table
from trrg_core.withdrawal.record import KEY_VARIABLE, read_withdrawals

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.ray, pytest.mark.timeout(1800)]

TRRG = Path(sys.executable).parent / "trrg"
STUDIES = 2000
PER_FAULT = STUDIES // 20
Trees = tuple[Path, Path, dict[str, str]]
DATA_JOBS = [job.name for job in JOBS.values() if job.group == "data"]


def _cut(report: Path) -> str:
    image = _last_image(report)
    image.write_bytes(image.read_bytes()[:-1500])
    return "jpeg_truncated"


def _empty_image(report: Path) -> str:
    _last_image(report).write_bytes(b"")
    return "empty_file"


def _no_image(report: Path) -> str:
    _last_image(report).write_text("not a radiograph in spite of its name")
    return "not_an_image"


def _lose_image(report: Path) -> str:
    _last_image(report).unlink()
    return "missing_image"


def _claim_size(report: Path) -> str:
    """A header that claims 60,000 x 60,000 pixels."""
    image = _last_image(report)
    data = bytearray(image.read_bytes())
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = (60_000).to_bytes(2, "big") * 2
    image.write_bytes(bytes(data))
    return "too_many_pixels"


def _empty_report(report: Path) -> str:
    report.write_text("")
    return "empty_report"


def _lose_report(report: Path) -> str:
    report.unlink()
    return "missing_report"


def _bad_bytes(report: Path) -> str:
    report.write_bytes(report.read_bytes() + b"caf\xe9")
    return "report_not_utf8"


def _too_long(report: Path) -> str:
    report.write_bytes(report.read_bytes() + b" " * 70_000)
    return "report_too_long"


IMAGE_FAULTS = (_cut, _empty_image, _no_image, _lose_image, _claim_size)
REPORT_FAULTS = (_empty_report, _lose_report, _bad_bytes, _too_long)


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Trees:
    """The clean tree, a copy with 5 % of each fault, and the fault of each study that has one."""
    folder = tmp_path_factory.mktemp("chaos")
    clean, broken = folder / "clean", folder / "broken"
    write_sample(clean, num_studies=STUDIES, seed=23, num_processes=os.cpu_count() or 1)
    shutil.copytree(clean, broken)
    reports = sorted(broken.glob("files/*/*/s*.txt"))
    at = iter(reports[::2])  # every second study, so that faults and sound studies are neighbours
    done = {}
    for fault in (*IMAGE_FAULTS, *REPORT_FAULTS):
        for _ in range(PER_FAULT):
            report = next(at)
            done[report.stem.removeprefix("s")] = fault(report)
    return clean, broken, done


def _last_image(report: Path) -> Path:
    return max(report.with_suffix("").glob("*.jpg"))


@pytest.fixture(scope="module")
def s3() -> Iterator[FaultyS3]:
    with faulty_s3() as state, pytest.MonkeyPatch.context() as patch:
        make_bucket(state, "chaos")
        for name, value in {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": state.endpoint,
            KEY_VARIABLE: "an invented secret of a test",
        }.items():
            patch.setenv(name, value)
        yield state


@pytest.fixture(scope="module")
def stores(trees: Trees, s3: FaultyS3, tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Store]:
    """The tables of the clean tree in a folder, those of the broken one in the failing S3, after a killed ingest."""
    clean, broken, _ = trees
    calm = open_store(str(tmp_path_factory.mktemp("calm") / "store"))
    for job in DATA_JOBS:
        _run(job, calm.uri, clean)
    stormy = open_store("s3://chaos/trrg")
    with _storm(s3):
        _run_and_kill("ingest", stormy, broken)
        for job in DATA_JOBS:
            _run(job, stormy.uri, broken)
    return calm, stormy


def test_the_tables_equal_those_of_the_clean_corpus_without_the_rejects(
    trees: Trees, stores: tuple[Store, Store], tmp_path: Path
) -> None:
    clean, _, faults = trees
    calm, stormy = stores
    ended = _fetched(stormy, tmp_path / "copy")

    lost, hurt = _expected_losses(clean, faults)
    assert len(lost) > 5 * PER_FAULT
    assert hurt
    studies = _rows(calm, "studies")
    places = {study: _place_of_image(studies, study, dicom_id) for study, dicom_id in hurt.items()}
    for table in ("studies", "reports", "shards"):
        wanted = {key: _without(row, key, places) for key, row in _rows(calm, table).items() if key not in lost}
        for key, row in wanted.items():
            if "prior_report" in row and studies[key]["prior_study_id"] in lost:
                row["prior_report"] = ""
        found = {key: _without(row, key, {}) for key, row in _rows(ended, table).items()}
        assert set(found) == set(wanted), table
        assert found == wanted, table
    aside = read_table(ended, history(ended, "rejects")[0].ref).to_pylist()
    ingested = [row for row in aside if row["job"] == "ingest"]
    reasons = {row["study_id"]: row["reason"] for row in ingested if row["reason"] != "no_usable_image"}
    assert reasons == faults
    assert {row["study_id"] for row in ingested if row["reason"] == "no_usable_image"} == lost & set(_by_image(faults))


def test_a_withdrawn_patient_is_nowhere_and_all_other_rows_are_equal(
    trees: Trees, stores: tuple[Store, Store], s3: FaultyS3, tmp_path: Path
) -> None:
    clean, broken, faults = trees
    calm, stormy = stores
    lost, _ = _expected_losses(clean, faults)
    patient, own = _patient_with_rejects(_rows(calm, "studies"), lost)
    ids = {patient, *own, *(image.stem for study in own for image in clean.glob(f"files/*/*/s{study}/*.jpg"))}
    before = _fetched(stormy, tmp_path / "before")
    found = find_words(before, ids)
    assert {path.split("/")[1] for path, _ in found} == {"studies", "reports", "shards", "rejects"}
    killed = open_store("s3://chaos/killed")
    killed.upload_dir(Path(before.uri), "")

    with _storm(s3):
        report = json.loads(_trrg("withdraw", "--patient", patient, "--min-age", "0", "--json", "--store", stormy.uri))
    after = _fetched(stormy, tmp_path / "after")
    assert find_words(after, ids) == []
    rows = rows_of_all(before)
    assert rows_of_all(after) == {ref: _without_patient(ref, one, patient) for ref, one in rows.items()}
    assert {row["study_id"] for row in rows["studies@0"] if row["subject_id"] == patient} == own - lost

    with _storm(s3):
        _withdraw_and_kill(patient, killed, s3, sum(path.endswith(".parquet") for path in report["rewritten"]) // 2)
        (record,) = read_withdrawals(killed)
        assert not record.is_finished
        _trrg("withdraw", "--patient", patient, "--min-age", "0", "--store", killed.uri)
    assert contents(_fetched(killed, tmp_path / "killed")) == contents(after)

    for study in own & set(faults):  # what was wrong with the patient's studies is mended
        for path in clean.glob(f"files/*/*/s{study}.txt"):
            shutil.copy(path, broken / path.relative_to(clean))
    with _storm(s3):
        _run("ingest", stormy.uri, broken)
    later = _fetched(stormy, tmp_path / "later")
    assert history(later, "studies")[0].ref.version == 1
    assert history(later, "studies")[0].rejects["withdrawn"] == len(own)
    assert find_words(later, ids) == []
    assert _rows(later, "studies") == _rows(after, "studies")


@contextmanager
def _storm(s3: FaultyS3) -> Iterator[None]:
    """One request in ten fails."""
    num_requests, num_failed = len(s3.requests), s3.failed.total()
    s3.share = 0.1
    yield
    s3.share = 0.0
    assert s3.failed.total() - num_failed > (len(s3.requests) - num_requests) / 20 > 1


def _fetched(store: Store, folder: Path) -> Store:
    """A copy to read from: deltalake holds the interpreter while it waits, and the service lives in this process."""
    store.download_dir("", folder)
    return open_store(str(folder))


def _patient_with_rejects(rows: Mapping[str, dict[str, Any]], lost: Collection[str]) -> tuple[str, set[str]]:
    """A patient of whom at least two studies were used and one was set aside, with all studies of that patient."""
    studies: dict[str, set[str]] = defaultdict(set)
    for study, row in rows.items():
        studies[row["subject_id"]].add(study)
    return next((patient, own) for patient, own in sorted(studies.items()) if len(own - lost) > 1 and own & lost)


def _without_patient(ref: str, rows: list[dict[str, Any]], patient: str) -> list[dict[str, Any]]:
    """What is left of the rows of a version: rejected ones keep their place without a name."""
    if not ref.startswith("rejects@"):
        return [row for row in rows if row["subject_id"] != patient]
    unnamed = dict.fromkeys(("subject_id", "study_id", "dicom_id", "path"), "") | {"detail": "withdrawn"}
    return sorted((row | unnamed if row["subject_id"] == patient else row for row in rows), key=str)


def _withdraw_and_kill(patient: str, store: Store, s3: FaultyS3, num_files: int) -> None:
    """Kill a withdrawal when it has begun to write the Parquet file after `num_files` others."""
    start = len(s3.requests)
    command = [str(TRRG), "withdraw", "--patient", patient, "--min-age", "0", "--store", store.uri]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    end = time.monotonic() + 300
    try:
        while True:
            puts = {one for one in s3.requests[start:] if one.startswith("PUT") and ".parquet" in one}
            if len(puts) > num_files:
                break
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < end
            time.sleep(0.01)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _trrg(*words: str) -> str:
    done = subprocess.run([str(TRRG), *words], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"{words}: {done.stdout[-1000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def _run(job: str, store: str, root: Path) -> None:
    _trrg(*_command(job, store, root)[1:])


def _run_and_kill(job: str, store: Store, root: Path) -> None:
    """Start a job and kill it when it has written some files and committed none."""
    process = subprocess.Popen(
        _command(job, store.uri, root), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    end = time.monotonic() + 300
    while len([path for path in store.list("tables/studies") if path.endswith(".json")]) < 2:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not [path for path in store.list("tables/studies") if "_delta_log" in path]


def _command(job: str, store: str, root: Path) -> list[str]:
    settings = ["--set", "ingest.max_reject_share=1"]
    return [str(TRRG), job, "--store", store, "--source-root", str(root), *settings]


def _rows(store: Store, table: str) -> dict[str, dict[str, Any]]:
    rows = read_table(store, history(store, table)[0].ref).to_pylist()
    assert len({row["study_id"] for row in rows}) == len(rows)
    return {row["study_id"]: row for row in rows}


def _by_image(faults: Mapping[str, str]) -> dict[str, str]:
    reasons = {"jpeg_truncated", "empty_file", "not_an_image", "missing_image", "too_many_pixels"}
    return {study: reason for study, reason in faults.items() if reason in reasons}


def _expected_losses(clean: Path, faults: Mapping[str, str]) -> tuple[set[str], dict[str, str]]:
    """Studies that must be gone, and of the studies with an image left the dicom_id that must be gone."""
    images = {path.stem: sorted(path.with_suffix("").glob("*.jpg")) for path in clean.glob("files/*/*/s*.txt")}
    by_image = _by_image(faults)
    hurt = {study: images[f"s{study}"][-1].stem for study in by_image if len(images[f"s{study}"]) > 1}
    return set(faults) - set(hurt), hurt


def _place_of_image(rows: Mapping[str, dict[str, Any]], study: str, dicom_id: str) -> int:
    return [image["dicom_id"] for image in rows[study]["images"]].index(dicom_id)


def _without(row: dict[str, Any], study: str, places: Mapping[str, int]) -> dict[str, Any]:
    """The row of a study without the image that it has lost."""
    kept = {name: value for name, value in row.items() if name != "source_stamp"}
    for name in ("images", "views"):
        if name in kept and study in places:
            kept[name] = [item for at, item in enumerate(kept[name]) if at != places[study]]
    return kept
