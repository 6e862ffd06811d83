"""First steps of a run, for the command line and the flow: read the configuration, check the source, find results.

No Prefect here, so that the command line can report a mistake before it starts a server.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

from pipelines.running.catalog import JOBS, find_job, jobs_before
from pipelines.running.newest_outputs import newest_outputs
from trrg_core.config.load import load_config
from trrg_core.config.settings import TrrgConfig
from trrg_core.errors import ConfigError, StorageError
from trrg_core.storage.store import open_store

_MIN_TEMPORARY_BYTES = 64 * 2**20

# a name in the catalog; the schema makes it a choice in Prefect's form
JobName = Annotated[
    str, AfterValidator(lambda name: find_job(name).name), WithJsonSchema({"type": "string", "enum": list(JOBS)})
]


def read_config(preset: str, source: str, source_root: str, settings: Sequence[str]) -> TrrgConfig:
    """The configuration of a preset or YAML file; an empty `source` or `source_root` keeps the value given there.

    Raises:
        ConfigError: for an unknown preset, key or value.
    """
    given = {"source.kind": source, "source.root": source_root}
    # quoted, because values are YAML and a folder may be called 2024
    overrides = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in given.items() if value]
    return load_config(preset, [*overrides, *settings])


def check_source(config: TrrgConfig) -> None:
    """Check that the source to read exists, before a server or a cluster is started.

    Raises:
        ConfigError: if none is given, or it is a folder of this machine that does not exist.
    """
    root = config.source.root
    if not root:
        raise ConfigError("no source to read: give --source-root FOLDER, or source.root in the YAML file")
    # a cluster may see folders that this machine does not
    is_here = "://" not in root and not config.ray.jobs_address and not config.ray.address
    try:
        is_missing = is_here and not Path(root).expanduser().exists()
    except (RuntimeError, OSError, ValueError):  # an unknown user, or a name that no folder can have
        is_missing = True
    if is_missing:
        raise ConfigError(f"source root {root[:200]!r}: there is no such folder")


def check_temporary_folder() -> None:
    """Check that there is room for temporary files, which the databases of a run take from TMPDIR by themselves.

    Raises:
        ConfigError: if there is no such folder.
        StorageError: if it has less than 64 MiB.
    """
    folder = os.environ.get("TMPDIR") or tempfile.gettempdir()
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise ConfigError(f"TMPDIR {folder}: {error.strerror}") from error
    if free < _MIN_TEMPORARY_BYTES:
        raise StorageError(
            f"{folder} has {free / 2**20:.0f} MiB for temporary files, a run needs {_MIN_TEMPORARY_BYTES // 2**20}: "
            "free some, or let TMPDIR name another folder"
        )


def find_earlier_results(store: str, enter_at: str) -> dict[str, str]:
    """The newest results in the store of the jobs before `enter_at`, by output name.

    Raises:
        ConfigError: if a job has no result; names the first such job.
    """
    jobs = jobs_before(enter_at)
    results = newest_outputs(open_store(store), [job.output for job in jobs])
    missing = [job.name for job in jobs if job.output not in results]
    if missing:
        raise ConfigError(f"{store} has no result of {missing[0]}: enter at {missing[0]} or earlier")
    return results
