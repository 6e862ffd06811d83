"""A hospital's own export: CSV, TSV or Parquet tables, one row per radiograph, columns named in the settings."""

import io
import re
from collections import defaultdict
from collections.abc import Container, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from trrg_core.config.settings import PlainConfig, SourceConfig
from trrg_core.errors import ConfigError, DataError
from trrg_core.sources.image_root import ImageRoot, find_image_root
from trrg_core.sources.listing import StudyDraft, build_listing, is_usable_id, read_id
from trrg_core.sources.patients import read_age, read_sex
from trrg_core.sources.reading import Row, Rows, read_index_file, read_rows
from trrg_core.sources.report_layout import format_report
from trrg_core.sources.study_dates import read_date, read_time
from trrg_core.storage.column_names import check_unique, show_columns
from trrg_core.storage.store import Store, relative_path
from trrg_core.study import Image, Listing, Reject

# a Parquet table that is larger than this is a bomb: texts and ids are compressed 2 to 20 times
_MAX_EXPANSION, _ALWAYS_ALLOWED_BYTES = 100, 64 * 2**20
_BATCH_ROWS, _BYTES_PER_ROW = 1024, 64
_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")


def list_studies(store: Store, config: SourceConfig) -> Listing:
    """The studies of the table; rows with the same study id are its radiographs and must agree in all other columns.

    Raises:
        ConfigError: if the table or a configured column is missing.
        StorageError: if the store fails.
    """
    plain = config.plain
    if not plain.table:
        raise ConfigError("source.plain.table is empty: name the table, relative to source.root")
    root = find_image_root(store, config)
    rejects: list[Reject] = []
    unknown: dict[str, tuple[str, ...]] = {}
    by_study: dict[str, list[StudyDraft]] = defaultdict(list)
    num_unread = 0
    for name in _find_tables(store, plain.table):
        one = plain.model_copy(update={"table": name})
        table = _read_table(store, one)
        rejects += table.rejects
        unknown[name] = table.unknown_columns
        num_unread += sum(_has_unread_date(row, plain) for row in table.rows)
        for number, row in enumerate(table.rows, start=1):
            try:
                draft = _draft(row, one, root)
            except DataError as error:
                rejects.append(_reject(row, number, error, one))
                continue
            by_study[draft.study_id].append(draft)
    drafts, num_identical = [], 0
    for parts in by_study.values():
        joined = _join(parts)
        if joined is None:
            rejects += [_conflict(part, plain.table) for part in parts]
        else:
            drafts.append(_with_whole_prior(joined, by_study))
            num_identical += len(parts) - max(1, len(joined.images))
    counts = {"duplicate_rows": num_identical, "unread_dates": num_unread}
    return build_listing(drafts, config, rejects=rejects, counts=counts, unknown_columns=unknown)


def _find_tables(store: Store, table: str) -> tuple[str, ...]:
    """The tables that `source.plain.table` names, sorted; a `*` stands for any part of one name in a path."""
    if "*" not in table:
        return (table,)
    try:
        wanted = relative_path(table).split("/")
    except DataError as error:
        raise ConfigError(f"source.plain.table: {error}") from error
    found = tuple(
        path
        for path in store.list()
        if len(parts := path.split("/")) == len(wanted) and all(map(fnmatchcase, parts, wanted))
    )
    if not found:
        raise ConfigError(f"source.plain.table {table!r}: no file below {store.uri} has such a path")
    return found


def _columns(plain: PlainConfig) -> tuple[str, ...]:
    configured = (
        plain.patient_column,
        plain.report_column,
        plain.report_path_column,
        plain.study_column,
        plain.prior_column,
        plain.image_id_column,
        plain.split_column,
        plain.view_column,
        plain.date_column,
        plain.time_column,
        plain.sex_column,
        plain.age_column,
        *_PLACEHOLDER.findall(plain.image_path),
    )
    return tuple(dict.fromkeys(name for name in configured if name))


def _read_table(store: Store, plain: PlainConfig) -> Rows:
    try:
        data = read_index_file(store, plain.table)
    except DataError as error:
        raise ConfigError(f"source.plain.table: {error}") from error
    if plain.table.endswith(".parquet"):
        return _read_parquet(data, plain.table, _columns(plain))
    return read_rows(data, plain.table, required=_columns(plain))


def _read_parquet(data: bytes, name: str, required: Sequence[str]) -> Rows:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(io.BytesIO(data), page_checksum_verification=True)
        missing = [column for column in required if column not in file.schema_arrow.names]
        if missing:
            found = show_columns(file.schema_arrow.names)
            raise ConfigError(f"{name}: missing columns {', '.join(missing)}; found {found}")
        _check_types(file.schema_arrow, required, name)
        rows = _parquet_rows(file, required, max_bytes=_ALWAYS_ALLOWED_BYTES + _MAX_EXPANSION * len(data))
        texts = tuple({key: _text(value) for key, value in row.items()} for row in rows)
    except _TooLargeError as error:
        raise ConfigError(f"{name}: {len(data)} bytes that expand to more than {error} bytes") from error
    except (pa.ArrowException, OSError, ValueError, LookupError, ArithmeticError):
        # also values that Python has no form for: a date after 9999, an unknown time zone. `from None`: the message of
        # a text that is not UTF-8 quotes it
        raise ConfigError(f"{name}: not a valid Parquet file; download or export it again") from None
    unknown = tuple(column for column in file.schema_arrow.names if column not in required)
    return Rows(rows=texts, unknown_columns=unknown)


def _check_types(schema: Any, required: Sequence[str], name: str) -> None:
    """Raise ConfigError for a column that is there twice, or whose values have no one text."""
    import pyarrow.types as kinds

    check_unique((column for column in schema.names if column in required), name)
    for column in required:
        kind = schema.field(column).type
        if kinds.is_nested(kind) or kinds.is_fixed_size_binary(kind):
            raise ConfigError(f"{name}: column {column!r} is of type {kind}, expected text, a number or a date")


def _text(value: Any) -> str:
    if isinstance(value, bytes):  # text that its writer did not mark as such
        return value.decode()
    return "" if value is None or value != value else str(value)  # NaN stands for a missing value, not for a patient


class _TooLargeError(Exception):
    """The columns of a table are larger than allowed; the argument is the limit, bytes."""


def _parquet_rows(file: Any, columns: Sequence[str], *, max_bytes: int) -> list[dict[str, Any]]:
    """The rows, read in small batches, because a repeated value takes no space in the file."""
    rows: list[dict[str, Any]] = []
    num_bytes = 0
    for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=list(columns)):
        num_bytes += batch.nbytes + batch.num_rows * _BYTES_PER_ROW
        if num_bytes > max_bytes:
            raise _TooLargeError(max_bytes)
        rows += batch.to_pylist()
    return rows


def _draft(row: Row, plain: PlainConfig, root: ImageRoot) -> StudyDraft:
    subject_id = _id(row, plain.patient_column)
    path = relative_path(_PLACEHOLDER.sub(lambda match: row[match[1]].strip(), plain.image_path))
    if not path or not all(row[name].strip() for name in _PLACEHOLDER.findall(plain.image_path)):
        raise DataError("missing_image", "the row names no image")
    study_id = _id(row, plain.study_column) if plain.study_column else f"{subject_id}:{path}"
    view = row[plain.view_column].strip().upper() if plain.view_column else ""
    report_path = relative_path(row[plain.report_path_column].strip()) if plain.report_path_column else ""
    has_text = bool(plain.report_column) and not plain.report_path_column
    image_id = _id(row, plain.image_id_column) if plain.image_id_column else path
    split = row[plain.split_column].strip() if plain.split_column else ""
    date = read_date(row[plain.date_column]) if plain.date_column else ""
    return StudyDraft(
        subject_id=subject_id,
        study_id=study_id,
        report_path=report_path or (plain.table if has_text else ""),
        report=_report(row[plain.report_column], plain.report_section) if has_text else None,
        images=(Image(dicom_id=image_id, path=root.path(path), view_position=view),),
        splits=(split,) if split else (),
        study_date=date,
        study_time=read_time(row[plain.time_column]) if date and plain.time_column else "",
        prior_study_id=_prior(row, plain.prior_column) if plain.prior_column else None,
        sex=read_sex(row[plain.sex_column]) if plain.sex_column else "",
        age_years=read_age(row[plain.age_column]) if plain.age_column else None,
    )


def _has_unread_date(row: Row, plain: PlainConfig) -> bool:
    text = row[plain.date_column].strip() if plain.date_column else ""
    return bool(text) and not read_date(text)


def _report(text: str, section: str) -> str:
    return format_report({section.upper(): text}) if section else text


def _id(row: Row, column: str) -> str:
    value = read_id(row[column])
    if not is_usable_id(value):
        raise DataError("bad_id", f"column {column!r} is empty, too long or not printable")
    return value


def _prior(row: Row, column: str) -> str:
    return _id(row, column) if row[column].strip() else ""


def _with_whole_prior(draft: StudyDraft, by_study: Container[str]) -> StudyDraft:
    """`draft` with the prior `10` where the table has `10.0`: pandas makes floats of numbers beside empty cells."""
    prior = draft.prior_study_id or ""
    whole = prior.removesuffix(".0")
    return replace(draft, prior_study_id=whole) if prior not in by_study and whole in by_study else draft


def _join(parts: Sequence[StudyDraft]) -> StudyDraft | None:
    """One draft with all images of `parts`; None if they differ in anything but images and split."""
    # a text of its own is from the table, and the rows of a study may be in several tables
    distinct = {
        replace(part, images=(), splits=(), report_path="" if part.report is not None else part.report_path)
        for part in parts
    }
    images = {image.path: image for part in parts for image in part.images}
    is_repeated = len({image.dicom_id for image in images.values()}) < len(images)
    is_other = any(images[image.path] != image for part in parts for image in part.images)
    if len(distinct) > 1 or is_repeated or is_other:
        return None
    splits = tuple(sorted({split for part in parts for split in part.splits}))
    return replace(parts[0], images=tuple(images[path] for path in sorted(images)), splits=splits)


def _reject(row: Row, number: int, error: DataError, plain: PlainConfig) -> Reject:
    study_id = row[plain.study_column][:128] if plain.study_column else ""
    return Reject(
        reason=error.reason,
        subject_id=row[plain.patient_column][:128],
        study_id=study_id,
        path=plain.table,
        detail=f"row {number}: {error}",
    )


def _conflict(part: StudyDraft, table: str) -> Reject:
    return Reject(
        reason="duplicate_id",
        subject_id=part.subject_id,
        study_id=part.study_id,
        dicom_id=part.images[0].dicom_id,
        path=table,
        detail="rows of one study differ in patient, report, date, prior, sex, age or view, or two images have one id",
    )
