"""The base of every section of the configuration, and the check of every address in it."""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, field_validator
from pydantic_core import PydanticCustomError

_AUTHORITY = re.compile(r"(?:https?|s3)://[^/?#\s]*@|[\w+.-]+://[^/?#@\s]*:[^/?#\s]*@", re.IGNORECASE)
# a parameter that carries a secret, e.g. `?token=`, `&X-Amz-Signature=`, `;api_key=`, `?sig=` of a signed address
_SECRET = r"token|key|secret|passw|pwd|\bsig|signature|credential|auth|session"
_PARAMETER = re.compile(rf"(?P<name>[?&;#][\w.%-]*?(?:{_SECRET})[\w.%-]*=)[^&;#\s'\"]+", re.IGNORECASE)
_ENCODED_LETTER = re.compile("%[46][0-9a-f]|%[57][0-9a]", re.IGNORECASE)


class ConfigSection(BaseModel):
    """A frozen section of the configuration; an unknown key is an error, and so is an address with credentials."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*")
    @classmethod
    def _is_public(cls, value: Any) -> Any:
        # the configuration is stored in every run folder and commit, and shown in the Prefect UI
        for text in _texts(value):
            check_no_credentials(text)
        return value


def check_no_credentials(uri: str) -> str:
    """`uri`, for use as a pydantic validator.

    Raises:
        PydanticCustomError: `credentials`, if the URI contains a user name or password, or a parameter with a secret;
            the message does not quote it.
    """
    if redact(uri) != uri:
        raise PydanticCustomError("credentials", "must not contain credentials: they come from the environment")
    return uri


def redact(text: str) -> str:
    """`text` with the credentials of the addresses in it replaced by `***`."""
    if "://" not in text:
        return text
    plain = _ENCODED_LETTER.sub(lambda found: unquote(found[0]), text)  # `%74oken` is `token`
    hidden = _AUTHORITY.sub(lambda found: f"{found[0].partition('://')[0]}://***@", plain)
    hidden = _PARAMETER.sub(r"\g<name>***", hidden)
    return text if hidden == plain else hidden


def _texts(value: Any) -> Iterator[str]:
    """The texts in a value of a field; sections check themselves."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(key)
            yield from _texts(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _texts(item)
