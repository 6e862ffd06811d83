"""Fingerprints: hashes over settings, inputs and code versions that identify the result of a job."""

import hashlib
import json

from pydantic import BaseModel


def fingerprint(*parts: object) -> str:
    """16 hexadecimal digits that identify `parts`: equal JSON values have equal fingerprints."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=_jsonable)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _jsonable(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} cannot be part of a fingerprint")
