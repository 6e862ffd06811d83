"""Source tree -> `studies`: every report and radiograph read once, checked, and kept small.

Images are decoded strictly and resized here, once, so that no later stage meets a broken file. Only studies that are
new or changed since the last version of the same source are read; the rows of the others are taken over.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

import pyarrow as pa
import pyarrow.compute as pc
import ray.data

from pipelines.ray_data.cluster import connect
from pipelines.ray_data.write import Made, Process, write_here, write_parts
from pipelines.records.code_version import code_of
from pipelines.records.commit import JobOutput, TableWork, commit_output, commit_rejects, find_existing, rejects_of
from pipelines.records.job_result import JobResult
from trrg_core.config.fingerprint import fingerprint
from trrg_core.config.settings import IngestConfig, RayConfig, TrrgConfig
from trrg_core.errors import ConfigError, DataError
from trrg_core.sources import Source, open_source
from trrg_core.sources.free_space import check_free_space
from trrg_core.sources.increment import (
    Increment,
    IndexedFile,
    content_digests,
    index_files,
    index_readable_files,
    plan_increment,
)
from trrg_core.sources.near_duplicates import NearDuplicates, find_near_duplicates, report_signature
from trrg_core.sources.reject_shares import check_reject_shares
from trrg_core.storage.store import Store
from trrg_core.study import Image, Listing, Reject, Study
from trrg_core.tables.commit_history import Commit, history
from trrg_core.tables.delta import list_parts
from trrg_core.tables.parquet import Part, read_part
from trrg_core.tables.schema import STUDIES

logger = logging.getLogger(__name__)

STUDIES_PER_FILE = 256
# one batch is one task wherever it runs: to start a cluster for it would only take longer
READ_HERE = STUDIES_PER_FILE
CUT_HERE = 8
_GROUPS_NOTED = 50


def run(config: TrrgConfig, store: Store, inputs: Mapping[str, str]) -> JobResult:
    """Ingest the source of `config` into a version of `studies`."""
    source = open_source(config.source, config.ingest)
    listing = source.list_studies()
    stamps = source.stamp_studies(listing)
    settings = fingerprint(source.settings_fingerprint(), code_of("ingest"))
    work = TableWork(
        job="ingest",
        store=store,
        table="studies",
        schema=STUDIES,
        fingerprint=fingerprint("ingest", settings, source.fingerprint(listing, stamps)),
        settings=settings,
    )
    if found := find_existing(work):
        # what stops a run may have been set since, so it is asked again
        check_reject_shares(config.ingest, rejects_of(store, work.fingerprint), int(found.counts["studies"]))
        return found
    base = _find_base(store, settings)
    increment = _plan(store, listing, stamps, base)
    work = replace(work, parents=(str(base.ref),) if base else ())
    check_free_space(store, config.ingest, increment.read)
    cut = _cut_files(config.ray, work, increment)
    read = _read_studies(config.ray, work, source, increment.read, stamps)
    files = [*increment.kept, *index_files(store, [*cut.parts, *read.parts])]
    return _commit(config.ingest, work, listing, increment, files, read.rejects)


def _find_base(store: Store, settings: str) -> Commit | None:
    """The newest version made with `settings`, if all that it set aside is known."""
    for commit in history(store, "studies"):
        if commit.settings != settings:
            continue
        if len(rejects_of(store, commit.fingerprint)) == sum(commit.rejects.values()):
            return commit
        logger.warning("%s is not built upon: what it set aside is no longer in `rejects`", commit.ref)
    return None


def _plan(store: Store, listing: Listing, stamps: Mapping[str, str], base: Commit | None) -> Increment:
    if base is None:
        return Increment(read=listing.studies)
    # a study that had a reject is read again, so that the rejects of a version are always complete
    reread = {reject.study_id for reject in rejects_of(store, base.fingerprint)}
    try:
        parts = list_parts(store, base.ref)
    except ConfigError:
        return Increment(read=listing.studies)
    increment = plan_increment(listing.studies, stamps, index_readable_files(store, parts), reread)
    logger.info("ingest: builds upon %s, reads %d of %d studies", base.ref, len(increment.read), len(listing.studies))
    return increment


def _cut_files(ray_config: RayConfig, work: TableWork, increment: Increment) -> JobOutput:
    """The files of an earlier version that lost some rows, written again without them."""
    rows = [
        {
            # names the batch: the same file may be cut otherwise in another attempt
            "study_id": f"{file.part.path} {fingerprint(stay)}",
            "part": asdict(file.part),
            "stay": list(stay),
        }
        for file, stay in increment.cut
    ]
    return _write(ray_config, work, rows, cut_batch, {"store": work.store}, batch_rows=1, here=CUT_HERE)


def _read_studies(
    ray_config: RayConfig, work: TableWork, source: Source, studies: Sequence[Study], stamps: Mapping[str, str]
) -> JobOutput:
    rows = [asdict(study) | {"source_stamp": stamps[study.study_id]} for study in studies]
    settings = {"source": source}
    return _write(ray_config, work, rows, ingest_batch, settings, batch_rows=STUDIES_PER_FILE, here=READ_HERE)


def _write(
    ray_config: RayConfig,
    work: TableWork,
    rows: Sequence[dict],
    process: Process,
    settings: Mapping[str, object],
    *,
    batch_rows: int,
    here: int,
) -> JobOutput:
    if len(rows) <= here:
        return write_here(work, rows, process, settings, batch_rows=batch_rows)
    connect(ray_config)
    data = ray.data.from_items(list(rows), override_num_blocks=-(-len(rows) // batch_rows))
    return write_parts(work, data, process, settings, batch_rows=batch_rows, total=len(rows))


def cut_batch(batch: pa.Table, settings: Mapping[str, object]) -> Made:
    """The rows that stay of files of an earlier version."""
    store = settings["store"]
    assert isinstance(store, Store)
    pieces = []
    for row in batch.to_pylist():
        rows = read_part(store, "studies", Part(**row["part"]))
        pieces.append(rows.filter(pc.is_in(rows["study_id"], value_set=pa.array(row["stay"]))))
    return Made(rows=pa.concat_tables(pieces).cast(STUDIES))


def ingest_batch(batch: pa.Table, settings: Mapping[str, object]) -> Made:
    """The studies of a batch that can be used, and the rejects."""
    source = settings["source"]
    assert isinstance(source, Source)
    rows, rejects = [], []
    for row in batch.to_pylist():
        stamp = row.pop("source_stamp")
        study = Study(**{**row, "images": tuple(Image(**image) for image in row["images"])})
        made, bad = ingest_study(source, study, stamp)
        rows += made
        rejects += bad
    return Made(rows=pa.Table.from_pylist(rows, schema=STUDIES), rejects=rejects)


def ingest_study(source: Source, study: Study, stamp: str) -> tuple[list[dict], list[Reject]]:
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
    row = asdict(study) | {
        "report": report.text,
        "report_sha256": report.sha256,
        "report_flags": list(report.flags),
        "report_signature": report_signature(report.text),
        "source_stamp": stamp,
        "images": images,
    }
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


def _commit(
    config: IngestConfig,
    work: TableWork,
    listing: Listing,
    increment: Increment,
    files: Sequence[IndexedFile],
    rejects: Sequence[Reject],
) -> JobResult:
    rows = pa.concat_tables([file.rows for file in files] or [STUDIES.empty_table()])
    aside = (*listing.rejects, *rejects)
    # first, so that a run that stops leaves behind why
    commit_rejects(work, aside)
    check_reject_shares(config, aside, rows.num_rows)
    ids = rows.select(["subject_id", "study_id", "split"]).to_pylist()
    copies = _near_duplicates(rows)
    written = JobOutput(
        parts=tuple(sorted((file.part for file in files), key=lambda part: part.path)),
        num_in=len(listing.studies),
        ids=tuple(sorted((row["subject_id"], row["study_id"], row["split"]) for row in ids)),
    )
    return commit_output(
        work,
        written,
        rejects=aside,
        # the report and the original files are in the digests, what is made of them is in the settings
        content=fingerprint(config.max_side_px, config.jpeg_quality, config.on_bad_encoding, content_digests(rows)),
        counts={
            "studies_in": len(listing.studies),
            "studies": rows.num_rows,
            "kept": len(listing.studies) - len(increment.read),
            "read": len(increment.read),
            "near_duplicate_reports": copies.num_reports,
            "near_duplicates_across_splits": copies.num_across_splits,
            **listing.counts,
        },
        notes=_notes(listing, copies),
    )


def _near_duplicates(rows: pa.Table) -> NearDuplicates:
    told = rows.select(["subject_id", "study_id", "split", "report_signature"]).to_pylist()
    return find_near_duplicates([tuple(row.values()) for row in told])


def _notes(listing: Listing, copies: NearDuplicates) -> dict[str, list[str]]:
    """Columns that were not read, by index file, and the largest groups of near-duplicate reports."""
    columns = [f"{name}: {', '.join(found)}" for name, found in sorted(listing.unknown_columns.items())]
    groups = [" ".join(group[:_GROUPS_NOTED]) for group in copies.groups[:_GROUPS_NOTED]]
    notes = {"unknown_columns": columns, "near_duplicate_reports": groups}
    return {name: lines for name, lines in notes.items() if lines}
