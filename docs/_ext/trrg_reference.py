"""Sphinx extension: writes the reference pages from the code, so that they cannot fall behind it.

A page with the line `<!-- generated: configuration -->` or `<!-- generated: commands -->` gets that content when it is
read; one page per package of the API reference is written into `reference/api/` before the pages are collected.
"""

from pathlib import Path
from typing import Any

from api_pages import literal_docstring, write_api_pages
from command_reference import describe_commands
from configuration_reference import describe_configuration
from sphinx.application import Sphinx

GENERATORS = {"configuration": describe_configuration, "commands": describe_commands}


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect the generators to the build."""
    app.connect("builder-inited", _write_pages)
    app.connect("source-read", _fill_in)
    # before napoleon (priority 500) turns Google sections into reStructuredText
    app.connect("autodoc-process-docstring", _escape, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _write_pages(app: Sphinx) -> None:
    write_api_pages(Path(app.srcdir) / "reference" / "api")


def _fill_in(app: Sphinx, page: str, source: list[str]) -> None:
    for name, describe in GENERATORS.items():
        marker = f"<!-- generated: {name} -->"
        if marker in source[0]:
            source[0] = source[0].replace(marker, describe())


def _escape(app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]) -> None:
    # napoleon reads "text: text" on the first line of an attribute as its type; an empty line keeps it a sentence
    lines[:] = [""] * (what in ("attribute", "property")) + literal_docstring(lines)
