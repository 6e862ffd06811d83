"""Source tree -> `studies`: every report and radiograph read once, checked, and kept small.

Images are decoded strictly and resized here, once, so that no later stage meets a broken file.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict

import pyarrow as pa
import ray.data

from pipelines.cluster import connect
from pipelines.identity import code_version
from pipelines.jobs import JobResult
from pipelines.parts import Made, Work, commit_rejects, commit_written, find_made, write_parts
from trrg_core.config import TrrgConfig, fingerprint
from trrg_core.errors import DataError
from trrg_core.schema import STUDIES
from trrg_core.sources import Source, open_source
from trrg_core.storage import Store
from trrg_core.study import Image, Listing, Reject, Study

STUDIES_PER_FILE = 256


def run(config: TrrgConfig, store: Store, inputs: Mapping[str, str]) -> JobResult:
    """Ingest the source of `config` into a version of `studies`."""
    source = open_source(config.source, config.ingest)
    listing = source.list_studies()
    identity = fingerprint("ingest", config.ingest, source.fingerprint(listing), code_version())
    work = Work(job="ingest", store=store, table="studies", schema=STUDIES, fingerprint=identity)
    if found := find_made(work):
        return found
    connect(config.ray)
    written = write_parts(
        work,
        _as_rows(listing),
        ingest_batch,
        {"source": source},
        batch_rows=STUDIES_PER_FILE,
        total=len(listing.studies),
    )
    rejects = (*listing.rejects, *written.rejects)
    commit_rejects(work, rejects)
    _check_share(config, rejects, written.num_out)
    return commit_written(
        work,
        written,
        rejects=rejects,
        content=fingerprint(list(written.contents)),
        counts={"studies_in": written.num_in, "studies": written.num_out},
    )


def ingest_batch(batch: pa.Table, settings: Mapping[str, object]) -> Made:
    """The studies of a batch that can be used, and the rejects."""
    source = settings["source"]
    assert isinstance(source, Source)
    rows, rejects = [], []
    for row in batch.to_pylist():
        study = Study(**{**row, "images": tuple(Image(**image) for image in row["images"])})
        made, bad = ingest_study(source, study)
        rows += made
        rejects += bad
    return Made(rows=pa.Table.from_pylist(rows, schema=STUDIES), rejects=rejects)


def ingest_study(source: Source, study: Study) -> tuple[list[dict], list[Reject]]:
    """The row of a study, or none, and a reject for each thing that could not be used.

    A study keeps its sound images when another is broken; with none left, or without a report, it is set aside. One
    that never had images (a source of reports alone) is kept: it can be parsed and labelled.
    """
    try:
        report = source.read_report(study)
    except DataError as error:
        return [], [_reject(study, error, path=study.report_path)]
    images, rejects = [], []
    for image in study.images:
        try:
            images.append(asdict(source.read_image(image)))
        except DataError as error:
            rejects.append(_reject(study, error, path=image.path, dicom_id=image.dicom_id))
    if study.images and not images:
        return [], [*rejects, _reject(study, DataError("no_usable_image", "no image of the study can be used"))]
    row = asdict(study) | {"report": report.text, "report_sha256": report.sha256, "images": images}
    return [{name: row[name] for name in STUDIES.names}], rejects


def _reject(study: Study, error: DataError, *, path: str = "", dicom_id: str = "") -> Reject:
    return Reject(
        reason=error.reason,
        subject_id=study.subject_id,
        study_id=study.study_id,
        dicom_id=dicom_id,
        path=path,
        detail=str(error),
    )


def _as_rows(listing: Listing) -> ray.data.Dataset:
    blocks = max(1, -(-len(listing.studies) // STUDIES_PER_FILE))
    return ray.data.from_items([asdict(study) for study in listing.studies], override_num_blocks=blocks)


def _check_share(config: TrrgConfig, rejects: tuple[Reject, ...], num_out: int) -> None:
    lost = {reject.study_id for reject in rejects if not reject.dicom_id}
    share = len(lost) / max(1, len(lost) + num_out)
    if share > config.ingest.max_reject_share or num_out == 0:
        reasons = dict(Counter(reject.reason for reject in rejects).most_common(5))
        raise DataError(
            "too_many_rejects",
            f"{share:.0%} of the studies were set aside, allowed are {config.ingest.max_reject_share:.0%} "
            f"(ingest.max_reject_share): {reasons}; `trrg show rejects` lists them",
        )
