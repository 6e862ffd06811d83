"""The code version of a job: its module and all that it imports, so that a change elsewhere invalidates no result.

Computed from the sources, without importing them. A new parser rule changes `parse` and what follows, not `ingest`.
"""

import ast
import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import pipelines
import trrg_core

_ROOTS = {package.__name__: Path(str(package.__file__)).parent for package in (trrg_core, pipelines)}
_DATA = (".yaml", ".html", ".css")


@cache
def code_version() -> str:
    """Hash, 12 hex digits, of every source and data file of `trrg_core` and `pipelines`."""
    return _digest(file for root in _ROOTS.values() for file in root.rglob("*") if file.suffix in (".py", *_DATA))


@cache
def code_of(job: str) -> str:
    """Hash, 12 hex digits, of the sources that job `job` reaches by imports, and of the data files they name."""
    return _digest(reached_files(f"pipelines.jobs.{job}"))


def reached_files(module: str) -> set[Path]:
    """The source files of `module` and of all project modules it imports, and the data files of packages they name."""
    sources, pending = _sources(), [module]
    reached: dict[str, Path] = {}
    data: set[Path] = set()
    while pending:
        name = pending.pop()
        if name in sources and name not in reached:
            reached[name] = sources[name]
            pending += [*_imports(sources[name]), name.rpartition(".")[0]]
            data.update(file for folder in _named_folders(sources[name]) for file in _data_below(folder))
    return {*reached.values(), *data}


@cache
def _sources() -> Mapping[str, Path]:
    """Source file of each module of the project, by module name."""
    return {
        ".".join((package, *file.relative_to(root).with_suffix("").parts)).removesuffix(".__init__"): file
        for package, root in _ROOTS.items()
        for file in root.rglob("*.py")
    }


@cache
def _nodes(file: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(file.read_bytes())))


def _imports(file: Path) -> set[str]:
    """Names that a source file imports, also inside functions; the b of `from a import b` may be a module."""
    names: set[str] = set()
    for node in _nodes(file):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def _named_folders(file: Path) -> set[Path]:
    """Folders of packages named in a string, as for `resources.files`.

    A root package is left out: its presets reach a job as settings.
    """
    texts = {node.value for node in _nodes(file) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    parts = (text.split(".") for text in texts if "." in text and text.partition(".")[0] in _ROOTS)
    return {folder for first, *rest in parts if (folder := _ROOTS[first].joinpath(*rest)).is_dir()}


def _data_below(folder: Path) -> Iterable[Path]:
    return (file for file in folder.rglob("*") if file.suffix in _DATA)


def _digest(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for name, file in sorted((file.relative_to(_home(file)).as_posix(), file) for file in files):
        digest.update(name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]


def _home(file: Path) -> Path:
    """Parent folder of the root package that holds the file."""
    return next(root.parent for root in _ROOTS.values() if file.is_relative_to(root))
