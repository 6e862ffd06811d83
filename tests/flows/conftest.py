"""One Prefect server for all tests of this folder that run flows: it takes ten seconds to start."""

from collections.abc import Iterator

import pytest
from prefect.testing.utilities import prefect_test_harness


@pytest.fixture(scope="package")
def prefect_server() -> Iterator[None]:
    """A server with an empty database; what a test reads back it finds by the id of its own flow run."""
    with prefect_test_harness(server_startup_timeout=150):
        yield
