"""The pages of the server: they run their own script only, and every word of the description is escaped."""

import re

from tests.core.pages.test_perception_page import Page
from trrg_core.pages.serving_pages import render_api_page, render_upload_page
from trrg_core.pages.template import hash_source


def test_the_page_to_drop_films_on_runs_its_own_script_only() -> None:
    html, policy = render_upload_page(needs_token=True, path="/v1/reports")
    page = Page(html)
    for tag in ("style", "script"):
        (source,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        assert f"{tag}-src {hash_source(source)}" in policy
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    assert "style=" not in html
    assert page.all("form")[0]["data-path"] == "/v1/reports"
    assert "Research software, not for clinical use." in page.text
    assert len(page.all("input")) == 2
    # no film and no answer becomes markup of the page by way of a string
    assert "innerHTML" not in html
    assert "isDirectory" in html  # a folder that is dropped is no film
    assert len(Page(render_upload_page(needs_token=False, path="/")[0]).all("input")) == 1


def test_the_page_has_a_field_for_each_text_that_the_model_reads() -> None:
    pages = {
        context: Page(render_upload_page(needs_token=False, path="/", context=context)[0])
        for context in ((), ("indication",), ("prior",), ("indication", "prior"))
    }
    for context, page in pages.items():
        assert [field["id"] for field in page.all("textarea")] == list(context)
        # what is typed leaves the page with the request only
        assert all(field["spellcheck"] == "false" for field in page.all("textarea"))
    notes = ("no indication and no earlier report", "no earlier report", "no indication", "")
    for page, note in zip(pages.values(), notes, strict=True):
        assert (f"This model reads {note}." in page.text) == bool(note)
        assert ("This model reads" in page.text) == bool(note)


def test_the_description_names_fields_types_and_answers() -> None:
    hostile = "<script>alert(1)</script>"
    openapi = {
        "info": {"title": "T", "description": hostile},
        "paths": {
            "/x": {
                "post": {
                    "summary": "Do it",
                    "responses": {
                        "200": {"description": "Done", "content": {"application/json": {"schema": {"$ref": "#/A"}}}}
                    },
                    "requestBody": {
                        "content": {
                            "multipart/form-data": {
                                "schema": {
                                    "required": ["film"],
                                    "properties": {
                                        "film": {"type": "array", "items": {"type": "string", "format": "binary"}},
                                        "view": {"enum": ["", "PA"]},
                                    },
                                },
                                "examples": {"one": {"summary": "As here", "description": hostile}},
                            }
                        }
                    },
                }
            }
        },
        "components": {
            "schemas": {
                "A": {"properties": {"p": {"anyOf": [{"type": "number"}, {"type": "null"}]}, "t": {"const": True}}}
            }
        },
    }
    page = Page(render_api_page(openapi))
    assert "POST /x" in page.text
    assert "film array of file" in page.text
    assert 'view (optional) "" | "PA"' in page.text
    assert "200 Done A" in page.text
    assert f"As here: {hostile}" in page.text
    assert "p (optional) number or null" in page.text
    assert "t (optional) true" in page.text
    assert not page.all("script")
