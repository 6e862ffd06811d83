from pathlib import Path

import pytest

from trrg_core.errors import ConfigError
from trrg_core.metrics.outside.outside_settings import OutsideSettings, is_local, read_outside_settings


def read(folder: Path, text: str) -> OutsideSettings:
    (folder / "outside.yaml").write_text(text)
    return read_outside_settings(str(folder / "outside.yaml"))


JUDGE = "metrics: {crimson: {command: [judge], endpoint: 'https://judge.example/v1'}}\n"


def test_an_outside_endpoint_is_refused_unless_it_is_declared(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"crimson: https://judge\.example/v1 is outside this machine"):
        read(tmp_path, JUDGE)
    with pytest.raises(ConfigError, match="outside this machine"):
        read(tmp_path, JUDGE + "declared_endpoints: ['https://judge.example']")
    assert read(tmp_path, JUDGE + "declared_endpoints: ['https://judge.example/v1']").metrics
    assert read(tmp_path, JUDGE + "under_agreement: false").metrics


def test_texts_are_under_an_agreement_unless_said_otherwise() -> None:
    assert OutsideSettings().under_agreement


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("http://localhost:8000/v1", True),
        ("http://127.0.0.1:8000", True),
        ("http://[::1]:8000", True),
        ("localhost:8000", True),
        ("http://0.0.0.0:8000", False),
        ("http://10.0.0.5:8000", False),
        ("http://localhost.example/v1", False),
        ("https://127.0.0.1.example", False),
        ("http://localhost@judge.example", False),
    ],
)
def test_only_this_machine_is_local(address: str, local: bool) -> None:
    assert is_local(address) is local


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("metrics: {radgraph: {pythn: x}}", "unknown key 'metrics.radgraph.pythn'|pythn"),
        ("metrics: {radgraph: {}}", "give either `python` or `command`"),
        ("metrics: {radgraph: {python: x, command: [y]}}", "give either `python` or `command`"),
        ("metrics: {crimson: {python: x}}", "`python` is for metrics of RadEval"),
        ("metrics: {mine: {python: x}}", "`python` is for metrics of RadEval"),
        ("metrics: {green: {python: x, endpoint: 'https://user:secret@judge'}}", "must not contain credentials"),
        ("- a", "expected a mapping"),
    ],
)
def test_a_wrong_file_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read(tmp_path, text)
    assert "secret" not in str(caught.value)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ConfigError, match=r"no file .*nowhere\.yaml"):
        read_outside_settings("nowhere.yaml")
