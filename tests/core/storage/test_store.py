import errno
import os
import pickle
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.core.faulty_s3 import FaultyS3, faulty_s3, make_bucket
from trrg_core.errors import ConfigError, DataError, StorageError
from trrg_core.storage import local_disk
from trrg_core.storage.store import RetryPolicy, Store, open_store, relative_path

QUICK = RetryPolicy(deadline_s=10, answer_timeout_s=1, first_pause_s=0.02, longest_pause_s=0.1)


@pytest.fixture(scope="module")
def service() -> Iterator[FaultyS3]:
    with faulty_s3() as state:
        yield state


@pytest.fixture
def bucket(service: FaultyS3, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Store:
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "invented"),
        ("AWS_SECRET_ACCESS_KEY", "invented"),
        ("AWS_ENDPOINT_URL", service.endpoint),
    ):
        monkeypatch.setenv(name, value)
    name = f"bucket-{abs(hash(request.node.name)) % 10**8}"
    make_bucket(service, name)
    service.faults.clear()
    service.requests.clear()
    return open_store(f"s3://{name}/some/prefix", QUICK)


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        return open_store(str(tmp_path / "store"))
    store = request.getfixturevalue("bucket")
    assert isinstance(store, Store)
    return store


def test_what_is_written_is_read_listed_and_deleted(store: Store) -> None:
    store.write_bytes("runs/a/one.bin", b"one")
    store.write_bytes("runs/a/deep/two.bin", b"")
    store.write_bytes("runs/ab/three.bin", b"three")
    assert store.read_bytes("runs/a/one.bin") == b"one"
    assert store.read_bytes("runs/a/deep/two.bin", max_bytes=10) == b""
    assert store.list("runs/a") == ("runs/a/deep/two.bin", "runs/a/one.bin")
    assert store.exists("runs/a/one.bin")
    assert store.exists("runs/a")
    assert not store.exists("runs/b")
    assert store.list("runs/b") == ()
    store.delete("runs/a")
    store.delete("runs/nothing")
    assert store.list() == ("runs/ab/three.bin",)


def test_write_bytes_replaces_and_write_new_does_not(store: Store) -> None:
    assert store.write_new("lease", b"first")
    assert not store.write_new("lease", b"second")
    assert store.read_bytes("lease") == b"first"
    store.write_bytes("lease", b"third")
    assert store.read_bytes("lease") == b"third"


def test_of_many_writers_exactly_one_makes_the_file(store: Store) -> None:
    won: list[int] = []
    gate = threading.Barrier(6)

    def write(number: int) -> None:
        gate.wait()
        if store.write_new("commit/0.json", b"%d" % number):
            won.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.read_bytes("commit/0.json") == b"%d" % won[0]


def test_a_missing_file_is_a_reason_and_names_the_key(store: Store) -> None:
    with pytest.raises(DataError, match=r"no/such\.txt") as caught:
        store.read_bytes("no/such.txt")
    assert caught.value.reason == "missing_file"


def test_a_file_above_the_cap_is_not_read(store: Store) -> None:
    store.write_bytes("long.txt", b"x" * 101)
    assert len(store.read_bytes("long.txt", max_bytes=101)) == 101
    with pytest.raises(DataError) as caught:
        store.read_bytes("long.txt", max_bytes=100)
    assert caught.value.reason == "file_too_large"


def test_a_folder_goes_up_and_comes_back_the_same(store: Store, tmp_path: Path) -> None:
    (tmp_path / "up/inner").mkdir(parents=True)
    (tmp_path / "up/weights.bin").write_bytes(bytes(range(256)) * 40)
    (tmp_path / "up/inner/[odd] *name?.json").write_bytes(b"{}")
    names = store.upload_dir(tmp_path / "up", "runs/7")
    assert names == ("inner/[odd] *name?.json", "weights.bin")
    assert store.download_dir("runs/7", tmp_path / "down") == names
    for name in names:
        assert (tmp_path / "down" / name).read_bytes() == (tmp_path / "up" / name).read_bytes()
    store.delete("runs/7")
    assert store.list("runs") == ()


@pytest.mark.parametrize(
    "path", ["../x", "a/../../x", "/etc/passwd", "s3://other/x", "C:\\x", "a\\..\\x", "a\nb", "file:///etc/passwd"]
)
def test_no_path_leaves_the_store(store: Store, path: str) -> None:
    for call in (store.join, store.read_bytes, store.exists, store.list, store.delete):
        with pytest.raises(DataError) as caught:
            call(path)
        assert caught.value.reason == "path_escape"


def test_a_link_out_of_the_store_is_an_escape(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    store = open_store(str(tmp_path / "store"))
    store.write_bytes("inside.txt", b"fine")
    (tmp_path / "store/out").symlink_to(tmp_path)
    (tmp_path / "store/alias.txt").symlink_to(tmp_path / "store/inside.txt")
    assert store.read_bytes("alias.txt") == b"fine"
    with pytest.raises(DataError) as caught:
        store.read_bytes("out/secret.txt")
    assert caught.value.reason == "path_escape"


def test_relative_path_gives_the_shortest_form() -> None:
    assert relative_path("./a//b/./c.txt") == "a/b/c.txt"
    assert relative_path("") == relative_path(".") == ""


def test_the_mark_of_a_folder_is_no_file(bucket: Store, tmp_path: Path) -> None:
    """Ray, which writes by pyarrow, leaves an empty object `runs/a/` for a folder."""
    bucket.write_bytes("runs/a/one.bin", b"one")
    for folder in ("", "runs", "runs/a"):
        bucket.pyarrow_filesystem().create_dir(bucket.pyarrow_path(folder).rstrip("/"))
    assert bucket.list() == ("runs/a/one.bin",)
    assert list(bucket.stamps("runs")) == ["runs/a/one.bin"]
    assert bucket.download_dir("", tmp_path) == ("runs/a/one.bin",)
    bucket.delete("runs/a")
    assert not bucket.exists("runs/a")
    assert bucket.list() == ()


def test_the_store_itself_is_never_deleted(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="whole store"):
        open_store(str(tmp_path)).delete("./")


@pytest.mark.parametrize("uri", ["", "ftp://host/x", "s3://", "s3://a b/x", "s3://key:secret@bucket/x"])
def test_a_wrong_uri_is_a_config_error_without_the_secret(uri: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_store(uri)
    assert "secret" not in str(caught.value)


def test_a_store_crosses_to_a_worker(store: Store) -> None:
    store.write_bytes("x", b"1")
    copy = pickle.loads(pickle.dumps(store))
    assert copy == store
    assert copy.read_bytes("x") == b"1"


@pytest.mark.parametrize("fault", ["500", "503", "reset", "hang"])
def test_a_passing_fault_is_survived(bucket: Store, service: FaultyS3, fault: str) -> None:
    service.faults += [fault, fault]
    bucket.write_bytes("x", b"data")
    service.faults += [fault]
    assert bucket.read_bytes("x") == b"data"
    service.faults += [fault]
    assert bucket.list() == ("x",)
    service.faults += [fault]
    assert bucket.exists("x")
    assert service.faults == []


def test_a_lasting_fault_ends_at_the_deadline_and_names_the_key(bucket: Store, service: FaultyS3) -> None:
    hasty = Store(bucket.uri, RetryPolicy(deadline_s=1, answer_timeout_s=1, first_pause_s=0.05, longest_pause_s=0.2))
    service.faults += ["503"] * 200
    start = time.monotonic()
    with pytest.raises(StorageError, match=r"some/prefix/key: SlowDown"):
        hasty.read_bytes("key")
    assert time.monotonic() - start < 5
    assert 3 < len(service.requests) < 40
    service.faults.clear()


def test_refusal_is_not_tried_again(bucket: Store, service: FaultyS3) -> None:
    service.faults += ["403"]
    with pytest.raises(ConfigError, match=r"some/prefix/key: ExpiredToken"):
        bucket.read_bytes("key")
    assert len(service.requests) == 1


def test_no_such_bucket_is_a_config_error(bucket: Store) -> None:
    nowhere = open_store("s3://no-such-bucket/x", QUICK)
    for call in (lambda: nowhere.read_bytes("k"), lambda: nowhere.write_bytes("k", b"")):
        with pytest.raises(ConfigError, match="no-such-bucket/x/k: NoSuchBucket"):
            call()


def test_a_new_object_whose_answer_was_lost_is_still_ours(bucket: Store, service: FaultyS3) -> None:
    service.faults += ["lose-answer"]
    assert bucket.write_new("lease", b"owner 1")
    service.faults += ["lose-answer"]
    assert not bucket.write_new("lease", b"owner 2")
    assert bucket.read_bytes("lease") == b"owner 1"


def test_delta_and_pyarrow_use_the_same_place(bucket: Store, service: FaultyS3) -> None:
    import deltalake
    import pyarrow as pa

    options = bucket.delta_options()
    assert not [key for key in options if "SECRET" in key or "ACCESS_KEY" in key]
    deltalake.write_deltalake(bucket.join("tables/t"), pa.table({"x": [1, 2]}), storage_options=options)
    table = deltalake.DeltaTable(bucket.join("tables/t"), storage_options=options)
    assert table.version() == 0
    fs = bucket.pyarrow_filesystem()
    with fs.open_output_stream(bucket.pyarrow_path("arrow.bin")) as stream:
        stream.write(b"by arrow")
    assert bucket.read_bytes("arrow.bin") == b"by arrow"
    assert any(name.startswith("tables/t/_delta_log/") for name in bucket.list("tables"))


def test_local_delta_and_pyarrow_paths(tmp_path: Path) -> None:
    store = open_store(f"file://{tmp_path}")
    assert store.delta_options() == {}
    store.write_bytes("a/b", b"1")
    assert store.pyarrow_filesystem().get_file_info(store.pyarrow_path("a/b")).size == 1


def test_a_folder_that_may_not_be_written_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []
    monkeypatch.setattr(local_disk.os, "access", lambda path, mode: bool(asked.append(path)))
    store = open_store(str(tmp_path / "store"))
    with pytest.raises(ConfigError, match=r"may not be written: give a store that this user may write to"):
        store.check_writable("tables/studies")
    assert asked == [tmp_path], "the folder that is there counts"
    monkeypatch.setattr(local_disk.os, "access", lambda path, mode: True)
    store.check_writable("tables/studies")
    assert not store.exists()


def test_a_full_disk_leaves_no_partial_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        path.write_bytes(data[:3])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(local_disk, "_write_synced", full)
    with pytest.raises(StorageError, match=r"no space for 5 bytes at .*a/b"):
        open_store(str(tmp_path)).write_bytes("a/b", b"12345")
    assert list((tmp_path / "a").iterdir()) == []


def test_a_write_cut_by_a_kill_is_invisible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(str(tmp_path))
    store.write_bytes("a", b"old")
    pid = os.fork()
    if pid == 0:
        monkeypatch.setattr(local_disk.Path, "replace", lambda *_: os.kill(os.getpid(), 9))
        store.write_bytes("a", b"new")
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 9
    assert store.read_bytes("a") == b"old"
    assert store.list() == ("a",)
    assert len(list(tmp_path.iterdir())) == 2, "the cut write left its temporary file, which list() hides"
