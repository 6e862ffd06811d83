"""The pages of the API reference: one per package, with every public module of it."""

import importlib
import pkgutil
import re
from pathlib import Path

PACKAGES = ("trrg_core", "pipelines", "flows")
# the configuration has a reference of its own
SKIPPED = {"trrg_core.config.settings", "flows.cli.__main__"}
_CODE = re.compile(r"(``.+?``|`[^`]+`)", re.DOTALL)
_SPECIAL = re.compile(r"([*|]|(?<=\w)_(?=\W|$))")


def write_api_pages(folder: Path) -> None:
    """Write the pages that differ from what is there, and remove those of packages that are gone."""
    pages = {f"{name}.rst": _page(name, modules) for name, modules in _modules().items()}
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.rst"):
        if old.name not in pages:
            old.unlink()
    for name, text in pages.items():
        place = folder / name
        if not place.exists() or place.read_text("utf-8") != text:
            place.write_text(text, "utf-8")


def literal_docstring(lines: list[str]) -> list[str]:
    """A docstring whose only markup is `code`, as reStructuredText: literals, and all other markup escaped."""
    parts = _CODE.split("\n".join(lines))
    return "".join(_literal(part) if part.startswith("`") else _escape(part) for part in parts).split("\n")


def _literal(code: str) -> str:
    # the escaped space lets a plural follow: `Draft`s
    return f"``{code.strip('`')}``\\ "


def _escape(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)


def _modules() -> dict[str, list[str]]:
    """The modules of each page, by page name."""
    pages: dict[str, list[str]] = {}
    for package in PACKAGES:
        root = importlib.import_module(package)
        for found in pkgutil.walk_packages(root.__path__, prefix=f"{package}."):
            if not found.ispkg and found.name not in SKIPPED:
                pages.setdefault(found.name.rpartition(".")[0], []).append(found.name)
    return pages


def _page(name: str, modules: list[str]) -> str:
    title = f"{name}\n{'=' * len(name)}\n"
    bodies = [f"{module}\n{'-' * len(module)}\n\n.. automodule:: {module}\n" for module in modules]
    return "\n".join([title, *bodies])
