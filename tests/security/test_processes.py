"""Processes and secrets: what runs ends with its command, is reached by its user only, and keeps no secret."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

import flows.cli
from flows import leash
from pipelines.ray_data import session_folder
from trrg_core.config.load import load_config
from trrg_core.config.section import redact
from trrg_core.errors import ConfigError
from trrg_core.storage.store import open_store

SECRET = "hunter2"
ADDRESSES = (
    f"https://mlflow.example/?token={SECRET}",
    f"https://mlflow.example/a?x=1&X-Amz-Signature={SECRET}",
    f"https://store.blob.example/c?sv=2024&sig={SECRET}",
    f"https://mlflow.example/#access_token={SECRET}",
    f"https://mlflow.example/?%74oken={SECRET}",
    f"https://mlflow.example/?api_key={SECRET}",
    f"https://mlflow.example/?a=1;password={SECRET}",
    f"postgresql://db.example/mlflow?user=ann&password={SECRET}",
    f"https://ann:{SECRET}@mlflow.example",
    f"see https://mlflow.example/?token={SECRET} for it",
    *[f"https://x.example/?{name}={SECRET}" for name in ("pass", "pw", "code", "sas", "jwt", "hmac", "token[]")],
    f"https://x.example/?%2574oken={SECRET}",
    f"https://ann%3A{SECRET}%40x.example",
    f"https://ann:{SECRET}\uff20x.example",
    f"//ann:{SECRET}@localhost",
    f"ann:{SECRET}@db.example",
    f"https:\\\\ann:{SECRET}@x.example",
    f"redis://:{SECRET}@x.example",
    f"host=db user=ann password={SECRET}",
    f"AWS_SECRET_ACCESS_KEY={SECRET}",
    f"AccountName=a;AccountKey={SECRET}",
    f"Authorization: Bearer {SECRET}",
    f"-----BEGIN PRIVATE KEY-----{SECRET}",
)
# secrets that stand for themselves: in the path of an address, or in the form of a known key
DRAWN = (
    ("https://hooks.example/services/T024BE7LD/B0AB1CD2E/", "a7Kq2Zx9LmW4tR8vYb3Nc6Pd", ""),
    ("https://chat.example/api/webhooks/1234567890/", "hT3kQ9wZ7xLr2NvBm5Jc8YpD", "-Fs6Ga1"),
    ("https://bots.example/bot123456789:AA", "Hq7Zt2Lw9Kx4Rv8Nb3Yc6Pm", "/send"),
    ("https://mlflow.example/", "3f2a9c8d7e6f5041b2c3d4e5f6071829", "/api"),
    ("s3://bucket/", "ghp_a7Kq2Zx9LmW4tR8vYb3Nc6PdQ1", ""),
    ("see ", "xoxb-123456789012-a7Kq2Zx9LmW4", " for it"),
    ("", "hf_aKqZxLmWtRvYbNcPdHtQwZxLrN", ""),
    ("", "AKIAQ7ZT2LW9KX4RV8NB", ""),
    ("token of ", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", ""),
)


@pytest.mark.parametrize(("before", "secret", "after"), DRAWN)
@pytest.mark.parametrize("key", ["source.root", "register.override"])
def test_a_secret_that_nothing_names_is_refused_where_it_reads_as_one(
    key: str, before: str, secret: str, after: str
) -> None:
    assert secret not in redact(f"{before}{secret}{after}")
    with pytest.raises(ConfigError, match=rf"{key}: must not contain credentials") as caught:
        load_config("tiny", [f"{key}='{before}{secret}{after}'"])
    assert secret not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "https://github.example/a/b/commit/3f2a9c8d7e6f5041b2c3d4e5f6071829aabbccdd",
        "https://x.example/subscriptions/3f2a9c8d-7e6f-5041-b2c3-d4e5f6071829/resourceGroups/myGroupForRadiologyReports",
        "https://x.example/radiology-reports-2024-11-26/NIHChestXray14",
        "s3://bucket/shards/3f2a9c8d7e6f5041b2c3d4e5f6071829",
        "/data/3f2a9c8d7e6f5041b2c3d4e5f6071829/files",
        "finetune-36964bf38bc7169d",
    ],
)
def test_names_and_digests_in_an_address_are_no_secret(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("key", ["register.tracking_uri", "source.root", "ray.jobs_address", "register.override"])
def test_a_secret_in_an_address_is_refused_in_every_text_of_the_configuration(key: str, address: str) -> None:
    with pytest.raises(ConfigError, match=rf"{key}: must not contain credentials") as caught:
        load_config("tiny", [f"{key}='{address}'"])
    assert SECRET not in str(caught.value)
    assert SECRET not in redact(address)


@pytest.mark.parametrize("key", ["seed", "source.kind", "engine.zero_stage"])
@pytest.mark.parametrize("address", ADDRESSES)
def test_a_secret_in_the_wrong_place_is_not_repeated(key: str, address: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config("tiny", [f"{key}='{address}'"])
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    ["postgresql://db.example/mlflow?sslmode=require", "https://mlflow.example/?page=2&design=x", "s3://bucket/a?b=c"],
)
def test_an_address_with_other_parameters_is_taken(address: str) -> None:
    assert load_config("tiny", [f"source.root='{address}'"]).source.root == address
    assert redact(address) == address


@pytest.mark.parametrize(
    "text",
    ["models:/trrg@champion", "slices:rare@2", "pad_token=1", "user@db.example", "a:b", "view = 'AP'", "12:30", "100%"],
)
def test_other_text_is_not_taken_for_a_secret(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    "uri",
    [
        f"s3://bucket/a?token={SECRET}",
        f"s3://bucket?x={SECRET}",
        f"s3://ann:{SECRET}@bucket/a",
        f"https://store.example/?token={SECRET}",
        f"https://ann:{SECRET}@store.example/a",
    ],
)
def test_a_secret_in_the_address_of_a_store_is_refused_and_not_repeated(uri: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_store(uri)
    assert SECRET not in str(caught.value)


WRITES = """
import os, subprocess, sys
from flows.cli import _set_up
_set_up()
os.makedirs("store/runs")
open("store/file", "w").close()
subprocess.run([sys.executable, "-c", "open('store/of-a-child', 'w').close()"], check=True)
"""


def test_what_a_command_and_its_children_write_is_of_their_user_only(tmp_path: Path) -> None:
    environment = {**os.environ, "TRRG_UMASK": "077", "PYTHONPATH": str(Path(flows.cli.__file__).parents[2])}
    subprocess.run([sys.executable, "-c", WRITES], check=True, cwd=tmp_path, env=environment, timeout=120)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes == {"store": 0o700, "runs": 0o700, "file": 0o600, "of-a-child": 0o600}


@pytest.mark.parametrize(("given", "expected"), [(None, 0o077), ("007", 0o007), ("022", 0o022)])
def test_the_mask_of_files_is_given_in_the_environment(
    given: str | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRRG_UMASK", raising=False)
    if given is not None:
        monkeypatch.setenv("TRRG_UMASK", given)
    assert flows.cli._umask() == expected


@pytest.mark.parametrize("given", ["", "9", "rw", "777", "-1", "100"])
def test_a_wrong_mask_is_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRRG_UMASK", given)
    with pytest.raises(ConfigError, match=r"TRRG_UMASK=.*expected an octal number"):
        flows.cli._umask()


def test_the_folder_of_ray_is_private_and_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_folder, "LONGEST_BASE", 200)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    for _ in range(2):
        folder = Path(session_folder.session_folder())
        assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
        folder.parent.chmod(0o777)  # as an earlier version left it
    monkeypatch.undo()
    monkeypatch.setenv("RAY_TMPDIR", "/" + "a" * 100)
    assert len(session_folder.session_folder()) < 41, "a socket below it has at most 107 characters"


def test_a_folder_that_another_user_has_laid_out_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_folder, "LONGEST_BASE", 200)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"trrg-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="is not a folder of this user"):
        session_folder.session_folder()


def test_a_token_that_others_could_read_is_closed(tmp_path: Path) -> None:
    token = tmp_path / "auth_token"
    token.write_text("x")
    token.chmod(0o644)
    session_folder.make_private(token)
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    session_folder.make_private(tmp_path / "none")


# the mark of a command that is gone: no watcher is left that would end what this one starts
INHERITED = """
import subprocess, sys, time
from flows import leash
print(leash.hold(), flush=True)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
time.sleep(300)
"""


def test_what_inherits_the_mark_of_a_gone_command_is_watched_too() -> None:
    environment = {**os.environ, leash.MARK: "0" * 32}
    with subprocess.Popen([sys.executable, "-c", INHERITED], env=environment, stdout=subprocess.PIPE, text=True) as one:
        assert one.stdout is not None
        mark = one.stdout.readline().strip()
        assert mark != "0" * 32
        wait_for(lambda: len(leash.marked(mark)) == 1, 30)
        os.kill(one.pid, signal.SIGKILL)
    wait_for(lambda: not leash.marked(mark), 30)


def wait_for(condition, limit_s: float) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)
