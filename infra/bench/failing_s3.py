"""A store in an S3 of this process whose requests fail at random, for `infra.bench.faults` and `infra.bench.kills`."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trrg_core.storage.store import Store, open_store

if TYPE_CHECKING:
    from tests.core.faulty_s3 import FaultyS3

S3_SHARE = 0.03  # of the requests


@dataclass(frozen=True, kw_only=True)
class FailingStore:
    """The address of the store, and the service that it is in."""

    uri: str
    service: "FaultyS3"

    def copy(self, folder: Path) -> Store:
        """A copy in `folder`, which is emptied first; from now on no request fails."""
        self.service.share = 0.0
        shutil.rmtree(folder, ignore_errors=True)
        open_store(self.uri).download_dir("", folder)
        return open_store(str(folder))

    def summary(self) -> str:
        """How many requests there were, and how they failed."""
        failed = ", ".join(f"{count} {kind}" for kind, count in sorted(self.service.failed.items()))
        return f"S3 failed {self.service.failed.total()} of {len(self.service.requests)} requests: {failed}"


@contextmanager
def failing_store() -> Iterator[FailingStore]:
    """A new store, with its credentials in the environment of this process, while the block lasts."""
    from tests.core.faulty_s3 import faulty_s3, make_bucket  # the service of the tests

    with faulty_s3() as service:
        make_bucket(service, "faults")
        variables = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_ENDPOINT_URL": service.endpoint}
        os.environ.update(variables)
        service.share = S3_SHARE
        yield FailingStore(uri="s3://faults/store", service=service)
