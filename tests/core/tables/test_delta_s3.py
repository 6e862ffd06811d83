"""Tables on a service that fails. The writer is a process of its own: deltalake holds the GIL while it waits."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.core.faulty_s3 import FaultyS3, faulty_s3, make_bucket

ROOT = Path(__file__).parents[3]
WRITER = """
import json, sys
import pyarrow as pa
from trrg_core.errors import TrrgError
from trrg_core.storage.store import RetryPolicy, open_store
from trrg_core.tables.commit_history import CommitMetadata, history
from trrg_core.tables.delta import commit_parts, list_parts, read_table
from trrg_core.tables.parquet import write_part

SCHEMA = pa.schema([("study_id", pa.string()), ("split", pa.string())])
store = open_store(sys.argv[1], RetryPolicy(deadline_s=20, answer_timeout_s=5, first_pause_s=0.02, longest_pause_s=0.1))

def part(name):
    rows = pa.table({"study_id": [name], "split": ["train"]}, schema=SCHEMA)
    return write_part(store, "studies", f"parts/{name}.parquet", rows, split="train")

def commit(parts, fingerprint):
    return str(commit_parts(store, "studies", parts, SCHEMA, CommitMetadata(fingerprint=fingerprint)))

def first(): return commit([part("a"), part("b")], "f1")
def keep():
    ref = history(store, "studies")[0].ref
    return commit([*list_parts(store, ref)[:1], part("c")], "f2")
def read(): return read_table(store, history(store, "studies")[0].ref)["study_id"].to_pylist()

print("ready", flush=True)
for line in sys.stdin:
    try:
        answer = {"first": first, "keep": keep, "read": read}[line.strip()]()
    except TrrgError as error:
        answer = f"{type(error).__name__}: {error}"
    print(json.dumps(answer), flush=True)
"""


@pytest.fixture(scope="module")
def service() -> Iterator[FaultyS3]:
    with faulty_s3() as state:
        yield state


class Writer:
    def __init__(self, service: FaultyS3, bucket: str) -> None:
        secrets = {"AWS_ACCESS_KEY_ID": "invented", "AWS_SECRET_ACCESS_KEY": "invented"}
        self.child = subprocess.Popen(
            [sys.executable, "-c", WRITER, f"s3://{bucket}/store"],
            cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, **secrets, "AWS_ENDPOINT_URL": service.endpoint},
        )  # fmt: skip
        assert self.child.stdout is not None
        assert self.child.stdout.readline() == "ready\n"

    def ask(self, what: str) -> object:
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        self.child.stdin.write(f"{what}\n")
        self.child.stdin.flush()
        return json.loads(self.child.stdout.readline())


@pytest.fixture
def writer(service: FaultyS3, request: pytest.FixtureRequest) -> Iterator[Writer]:
    bucket = f"bucket-{abs(hash(request.node.name)) % 10**8}"
    service.faults.clear()
    make_bucket(service, bucket)
    writer = Writer(service, bucket)
    with writer.child:
        yield writer
        service.faults.clear()
        writer.child.kill()


@pytest.mark.timeout(120)
def test_passing_faults_are_survived_by_commits_and_reads(service: FaultyS3, writer: Writer) -> None:
    service.faults += ["503", "reset", "500"]
    assert writer.ask("first") == "studies@0"
    service.faults += ["reset", "503"]
    assert writer.ask("read") == ["a", "b"]
    service.faults += ["503", "500", "reset"]
    assert writer.ask("keep") == "studies@1"
    service.faults += ["500"]
    assert writer.ask("read") == ["a", "c"]
    assert service.faults == []


@pytest.mark.timeout(120)
def test_a_refusal_is_a_config_error_at_once(service: FaultyS3, writer: Writer) -> None:
    assert writer.ask("first") == "studies@0"
    for what in ("read", "keep"):
        service.requests.clear()
        service.faults[:] = ["403"] * 40
        answer = str(writer.ask(what))
        assert answer.startswith("ConfigError: s3://")
        assert "403" in answer
        assert "check the bucket's name and the AWS_* environment" in answer
        assert len(service.requests) < 12
