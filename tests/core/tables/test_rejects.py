from pathlib import Path

import pyarrow as pa
import pytest

from tests.core.toy_versions import LABEL_SET, report_row, write_version
from trrg_core.errors import ConfigError
from trrg_core.storage.store import Store, open_store
from trrg_core.tables.commit_history import CommitMetadata
from trrg_core.tables.delta import commit_parts
from trrg_core.tables.parquet import write_part
from trrg_core.tables.rejects import count_rejects, read_rejects
from trrg_core.tables.schema import REJECTS, reports_schema


def _set_aside(store: Store, job: str, fingerprint: str, reasons: list[str]) -> None:
    rows = [
        {"job": job, "fingerprint": fingerprint, "reason": reason, "study_id": str(number)}
        for number, reason in enumerate(reasons)
    ]
    part = write_part(store, "rejects", f"parts/{fingerprint}.parquet", pa.Table.from_pylist(rows, schema=REJECTS))
    commit_parts(store, "rejects", [part], REJECTS, CommitMetadata(fingerprint=fingerprint), append=True)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = open_store(str(tmp_path / "store"))
    _set_aside(store, "ingest", "f0", ["missing_file", "truncated", "missing_file"])
    _set_aside(store, "parse", "f1", ["no_report_section"])
    _set_aside(store, "parse", "f2", ["no_report_section", "no_report_section"])
    for fingerprint in ("f1", "f2"):
        write_version(store, "reports", [report_row("9", {})], reports_schema(LABEL_SET), fingerprint=fingerprint)
    return store


@pytest.mark.parametrize(
    ("what", "reason", "counts"),
    [
        ("", "", {"ingest": {"missing_file": 2, "truncated": 1}, "parse": {"no_report_section": 3}}),
        ("parse", "", {"parse": {"no_report_section": 3}}),
        ("reports@0", "", {"parse": {"no_report_section": 1}}),
        ("reports@1", "", {"parse": {"no_report_section": 2}}),
        ("rejects@0", "", {"ingest": {"missing_file": 2, "truncated": 1}}),
        ("", "truncated", {"ingest": {"truncated": 1}}),
    ],
)
def test_rejects_are_chosen_by_version_job_and_reason(
    store: Store, what: str, reason: str, counts: dict[str, dict[str, int]]
) -> None:
    assert count_rejects(read_rejects(store, what, reason=reason)) == counts


def test_what_set_nothing_aside_is_named_beside_what_did(store: Store) -> None:
    with pytest.raises(ConfigError, match="no rejects of job 'parze': expected one of ingest, parse"):
        read_rejects(store, "parze")
    with pytest.raises(ConfigError, match=r"expected one of no_report_section$"):
        read_rejects(store, "parse", reason="truncated")
    with pytest.raises(ConfigError, match="no version reports@7"):
        read_rejects(store, "reports@7")


def test_an_empty_store_has_set_nothing_aside(tmp_path: Path) -> None:
    rows = read_rejects(open_store(str(tmp_path)))
    assert (rows.num_rows, count_rejects(rows)) == (0, {})
