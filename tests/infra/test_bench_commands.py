"""Every bench can be imported and explains its options: a name that moved breaks a test, not the next measurement."""

import os
import sys
from importlib import import_module
from pathlib import Path
from unittest import mock

import pytest

import infra.bench

PATHS = sorted(Path(infra.bench.__path__[0]).glob("[!_]*.py"))
COMMANDS = [path.stem for path in PATHS if "\ndef main(" in path.read_text("utf-8")]


def test_there_are_benches_to_try() -> None:
    assert {"data", "parser", "scorer", "training"} <= set(COMMANDS)


@pytest.mark.parametrize("name", [path.stem for path in PATHS])
def test_every_module_of_the_benches_finds_what_it_imports(name: str) -> None:
    import_module(f"infra.bench.{name}")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_bench_explains_its_options(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main = import_module(f"infra.bench.{name}").main
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with mock.patch.dict(os.environ), pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 0
    assert capsys.readouterr().out.startswith("usage: ")
