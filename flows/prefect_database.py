"""The PostgreSQL database that `trrg up` gives to Prefect: looked at before Prefect starts and fills a screen."""

import asyncio

from trrg_core.errors import ConfigError, StorageError

SCHEME = "postgresql+asyncpg"
OF_A_FILE = "sqlite+aiosqlite"  # Prefect's own, where its variable names another file
TIMEOUT_S = 10.0


def check_database(url: str) -> None:
    """Check that the URL is one of PostgreSQL with the driver asyncpg, and that it answers; empty is SQLite.

    Raises:
        ConfigError: for another URL, or a database that refuses the user or does not exist.
        StorageError: if it does not answer.
    """
    scheme, separator, rest = url.partition("://")
    if not url or scheme == OF_A_FILE:
        return
    if scheme != SCHEME or not separator or not rest:
        shown = scheme if separator else "no URL"  # the rest may hold a password
        raise ConfigError(
            f"the database of Prefect is {shown!r}: expected {SCHEME}://USER:PASSWORD@HOST:PORT/NAME, or nothing for "
            "SQLite"
        )
    if "?" in rest:  # options of SQLAlchemy, such as a socket, which the driver reads in another way
        return
    import asyncpg

    place = f"the database of Prefect at {rest.rpartition('@')[2]}"
    try:
        asyncio.run(_connect(f"postgresql://{rest}"))
    except (asyncpg.PostgresError, ValueError) as error:
        raise ConfigError(f"{place} refuses: {' '.join(str(error).split())}") from error
    except (OSError, TimeoutError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise StorageError(f"{place} does not answer ({reason}): start it, or look at its host and port") from error


async def _connect(url: str) -> None:
    import asyncpg

    await (await asyncpg.connect(url, timeout=TIMEOUT_S)).close()
