import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from trrg_core.errors import ConfigError
from trrg_core.extras import PACKAGES_OF_EXTRA, extra_of, needs_extra, require_package

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
OURS = ("trrg_core", "pipelines", "flows")
# of an adapter that runs in an environment of its own; of callers who hand over tables of theirs
NOT_OURS = {"RadEval", "pandas"}
# always installed with the declared package
BROUGHT_BY = {
    "pydantic_core": "pydantic",
    "markupsafe": "jinja2",
    "PIL": "matplotlib",
    "sqlalchemy": "mlflow",
    "asyncpg": "prefect",
}


def _names(requirements: list[str]) -> set[str]:
    found = {re.match(r"[\w.-]+", requirement)[0] for requirement in requirements}  # type: ignore[index]
    return {name.lower().replace("_", "-") for name in found} - {"trrg"}


def _imported() -> Iterator[str]:
    for package in OURS:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Import):
                    yield from (alias.name.partition(".")[0] for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    yield str(node.module).partition(".")[0]


def _distributions(module: str) -> set[str]:
    found = packages_distributions().get(BROUGHT_BY.get(module, module), [])
    return {name.lower().replace("_", "-") for name in found}


def test_every_imported_package_is_declared_in_the_base_or_in_the_extra_that_the_error_names() -> None:
    base = _names(PROJECT["dependencies"])
    modules = set(_imported()) - set(OURS) - NOT_OURS - sys.stdlib_module_names
    assert {"torch", "numpy", "s3fs"} <= modules
    for module in sorted(modules):
        extra = extra_of(module)
        declared = base if extra is None else _names(PROJECT["optional-dependencies"][extra])
        assert _distributions(module) & declared, f"{module}: not declared in {extra or 'the base'}"


def test_every_listed_package_is_declared_in_its_extra() -> None:
    for extra, packages in PACKAGES_OF_EXTRA.items():
        names = _names(PROJECT["optional-dependencies"][extra])
        assert not [name for name in packages if name not in names and not _distributions(name) & names], extra


def test_no_package_of_an_extra_is_in_the_base() -> None:
    base = _names(PROJECT["dependencies"])
    assert not base & {package for packages in PACKAGES_OF_EXTRA.values() for package in packages}


def test_a_missing_package_is_one_line_with_the_command_that_installs_it() -> None:
    expected = re.escape("trrg run needs the extra 'flows': pip install 'trrg[flows]'")
    with pytest.raises(ConfigError, match=f"^{expected}$"), needs_extra("trrg run"):
        raise ModuleNotFoundError("No module named 'prefect.flows'", name="prefect.flows")


def test_another_missing_module_stays_as_it_is() -> None:
    with pytest.raises(ModuleNotFoundError), needs_extra("trrg run"):
        raise ModuleNotFoundError("No module named 'trrg_core.nowhere'", name="trrg_core.nowhere")
    with pytest.raises(ModuleNotFoundError), needs_extra("trrg run"):
        raise ModuleNotFoundError


def test_a_required_package_is_looked_up_without_an_import(monkeypatch: pytest.MonkeyPatch) -> None:
    require_package("s3fs", "an s3:// store")
    monkeypatch.setattr("trrg_core.extras.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"^an s3:// store needs the extra 's3': pip install 'trrg\[s3\]'$"):
        require_package("s3fs", "an s3:// store")
