"""Which code a job runs: its module and what that imports, so that a change elsewhere does not make its work anew.

Read from the sources, without importing them. A new parser rule changes `parse` and what follows, not `ingest`.
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
    """12 hex digits over every source and rule file of `trrg_core` and `pipelines`."""
    return _digest(file for root in _ROOTS.values() for file in root.rglob("*") if file.suffix in (".py", *_DATA))


@cache
def code_of(job: str) -> str:
    """12 hex digits over the sources that job `job` reaches by imports, and the rule files that these name."""
    return _digest(reached_files(f"pipelines.jobs.{job}"))


def reached_files(module: str) -> set[Path]:
    """The source of `module`, of all it imports of ours, and the data below each package that one of them names."""
    sources, waiting = _sources(), [module]
    reached: dict[str, Path] = {}
    data: set[Path] = set()
    while waiting:
        name = waiting.pop()
        if name in sources and name not in reached:
            reached[name] = sources[name]
            waiting += [*_imports(sources[name]), name.rpartition(".")[0]]
            data.update(file for folder in _named_folders(sources[name]) for file in _data_below(folder))
    return {*reached.values(), *data}


@cache
def _sources() -> Mapping[str, Path]:
    """Our modules by name."""
    return {
        ".".join((package, *file.relative_to(root).with_suffix("").parts)).removesuffix(".__init__"): file
        for package, root in _ROOTS.items()
        for file in root.rglob("*.py")
    }


@cache
def _nodes(file: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(file.read_bytes())))


def _imports(file: Path) -> set[str]:
    """What a source imports, in functions too; `from a import b` may mean a module b."""
    names: set[str] = set()
    for node in _nodes(file):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def _named_folders(file: Path) -> set[Path]:
    """Packages named in a text, as `resources.files` is given them; the presets of the root come in as settings."""
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
    """The folder that holds the file's package."""
    return next(root.parent for root in _ROOTS.values() if file.is_relative_to(root))
