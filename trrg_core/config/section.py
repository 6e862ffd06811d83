"""The base of every section of the configuration, and the check of every address in it."""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, field_validator
from pydantic_core import PydanticCustomError

_AUTHORITY = re.compile(
    r"(?:https?|s3)://[^/?#\s]{0,500}@|[\w+.-]{1,40}://[^/?#@\s]{0,500}:[^/?#\s]{0,500}@", re.IGNORECASE
)
# a parameter that carries a secret, e.g. `?token=`, `&X-Amz-Signature=`, `;api_key=`, `?sig=` of a signed address
_SECRET = r"token|key|secret|pass|pwd|\bpw\b|\bsig|signature|credential|auth|session|bearer|hmac|jwt|\bsas\b|\bcode\b"
_PARAMETER = re.compile(
    rf"(?P<name>[?&;#][\w.%\[\]-]{{0,60}}?(?:{_SECRET})[\w.%\[\]-]{{0,60}}=)[^&;#\s'\"]+", re.IGNORECASE
)
# outside of an address: `ann:secret@db.example`, `password=secret`, `AWS_SECRET_ACCESS_KEY=secret`, a header, a key
_BARE_AUTHORITY = re.compile(r"(?:(?<=//)|(?<![^\s\\]))[^\s/\\:@]{1,100}:[^\s/\\@]{1,500}@(?=[\w-]{1,63}\.[\w-])")
_LOCAL_AUTHORITY = re.compile(r"(?<=//)[^\s/\\:@]{0,100}:[^\s/\\@]{1,500}@")
_ASSIGNED = re.compile(
    r"(?P<name>\b\w{0,40}?(?:passw(?:or)?d|secret|api_?key|access_?key|account_?key|(?:auth|access|refresh|api)_?token)\w{0,40}\s{0,9}=\s{0,9}"
    r"|\bauthorization\s*[:=]\s*(?:bearer\s+|basic\s+)?|-----BEGIN [A-Z ]*PRIVATE KEY-----)\S+",
    re.IGNORECASE,
)
_ENCODED_LETTER = re.compile("%[46][0-9a-f]|%[57][0-9a]|%25|%3a|%40", re.IGNORECASE)
_MOST_ENCODINGS = 3
# every repetition is bounded: a text of 40 kB took 13 s otherwise


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
    """`text` with the credentials in it replaced by `***`: of addresses, and of settings such as `password=`.

    A secret that nothing names, as in a path, is not told from other text.
    """
    if not any(mark in text for mark in ("=", "@", "%", "\uff20", "PRIVATE KEY", ":")):
        return text
    plain = unicodedata.normalize("NFKC", text)  # another @ is taken for one by some clients
    plain = re.sub("[\t\r\n]", "", plain)  # readers of addresses leave them out
    for _ in range(_MOST_ENCODINGS):
        plain = _ENCODED_LETTER.sub(lambda found: unquote(found[0]), plain)  # `%74oken` is `token`
    hidden = _AUTHORITY.sub(lambda found: f"{found[0].partition('://')[0]}://***@", plain)
    for pattern in (_LOCAL_AUTHORITY, _BARE_AUTHORITY):
        hidden = pattern.sub("***@", hidden)
    hidden = _PARAMETER.sub(r"\g<name>***", hidden)
    hidden = _ASSIGNED.sub(r"\g<name>***", hidden)
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
