"""Artifacts and events in Prefect, best effort: a server that does not answer fails no finished work."""

import base64
import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

logger = logging.getLogger(__name__)

PAGES_URL = "TRRG_PAGES_URL"  # where `trrg up` serves the pages of its store
SILENT_S = 30.0  # after a failure; each attempt may take seconds


class _Server:
    """When a server that did not answer is asked again, by this process."""

    silent_until = 0.0


_server = _Server()


def store_artifact(create: Callable[..., Any], *arguments: Any, key: str, **words: Any) -> Any:
    """What `create` returns, one of Prefect's functions for artifacts; None when the server does not take it."""
    if time.monotonic() < _server.silent_until:
        return None
    try:
        return create(*arguments, key=artifact_key(key), **words)
    except Exception as error:  # httpx, Prefect and the operating system each have errors of a lost server
        _server.silent_until = time.monotonic() + SILENT_S
        logger.warning("artifact %s is not in Prefect (%s); the store has what it shows", key, type(error).__name__)
        return None


def send_event(name: str, resource: str, payload: Mapping[str, Any]) -> None:
    """Send event `trrg.NAME` about `resource`; automations can react to it."""
    from prefect.events import emit_event

    try:
        emit_event(event=f"trrg.{name}", resource={"prefect.resource.id": f"trrg.{resource}"}, payload=dict(payload))
    except Exception as error:  # as above
        logger.warning("event trrg.%s is not in Prefect (%s)", name, type(error).__name__)


def artifact_key(text: str) -> str:
    """`text` as a key that Prefect accepts: lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def page_link(place: str) -> str:
    """An address that a browser opens: of the server of pages if there is one, else of the file."""
    pages = os.environ.get(PAGES_URL, "")
    _, found, path = place.rpartition("/runs/")
    if pages and found:
        return f"{pages}/runs/{quote(path)}"
    return place if "://" in place else f"file://{place}"


def picture_text(data: bytes, kind: str, *, title: str, link: str = "") -> str:
    """A picture as Markdown with its data in it, which Prefect shows without the long address of an image artifact.

    Args:
        data: the file.
        kind: of the file, e.g. `png` or `svg+xml`.
        title: for those who do not see it.
        link: address of the same picture elsewhere, for its own window.
    """
    picture = f"![{title}](data:image/{kind};base64,{base64.b64encode(data).decode()})"
    return f"{picture}\n\n[{title}]({link})" if link else picture
