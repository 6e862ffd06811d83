"""Source tree -> `studies`: every report and radiograph read once, checked, and kept small.

Images are decoded strictly and resized here, once, so that no later stage meets a broken file. Only studies that are
new or changed since the last version of the same source are read; the rows of the others are reused.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import ray.data

from pipelines.ray_data.cluster import connect
from pipelines.ray_data.write import BatchResult, Process, Settings, write_here, write_parts
from pipelines.records.code_version import code_of
from pipelines.records.commit import (
    JobOutput,
    TableWork,
    check_writable,
    commit_output,
    commit_rejects,
    find_existing,
    rejects_of,
)
from pipelines.records.job_result import JobResult
from trrg_core.config.fingerprint import fingerprint
from trrg_core.config.settings import IngestConfig, RayConfig, TrrgConfig
from trrg_core.errors import ConfigError
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
from trrg_core.sources.near_duplicates import NearDuplicates, find_near_duplicates
from trrg_core.sources.read_study import read_study
from trrg_core.sources.reject_shares import check_reject_shares
from trrg_core.storage.store import Store
from trrg_core.storage.withdrawal_lock import withdrawal_state
from trrg_core.study import Listing, Reject, Study
from trrg_core.tables.arrow_numpy import whole
from trrg_core.tables.commit_history import Commit, history, made_by
from trrg_core.tables.delta import list_parts
from trrg_core.tables.parquet import Part, read_part
from trrg_core.tables.rows.study_row import listed_row, listed_study
from trrg_core.tables.schema import STUDIES
from trrg_core.withdrawal.record import read_refusal, without_withdrawn

logger = logging.getLogger(__name__)

STUDIES_PER_FILE = 256
# one batch is one task wherever it runs: a cluster would only take longer to start
READ_HERE = STUDIES_PER_FILE
CUT_HERE = 8
_MAX_GROUPS_NOTED = 50


def run(config: TrrgConfig, store: Store, inputs: Mapping[str, str]) -> JobResult:
    """Ingest the source of `config` into a version of `studies`."""
    withdrawals = withdrawal_state(store)
    source = open_source(config.source, config.ingest)
    listing = source.list_studies()
    stamps = source.stamp_studies(listing)
    refusal = read_refusal(store)
    settings = fingerprint(source.settings_fingerprint(), code_of("ingest"))
    work = TableWork(
        job="ingest",
        store=store,
        table="studies",
        schema=STUDIES,
        fingerprint=fingerprint("ingest", settings, source.fingerprint(listing, stamps)),
        withdrawals=withdrawals,
        settings=settings,
    )
    if existing := find_existing(work):
        # the limits may have been set since: they are no part of the fingerprint
        check_reject_shares(config.ingest, rejects_of(store, work.fingerprint), int(existing.counts["studies"]))
        return existing
    check_writable(work)
    if refusal:  # after the fingerprint: a version from which they were erased is found again
        listing = without_withdrawn(listing, refusal)
    base = _find_base(store, settings)
    increment = _plan(store, listing, stamps, base)
    work = replace(work, parents=(str(base.ref),) if base else ())
    check_free_space(store, config.ingest, increment.read)
    cut = _cut_files(config.ray, work, increment)
    read = _read_studies(config.ray, work, source, increment.read, stamps)
    files = [*increment.kept, *index_files(store, [*cut.parts, *read.parts])]
    return _commit(config.ingest, work, listing, increment, files, read.rejects)


def _find_base(store: Store, settings: str) -> Commit | None:
    """The newest version made with `settings` whose rejects are all still in `rejects`."""
    for commit in history(store, "studies"):
        if commit.settings != settings:
            continue
        if len(rejects_of(store, made_by(commit))) == sum(commit.rejects.values()):
            return commit
        logger.warning("%s cannot be extended: its rejects are no longer in `rejects`", commit.ref)
    return None


def _plan(store: Store, listing: Listing, stamps: Mapping[str, str], base: Commit | None) -> Increment:
    if base is None:
        return Increment(read=listing.studies)
    # a study that had a reject is read again, so that the rejects of a version are always complete
    reread = {reject.study_id for reject in rejects_of(store, made_by(base))}
    try:
        parts = list_parts(store, base.ref)
    except ConfigError:
        return Increment(read=listing.studies)
    increment = plan_increment(listing.studies, stamps, index_readable_files(store, parts), reread)
    logger.info("ingest: extends %s, reads %d of %d studies", base.ref, len(increment.read), len(listing.studies))
    return increment


def _cut_files(ray_config: RayConfig, work: TableWork, increment: Increment) -> JobOutput:
    """The files of an earlier version that lost some rows, written again without them."""
    rows = [
        {
            # names the batch: another attempt may have to cut the same file at other rows
            "study_id": f"{file.part.path} {fingerprint(stay)}",
            "part": asdict(file.part),
            "stay": list(stay),
        }
        for file, stay in increment.cut
    ]
    return _write(ray_config, work, rows, cut_batch, work.store, batch_rows=1, here=CUT_HERE)


def _read_studies(
    ray_config: RayConfig, work: TableWork, source: Source, studies: Sequence[Study], stamps: Mapping[str, str]
) -> JobOutput:
    rows = [listed_row(study, stamps[study.study_id]) for study in studies]
    return _write(ray_config, work, rows, ingest_batch, source, batch_rows=STUDIES_PER_FILE, here=READ_HERE)


def _write(
    ray_config: RayConfig,
    work: TableWork,
    rows: Sequence[dict[str, Any]],
    process: Process[Settings],
    settings: Settings,
    *,
    batch_rows: int,
    here: int,
) -> JobOutput:
    """Write `rows` in this process if there are at most `here` of them, else on the cluster."""
    if len(rows) <= here:
        return write_here(work, rows, process, settings, batch_rows=batch_rows)
    connect(ray_config)
    data = ray.data.from_items(list(rows), override_num_blocks=-(-len(rows) // batch_rows))
    return write_parts(work, data, process, settings, batch_rows=batch_rows, total=len(rows))


def cut_batch(files: pa.Table, store: Store) -> BatchResult:
    """The rows that remain of files of an earlier version."""
    pieces = []
    for file in files.to_pylist():
        rows = read_part(store, "studies", Part(**file["part"]))
        pieces.append(rows.filter(pc.is_in(rows["study_id"], value_set=pa.array(file["stay"], pa.string()))))
    return BatchResult(rows=pa.concat_tables(pieces).cast(STUDIES))


def ingest_batch(listed: pa.Table, source: Source) -> BatchResult:
    """The studies of a batch that can be used, and the rejects."""
    rows, rejects = [], []
    for values in listed.to_pylist():
        study, stamp = listed_study(values)
        row, rejected = read_study(source, study, stamp)
        rows += [row] if row else []
        rejects += rejected
    return BatchResult(rows=pa.Table.from_pylist(rows, schema=STUDIES), rejects=rejects)


def _commit(
    config: IngestConfig,
    work: TableWork,
    listing: Listing,
    increment: Increment,
    files: Sequence[IndexedFile],
    rejects: Sequence[Reject],
) -> JobResult:
    rows = pa.concat_tables([file.rows for file in files] or [STUDIES.empty_table()])
    all_rejects = (*listing.rejects, *rejects)
    # first, so that the reasons are stored even if the run stops here
    commit_rejects(work, all_rejects)
    check_reject_shares(config, all_rejects, rows.num_rows)
    duplicates = _near_duplicates(rows)
    ids = rows.select(["subject_id", "study_id", "split"]).to_pylist()
    output = JobOutput(
        parts=tuple(sorted((file.part for file in files), key=lambda part: part.path)),
        rejects=all_rejects,
        num_in=len(listing.studies),
        ids=tuple(sorted((row["subject_id"], row["study_id"], row["split"]) for row in ids)),
    )
    return commit_output(
        work,
        output,
        # the digests cover the report and the original files, the settings cover how a row is made of them
        content=fingerprint(config.max_side_px, config.jpeg_quality, config.on_bad_encoding, content_digests(rows)),
        counts={
            "studies_in": len(listing.studies),
            "studies": rows.num_rows,
            "kept": len(listing.studies) - len(increment.read),
            "read": len(increment.read),
            "near_duplicate_reports": duplicates.num_reports,
            "near_duplicates_across_splits": duplicates.num_across_splits,
            "images_with_text": _num_images_with_text(rows),
            **listing.counts,
        },
        notes=_notes(listing, duplicates),
    )


def _num_images_with_text(rows: pa.Table) -> int:
    """Images in which burned-in text was found."""
    text_rows: list[Any] = whole(rows["images"]).flatten().field("text_rows").to_pylist()
    return sum(bool(count) for count in text_rows)


def _near_duplicates(rows: pa.Table) -> NearDuplicates:
    columns = ("subject_id", "study_id", "split", "report_signature")
    values: list[list[Any]] = [rows[name].to_pylist() for name in columns]
    return find_near_duplicates(list(zip(*values, strict=True)))


def _notes(listing: Listing, duplicates: NearDuplicates) -> dict[str, list[str]]:
    """Columns that were not read, by index file, and the largest groups of near-duplicate reports."""
    columns = [f"{name}: {', '.join(unread)}" for name, unread in sorted(listing.unknown_columns.items())]
    groups = [" ".join(group[:_MAX_GROUPS_NOTED]) for group in duplicates.groups[:_MAX_GROUPS_NOTED]]
    notes = {"unknown_columns": columns, "near_duplicate_reports": groups}
    return {name: lines for name, lines in notes.items() if lines}
