"""The fingerprint of a job over settings, inputs and code: equal fingerprints mean that a result can be reused."""

from collections.abc import Mapping

from pipelines.records.code_version import code_of
from trrg_core.config.fingerprint import fingerprint
from trrg_core.runs.results import require_result
from trrg_core.storage.store import Store
from trrg_core.tables.commit_history import find_commit
from trrg_core.tables.table_ref import TableRef


def job_fingerprint(job: str, settings: object, store: Store, inputs: Mapping[str, str]) -> str:
    """Hash of a job's settings, the content of its inputs, and the code it runs."""
    contents = {name: input_content(store, ref) for name, ref in inputs.items()}
    return fingerprint(job, settings, contents, code_of(job))


def input_content(store: Store, ref: str) -> str:
    """The content id behind a reference: that of a table version, or the id of a finished run."""
    if "@" in ref:
        return find_commit(store, TableRef.parse(ref)).content
    return require_result(store, ref).run_id


def have_same_content(store: Store, one: str, other: str) -> bool:
    """Whether two references stand for the same content, as two versions of the same rows do.

    Raises:
        ConfigError: if they differ and one of them is gone.
    """
    return one == other or input_content(store, one) == input_content(store, other)
