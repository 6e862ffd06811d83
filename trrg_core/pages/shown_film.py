"""A radiograph as pages show it."""

import base64
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Film:
    """One radiograph as JPEG bytes."""

    jpeg: bytes
    view_position: str = ""


def data_uri(film: Film) -> str:
    """A radiograph as the source of an `img` tag; empty when it is no JPEG."""
    if not film.jpeg.startswith(b"\xff\xd8"):
        return ""
    return f"data:image/jpeg;base64,{base64.b64encode(film.jpeg).decode()}"
