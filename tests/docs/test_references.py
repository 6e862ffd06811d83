"""The generated references name every setting, command and module."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from pydantic import BaseModel

from flows.cli import app
from tests.docs.pages import ROOT
from trrg_core.config.settings import TrrgConfig

pytest.importorskip("sphinx")


@pytest.fixture
def extensions(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the site's extensions, importable."""
    folder = ROOT / "docs" / "_ext"
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    for path in folder.glob("*.py"):
        sys.modules.pop(path.stem, None)


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        key = f"{prefix}{field.alias or name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _keys(field.annotation, f"{key}.")
        else:
            yield key


def test_every_setting_is_in_the_reference_with_its_meaning(extensions: Path) -> None:
    from configuration_reference import describe_configuration

    rows = [line.split(" | ") for line in describe_configuration().splitlines() if line.startswith("| `")]
    assert {row[0].strip("| `") for row in rows} == set(_keys(TrrgConfig))
    assert all(len(row) == 4 and len(row[3]) > 8 for row in rows)


def test_every_command_and_option_is_in_the_reference(extensions: Path) -> None:
    from command_reference import describe_commands

    page = describe_commands()
    for name, command in typer.main.get_command(app).commands.items():
        section = page.partition(f"## trrg {name}\n")[2].partition("\n## ")[0]
        assert section, name
        assert "```bash\ntrrg" in section, f"{name} has no example"
        for parameter in command.params:
            if parameter.name != "help" and parameter.param_type_name == "option":
                assert f"`{parameter.opts[0]}`" in section


def test_every_public_module_has_its_place(extensions: Path, tmp_path: Path) -> None:
    from api_pages import SKIPPED, write_api_pages

    (tmp_path / "gone.rst").write_text("an old page")
    write_api_pages(tmp_path)
    written = "".join(path.read_text() for path in tmp_path.glob("*.rst"))
    assert "an old page" not in written
    for package in ("trrg_core", "pipelines", "flows"):
        for path in (ROOT / package).rglob("*.py"):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            if path.stem != "__init__" and module not in SKIPPED:
                assert f".. automodule:: {module}\n" in written


def test_docstrings_keep_only_code_as_markup(extensions: Path) -> None:
    from api_pages import literal_docstring

    assert literal_docstring(["Each `Draft`s *star* and name_ of `a", "b`."]) == [
        "Each ``Draft``\\ s \\*star\\* and name\\_ of ``a",
        "b``\\ .",
    ]
