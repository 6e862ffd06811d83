"""One `trrg up` per database of Prefect: a second one would point all deployments of the first at its own store."""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trrg_core.errors import ConfigError


@contextmanager
def only_service(store: str, port: int, *, home: Path, database: str) -> Iterator[None]:
    """Holds the place of the one service while the block lasts; the kernel frees it when the process is killed.

    Args:
        store: what the deployments of this service work on.
        port: of its Prefect server.
        home: Prefect's folder.
        database: URL of Prefect's database; empty for the SQLite file in `home`.

    Raises:
        ConfigError: if another service has it; names its process, store and port.
    """
    key = f"-{hashlib.sha256(database.encode()).hexdigest()[:12]}" if database else ""
    with (home / f"trrg-up{key}.lock").open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise ConfigError(
                f"{file.read().strip() or 'another trrg up'} uses this database of Prefect, and has its deployments: "
                "stop it with `trrg down --port PORT`, or give this one another database, with PREFECT_HOME=FOLDER or "
                "--database"
            ) from error
        file.truncate(0)
        file.write(f"process {os.getpid()}, which serves store {store} on port {port},")
        file.flush()
        yield
