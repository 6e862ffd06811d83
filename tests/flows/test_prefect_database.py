"""What is wrong with the database of Prefect is one line, before Prefect starts."""

import socket

import pytest

from flows.prefect_database import check_database
from trrg_core.errors import ConfigError, StorageError


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///x", "'sqlite'"),
        ("postgresql://u:secret@h/x", "'postgresql'"),
        ("u:secret@h/x", "'no URL'"),
        ("postgresql+asyncpg://", "'postgresql.asyncpg'"),
    ],
)
def test_an_address_of_another_form_is_refused_with_the_right_one(url: str, shown: str) -> None:
    right = r"expected postgresql\+asyncpg://USER:PASSWORD@HOST:PORT/NAME, or nothing for SQLite$"
    with pytest.raises(ConfigError, match=f"^the database of Prefect is {shown}: {right}"):
        check_database(url)


def test_a_stopped_server_is_named_without_its_password() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(StorageError, match=rf"^the database of Prefect at 127\.0\.0\.1:{port}/x does not answer \("):
        check_database(f"postgresql+asyncpg://u:secret@127.0.0.1:{port}/x")


@pytest.mark.parametrize(
    "url", ["", "sqlite+aiosqlite:////tmp/prefect.db", "postgresql+asyncpg:///prefect?host=/no/socket"]
)
def test_what_only_prefect_can_read_is_left_to_it(url: str) -> None:
    check_database(url)
