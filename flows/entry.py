"""What both doors, the command line and the flow, do first: read the configuration, find where to enter the chain.

No Prefect here, so that the command line can refuse before it starts a server.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pipelines.running.catalog import JOBS, newest_outputs
from trrg_core.config.load import load_config
from trrg_core.config.settings import TrrgConfig
from trrg_core.errors import ConfigError
from trrg_core.storage.store import open_store

OnDrift = Literal["warn", "stop", "ignore"]


def read_config(preset: str, source: str, source_root: str, settings: Sequence[str]) -> TrrgConfig:
    """The configuration of a preset or YAML file; an empty `source` or `source_root` leaves what it says there.

    Raises:
        ConfigError: for an unknown preset, key or value.
    """
    given = {"source.kind": source, "source.root": source_root}
    # quoted, because values are YAML and a folder may be called 2024
    doors = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in given.items() if value]
    return load_config(preset, [*doors, *settings])


def check_source(config: TrrgConfig) -> None:
    """Check that there is a source to read, before anything is started for it.

    Raises:
        ConfigError: if none is named, or it is a folder of this machine that is not there.
    """
    root = config.source.root
    if not root:
        raise ConfigError("no source to read: give --source-root FOLDER, or source.root in the YAML file")
    # a cluster may see folders that this machine does not
    is_here = "://" not in root and not config.ray.jobs_address and not config.ray.address
    if is_here and not Path(root).expanduser().exists():
        raise ConfigError(f"source root {root!r}: there is no such folder")


def take_earlier(store: str, enter_at: str) -> dict[str, str]:
    """The newest results in the store of the jobs before `enter_at`, by output name.

    Raises:
        ConfigError: if one has none; names the first such job.
    """
    names = list(JOBS)
    jobs = names[: names.index(enter_at)]
    found = newest_outputs(open_store(store), tuple(JOBS[job].output for job in jobs))
    missing = [job for job in jobs if JOBS[job].output not in found]
    if missing:
        raise ConfigError(f"{store} has no result of {missing[0]}: enter at {missing[0]} or earlier")
    return found
