"""Strict readers of text files of a source: index files (CSV, TSV) and report files.

Bytes -> `Rows`, with the lines that could not be read, or `ReportText`.
"""

import csv
import difflib
import hashlib
import io
import json
import re
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from trrg_core.errors import ConfigError, DataError
from trrg_core.storage.column_names import are_data, check_unique, show_columns
from trrg_core.storage.store import Store
from trrg_core.study import Reject

Row = Mapping[str, str]

# a quoted field may span this many lines; after that, its quote counts as unclosed
_MAX_RECORD_LINES = 500
# lines read again after unclosed quotes: a file could otherwise cost 500 times its length
_MAX_REREAD_LINES = 200_000
_MAX_COLUMNS = 2_000
_SHOWN_COLUMNS = 50
_MAX_DECOMPRESSED_BYTES = 2 * 2**30
# index files are compressed 3 to 20 times, a bomb 1,000 times
_MAX_COMPRESSION, _ALWAYS_ALLOWED_BYTES = 100, 4 * 2**20
_CHUNK_BYTES, _GZIP_PIECE_BYTES = 2**20, 2**14
_MAX_GZIP_MEMBERS = 100_000
_MAX_MALFORMED_ROWS = 100_000
_NOT_ZERO = re.compile(b"[^\0]")
_MAX_INDEX_BYTES = 2 * 2**30
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The rows of an index file in file order, its columns that are not read, and the rows set aside."""

    rows: tuple[Row, ...]
    unknown_columns: tuple[str, ...] = ()
    rejects: tuple[Reject, ...] = ()


@dataclass(frozen=True, kw_only=True)
class UniqueRows:
    """Rows with unique keys in file order, a reject for each conflicting row, the number of repeated rows dropped."""

    kept: list[Row]
    rejects: list[Reject]
    num_identical: int


@dataclass(frozen=True, kw_only=True)
class ReportText:
    """A report as text with LF newlines. `sha256` is of the original bytes, `flags` names each repair."""

    text: str = field(repr=False)
    encoding: str
    sha256: str
    flags: tuple[str, ...] = ()


def read_index_file(store: Store, path: str) -> bytes:
    """The bytes of a file that lists studies; without it nothing can be read.

    Raises:
        ConfigError: if it is no regular file, may not be read, or has more than 2 GiB.
        DataError: `missing_file`.
        StorageError: if the store fails.
    """
    try:
        return store.read_bytes(path, _MAX_INDEX_BYTES)
    except DataError as error:
        if error.reason == "missing_file":
            raise
        raise ConfigError(f"the index file cannot be read: {error}") from error


def read_json(data: bytes, name: str) -> Any:
    """The value of a JSON file.

    Raises:
        ConfigError: if an object has a key twice: json keeps the last value and says nothing.
        ValueError, RecursionError: as `json.loads`.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) < len(pairs):
            key, count = Counter(key for key, _ in pairs).most_common(1)[0]
            raise ConfigError(f"{name}: {key[:64]!r} occurs {count} times in one object; each key counts once")
        return values

    return json.loads(data, object_pairs_hook=unique)


def read_rows(
    data: bytes, name: str, *, required: Sequence[str], optional: Sequence[str] = (), known_only: bool = False
) -> Rows:
    """The rows of a CSV file, or of a TSV file (by its name), gzipped or not (by its content).

    A row with an unclosed or stray quote, with another number of fields than the header, or with bytes that are not
    UTF-8 is set aside with its line number, and reading continues at the next line.

    Args:
        data: the whole file.
        name: path of the file, for messages.
        required: columns that the file must have.
        optional: further columns that are known and ignored when missing.
        known_only: whether rows are to hold the required and optional columns alone, for a large file.

    Raises:
        ConfigError: if a required column is missing, the header is unreadable or has over 2,000 columns, the gzip
            stream is corrupt or decompresses to too much, too many quotes are unclosed, or more than 100,000 rows are
            malformed.
    """
    content = decompress(data, name)
    if content[:2] in _UTF16_MARKS:
        raise ConfigError(f"{name}: the file is UTF-16, expected UTF-8: convert it, e.g. `iconv -f utf-16 -t utf-8`")
    stream = io.BytesIO(content)
    lines = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    delimiter = "\t" if name.removesuffix(".gz").endswith(".tsv") else ","
    records = _records(lines, delimiter, name)
    header = next(records, None)
    if header is None or header.problem:
        raise ConfigError(f"{name}: no readable header line")
    if len(header.fields) > _MAX_COLUMNS:
        raise ConfigError(f"{name}: the header has {len(header.fields)} columns, at most {_MAX_COLUMNS} are read")
    columns = [column.strip().encode(errors="backslashreplace").decode() for column in header.fields]
    _check_columns(columns, name, required, (*required, *optional))
    known = {*required, *optional}
    rows, rejects = [], []
    for record in records:
        problem = record.problem or _problem(record.fields, columns)
        if problem:
            rejects.append(Reject(reason="malformed_row", path=name, detail=f"line {record.line}: {problem}"))
            if len(rejects) > _MAX_MALFORMED_ROWS:
                raise ConfigError(
                    f"{name}: more than {_MAX_MALFORMED_ROWS} malformed rows up to line {record.line}, the last with "
                    f"{problem}; is the delimiter {delimiter!r}?"
                )
        else:
            pairs = zip(columns, record.fields, strict=True)
            rows.append({name: value for name, value in pairs if not known_only or name in known})
    unknown = tuple(column for column in columns if column not in (*required, *optional))
    return Rows(rows=tuple(rows), unknown_columns=unknown, rejects=tuple(rejects))


def decompress(data: bytes, name: str) -> bytes:
    """`data`, decompressed if it is a gzip stream.

    Raises:
        ConfigError: if the stream is truncated, corrupt, or decompresses to more than 2 GiB or, beyond 4 MiB, to more
            than 100 times its size; it is decompressed only up to that limit.
    """
    if data[:2] != b"\x1f\x8b":
        return data
    limit = min(_MAX_DECOMPRESSED_BYTES, max(_ALWAYS_ALLOWED_BYTES, _MAX_COMPRESSION * len(data)))
    decompressed = bytearray()
    try:
        for piece in _unpack(data):
            decompressed += piece
            if len(decompressed) > limit:
                raise ConfigError(
                    f"{name}: {len(data)} bytes that decompress to more than {limit}; if this is right, give the "
                    "file decompressed"
                )
    except (EOFError, zlib.error) as error:
        raise ConfigError(f"{name}: its gzip stream is truncated or corrupt; download the file again") from error
    return bytes(decompressed)


def _unpack(data: bytes) -> Iterator[bytes]:
    """The content of the members of a gzip file, in pieces; zeros may follow a member.

    Not by the module gzip, which reads the name in a header byte by byte.
    """
    at = 0
    for _ in range(_MAX_GZIP_MEMBERS):
        member = zlib.decompressobj(zlib.MAX_WBITS | 16)
        while not member.eof:
            piece = member.unconsumed_tail
            if not piece:
                piece = data[at : at + _GZIP_PIECE_BYTES]
                at += len(piece)
            content = member.decompress(piece, _CHUNK_BYTES)
            if not (piece or content or member.eof):
                raise EOFError
            yield content
        at -= len(member.unused_data)
        following = _NOT_ZERO.search(data, at)
        if following is None:
            return
        at = following.start()
    raise EOFError


def resolve_duplicates(rows: Sequence[Row], *, key: str, describe: Callable[[Row], Reject]) -> UniqueRows:
    """One row per value of `key`: identical rows count once, conflicting rows are all set aside.

    Args:
        rows: rows that have the column `key`.
        key: the column that should be unique.
        describe: the reject for a row that conflicts with another one.
    """
    first: dict[str, Row] = {}
    conflicting: set[str] = set()
    for row in rows:
        if first.setdefault(row[key], row) != row:
            conflicting.add(row[key])
    kept = [row for name, row in first.items() if name not in conflicting]
    rejects = [describe(row) for row in rows if row[key] in conflicting]
    return UniqueRows(kept=kept, rejects=rejects, num_identical=len(rows) - len(kept) - len(rejects))


def decode_report(data: bytes, *, on_bad_encoding: Literal["reject", "cp1252"] = "reject") -> ReportText:
    """The text of a report file. Only line ends, NULs and a byte-order mark are normalised.

    The section rules depend on exact newlines and on character offsets, so nothing else is changed.

    Raises:
        DataError: `report_not_utf8`, or `empty_report` when only white space is left.
    """
    text, encoding = _decode(data, on_bad_encoding)
    flags = ["not_utf8"] if encoding == "cp1252" else []
    for flag, old, new in (("bom", "\ufeff", ""), ("nul", "\0", ""), ("cr", "\r\n", "\n"), ("cr", "\r", "\n")):
        if old in text:
            text = text.replace(old, new)
            flags.append(flag)
    if not text.strip():
        raise DataError("empty_report", f"the report has {len(data)} bytes and no text")
    return ReportText(
        text=text,
        encoding=encoding,
        sha256=hashlib.sha256(data).hexdigest(),
        flags=tuple(dict.fromkeys(flags)),
    )


def _decode(data: bytes, on_bad_encoding: str) -> tuple[str, str]:
    if data[:2] in _UTF16_MARKS:
        raise DataError("report_not_utf8", "the report starts with a UTF-16 byte-order mark")
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError as error:
        position = error.start
    if on_bad_encoding == "cp1252":
        try:
            return data.decode("cp1252"), "cp1252"
        except UnicodeDecodeError as error:
            position = error.start
    # `from None`: the codec's own message quotes the report's bytes
    raise DataError("report_not_utf8", f"byte {position} of {len(data)} cannot be decoded") from None


@dataclass(frozen=True, kw_only=True)
class _Record:
    line: int
    fields: list[str]
    problem: str = ""


class _Lines:
    """An iterator over lines for the csv reader. It holds the lines of one record, to read them again if needed."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._following = lines
        self._again: deque[str] = deque()
        self.record: list[str] = []
        self.first = 1
        self.num_reread = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if len(self.record) >= _MAX_RECORD_LINES:
            raise StopIteration
        self.record.append(self._again.popleft() if self._again else next(self._following))
        return self.record[-1]

    def end_record(self, num_lines: int) -> None:
        """The record ends after `num_lines` of its lines; the others are read again."""
        following = self.record[num_lines:]
        self.num_reread += len(following)
        self._again.extendleft(reversed(following))
        self.first += num_lines
        self.record = []


def _records(lines: Iterator[str], delimiter: str, name: str) -> Iterator[_Record]:
    source = _Lines(lines)
    reader = csv.reader(source, delimiter=delimiter, strict=True)
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            # an unclosed quote has consumed the lines after it: set only this line aside and continue at the next one
            yield _Record(line=source.first, fields=[], problem=str(error))
            source.end_record(1)
            if source.num_reread > _MAX_REREAD_LINES:
                raise ConfigError(
                    f"{name}: too many unclosed quotes up to line {source.first}; is the delimiter {delimiter!r}?"
                ) from error
            reader = csv.reader(source, delimiter=delimiter, strict=True)
            continue
        quotes = sum(line.count('"') for line in source.record)
        if quotes % 2:
            yield _Record(line=source.first, fields=[], problem="odd number of quotes")
        elif fields:
            yield _Record(line=source.first, fields=fields)
        source.end_record(len(source.record))


def _problem(fields: Sequence[str], columns: Sequence[str]) -> str:
    if len(fields) != len(columns):
        return f"{len(fields)} fields, expected {len(columns)}"
    if any("\udc80" <= letter <= "\udcff" for field in fields if not field.isascii() for letter in field):
        return "not UTF-8"
    return ""


def _check_columns(columns: Sequence[str], name: str, required: Sequence[str], known: Sequence[str]) -> None:
    missing = [column for column in required if column not in columns]
    check_unique((column for column in columns if column in known), name)
    if not missing:
        return
    unknown = [column for column in columns if column not in known][:_SHOWN_COLUMNS]
    near = [] if are_data(columns) else [(one, difflib.get_close_matches(one, unknown, n=1)) for one in missing]
    hints = "".join(f"; is {match[0]!r} meant to be {column!r}?" for column, match in near if match)
    raise ConfigError(f"{name}: missing columns {', '.join(missing)}; found {show_columns(columns)}{hints}")
