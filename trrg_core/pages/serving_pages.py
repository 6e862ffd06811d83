"""The pages of the server: one to drop films on, and one that describes the HTTP interface."""

from collections.abc import Collection, Mapping
from typing import Any

from markupsafe import Markup

from trrg_core.pages.template import hash_source, read_part, template_environment
from trrg_core.pages.written_page import page_script, page_style


def render_upload_page(*, needs_token: bool, path: str, context: Collection[str] = ()) -> tuple[str, str]:
    """The page that sends films to `path`, and its Content-Security-Policy.

    `context` is what the model reads beside films, of "indication" and "prior": the page has a field for each.

    The answer is a page of `written_page`: its content is taken over, its style and script are those of this page too.
    """
    style = page_style() + read_part("upload.css")
    script = page_script() + read_part("steering_script.html") + read_part("upload_script.html")
    policy = (
        f"default-src 'none'; img-src data:; style-src {hash_source(style)}; script-src {hash_source(script)}; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    html = (
        template_environment()
        .get_template("upload.html")
        .render(
            needs_token=needs_token,
            path=path,
            context=context,
            style=Markup(style),
            script=Markup(script),
            policy=policy,
        )
    )
    return html, policy


def render_api_page(openapi: Mapping[str, Any], *, has_upload: bool = True) -> str:
    """The description of the HTTP interface, without a script and without the network.

    `has_upload` says whether the server also has the page to drop a film on.
    """
    style = read_part("page.css") + read_part("upload.css")
    operations = [
        {"path": path, "method": method.upper(), **operation}
        for path, methods in openapi["paths"].items()
        for method, operation in methods.items()
    ]
    schemas = openapi.get("components", {}).get("schemas", {})
    return (
        template_environment()
        .get_template("api.html")
        .render(
            info=openapi["info"],
            operations=operations,
            schemas={name: schema for name, schema in schemas.items() if "properties" in schema},
            kind=_kind,
            has_upload=has_upload,
            style=Markup(style),
            policy=f"default-src 'none'; style-src {hash_source(style)}; base-uri 'none'; form-action 'none'",
        )
    )


def _kind(schema: Mapping[str, Any]) -> str:
    """A JSON schema in words: `array of string`, `number or null`, the name of another schema."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(_kind(one) for one in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(f'"{value}"' for value in schema["enum"])
    if "const" in schema:
        return str(schema["const"]).lower()
    if schema.get("type") == "array":
        return f"array of {_kind(schema.get('items', {}))}"
    return "file" if schema.get("format") == "binary" else str(schema.get("type", "any"))
