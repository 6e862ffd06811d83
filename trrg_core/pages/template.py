"""The templates, style sheets and scripts of this folder, and their hashes for a Content-Security-Policy."""

import base64
import hashlib
from importlib import resources

from jinja2 import Environment, FunctionLoader, StrictUndefined

from trrg_core.labels import column_name


def template_environment() -> Environment:
    """The templates of this folder; every value is escaped, a missing one is an error."""
    environment = Environment(
        loader=FunctionLoader(read_part),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["slug"] = column_name
    return environment


def read_part(name: str) -> str:
    """A file of this folder as text."""
    return resources.files("trrg_core.pages").joinpath(name).read_text("utf-8")


def hash_source(text: str) -> str:
    """The hash of a style sheet or script in the form of a Content-Security-Policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
