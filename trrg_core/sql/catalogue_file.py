"""The views of a store as a DuckDB file, for other tools: it names the Parquet files and holds no row of them.

Only the table `versions` is in the file itself. The views read what they name: when files were removed or the store was
moved, the catalogue is written again.
"""

import os
import uuid
from pathlib import Path

from trrg_core.errors import ConfigError, StorageError
from trrg_core.sql.catalogue import StoreView, create_versions, create_views, newest_views, versioned_views
from trrg_core.sql.locked_duckdb import LOCKED, first_line
from trrg_core.storage.store import Store, is_utf8


def write_catalogue(store: Store, path: Path, *, newest: int = 10, replace: bool = False) -> list[StoreView]:
    """Write the views of the newest versions, and by number those of the `newest` versions of each table, to a file.

    The file appears when it is complete. A file of an S3 store is read with DuckDB's extension httpfs and credentials.

    Returns:
        Its views.

    Raises:
        ConfigError: if the file exists and `replace` is not given, or it cannot be created.
        StorageError: if a file of a version cannot be read.
    """
    import duckdb

    if not is_utf8(str(path)):
        raise ConfigError(f"{str(path)!r}: the name of the file is not UTF-8")
    if path.exists() and not replace:
        raise ConfigError(f"{path} exists: give --replace to write it anew, or another name")
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: there is no folder {path.parent}")
    views = [*newest_views(store), *versioned_views(store, newest=newest)]
    temporary = path.with_name(f".{path.name[:80]}.{uuid.uuid4().hex}.tmp")
    try:
        with duckdb.connect(str(temporary), config=dict(LOCKED)) as connection:
            if store.is_s3:
                connection.register_filesystem(store.fsspec_filesystem())
            create_views(connection, views)
            create_versions(connection, store)
        os.replace(temporary, path)
    except duckdb.Error as error:
        raise StorageError(f"the catalogue could not be written: {first_line(error)}") from error
    finally:
        for left in (temporary, temporary.with_name(f"{temporary.name}.wal")):
            left.unlink(missing_ok=True)
    return views
