"""Who made this: the code version and the fingerprint of a job, so that the same work is found, not redone."""

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pipelines
import trrg_core
from trrg_core.config import fingerprint
from trrg_core.runs import require_result
from trrg_core.storage import Store
from trrg_core.tables import TableRef, find_commit


@cache
def code_version() -> str:
    """12 hex digits over every source and rule file of `trrg_core` and `pipelines`."""
    digest = hashlib.sha256()
    for package in (trrg_core, pipelines):
        root = Path(str(package.__file__)).parent
        for file in sorted(root.rglob("*")):
            if file.suffix in (".py", ".yaml", ".html"):
                digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]


def job_fingerprint(job: str, settings: object, store: Store, inputs: Mapping[str, str]) -> str:
    """What identifies a job's work: its settings, the content of its inputs, and the code."""
    contents = {name: input_content(store, ref) for name, ref in inputs.items()}
    return fingerprint(job, settings, contents, code_version())


def input_content(store: Store, ref: str) -> str:
    """What identifies the content behind a reference: a table version's, or a finished run's id."""
    if "@" in ref:
        return find_commit(store, TableRef.parse(ref)).content
    return require_result(store, ref).run_id
