"""Rows set aside, by any job, in one append-only table: nothing is dropped in silence."""

from collections.abc import Sequence
from dataclasses import asdict

import pyarrow as pa

from trrg_core.schema import REJECTS
from trrg_core.storage import Store
from trrg_core.study import Reject
from trrg_core.tables import commit_parts, find_by_fingerprint, write_part


def commit_rejects(store: Store, job: str, fingerprint: str, rejects: Sequence[Reject]) -> None:
    """Append `rejects` to the table, once per fingerprint; an empty list makes no version."""
    if not rejects or find_by_fingerprint(store, "rejects", fingerprint):
        return
    rows = [{"job": job, "fingerprint": fingerprint, **asdict(reject)} for reject in rejects]
    part = write_part(
        store, "rejects", f"parts/{fingerprint}/rejects.parquet", pa.Table.from_pylist(rows, schema=REJECTS)
    )
    commit_parts(store, "rejects", [part], REJECTS, fingerprint=fingerprint, append=True, counts={"rows": len(rows)})
