"""The pages name what exists: paths, modules, settings, commands and pages."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer
from pydantic import BaseModel

from flows.cli import app
from tests.docs.pages import PAGES, ROOT
from trrg_core.config.settings import TrrgConfig

PATH = re.compile(r"`((?:trrg_core|pipelines|flows|infra|tests|docs|examples)/[\w./-]*)`")
MODULE = re.compile(r"(?<![\w/.])((?:trrg_core|pipelines|flows|infra)(?:\.\w+)+)")
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
COMMAND = re.compile(r"`trrg ([a-z][a-z-]+)")
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")
FAULTS = (ROOT / "docs" / "reliability.md").read_text("utf-8").partition("## Forty faults")[2]
SECTIONS = {field.alias or name for name, field in TrrgConfig.model_fields.items()}
SETTING = re.compile(rf"`((?:{'|'.join(sorted(SECTIONS))})(?:\.[a-z_0-9]+)+)")


def _named(pattern: re.Pattern[str]) -> list[tuple[str, str]]:
    return sorted(
        {
            (page.relative_to(ROOT).as_posix(), name)
            for page in PAGES
            for name in pattern.findall(page.read_text("utf-8"))
        }
    )


@pytest.mark.parametrize(("page", "path"), _named(PATH))
def test_a_named_path_exists(page: str, path: str):
    assert (ROOT / path).exists()


@pytest.mark.parametrize("page", [page for page in PAGES if "::" in page.read_text("utf-8")])
def test_a_named_test_exists(page: Path):
    for path, name in TEST.findall(page.read_text("utf-8")):
        assert re.search(rf"^def {name}\(", (ROOT / path).read_text("utf-8"), re.M), f"{path}::{name}"


def test_each_of_the_forty_faults_has_a_test():
    rows = re.findall(r"^\| (\d+) \|.*$", FAULTS, re.M)
    assert rows == [str(number) for number in range(1, 41)]
    assert all(TEST.search(line) for line in FAULTS.splitlines() if re.match(r"\| \d+ \|", line))


@pytest.mark.parametrize(("page", "name"), _named(MODULE))
def test_a_named_module_or_attribute_exists(page: str, name: str):
    assert _resolves(name)


@pytest.mark.parametrize(("page", "name"), _named(COMMAND))
def test_a_named_command_exists(page: str, name: str):
    assert name in typer.main.get_command(app).commands


@pytest.mark.parametrize(("page", "target"), _named(LINK))
def test_a_relative_link_leads_to_a_file(page: str, target: str):
    assert ((ROOT / page).parent / target).exists()


@pytest.mark.parametrize(("page", "key"), _named(SETTING))
def test_a_named_setting_exists(page: str, key: str):
    model: object = TrrgConfig
    for part in key.split("."):
        assert isinstance(model, type)
        assert issubclass(model, BaseModel), key
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        assert part in fields, key
        model = fields[part].annotation


def test_the_architecture_page_answers_where_things_are():
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    table = page.partition("## Where do I find")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    for wanted in (
        "negation rule",
        "loss",
        "schedule",
        "gate",
        "metric",
        "table schema",
        "row codec",
        "command",
        "S3 retry",
        "configuration value",
        "job",
    ):
        assert any(wanted in row.split("|")[1] and PATH.search(row) for row in rows), wanted


def test_the_diagrams_show_the_import_contract(tmp_path: Path):
    script = (
        "import runpy; names = runpy.run_path('docs/make_diagrams.py'); "
        f"open({str(tmp_path / 'walk.svg')!r}, 'w').write(names['draw_walk']()); "
        f"open({str(tmp_path / 'layers.svg')!r}, 'w').write(names['draw_layers']())"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
    for name in ("walk.svg", "layers.svg"):
        drawn = (ROOT / "docs" / "_static" / name).read_text("utf-8")
        assert drawn == (tmp_path / name).read_text("utf-8"), "run python docs/make_diagrams.py"


def _resolves(name: str) -> bool:
    """Whether `name` is a module, or a name that the source of its module defines; imports no heavy module."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            spec = find_spec(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        if spec is not None:
            rest = parts[count:]
            return not rest or (len(rest) == 1 and spec.origin is not None and rest[0] in Path(spec.origin).read_text())
    return False
