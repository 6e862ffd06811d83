"""The base of every section of the configuration, and the check of every address in it."""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from itertools import pairwise
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
# keys that their form gives away: of GitHub, GitLab, Slack, Hugging Face, AWS, Google, Databricks, and JSON web tokens
_KNOWN_KEY = re.compile(
    r"\b(?:gh[opsur]_[A-Za-z0-9]{20,255}|github_pat_\w{20,255}|glpat-[\w-]{20,255}|xox[abeprs]-[\w-]{10,255}"
    r"|hf_[A-Za-z0-9]{20,255}|A[KS]IA[0-9A-Z]{16}\b|AIza[\w-]{35}|ya29\.[\w-]{20,500}|dapi[0-9a-f]{32}"
    r"|eyJ[\w-]{10,1000}\.[\w-]{10,2000}(?:\.[\w-]{0,1000})?)"
)
# the path of an address of the web may itself be the secret, as those of webhooks are
_WEB_PATH = re.compile(r"(?P<host>\b(?:https?|wss?)://[^/?#\s]{1,500})(?P<path>/[^?#\s'\"]{1,2000})", re.IGNORECASE)
_PIECE = re.compile(r"[A-Za-z0-9]{20,500}")
_NAMED_HASHES = ("commit", "commits", "blob", "tree", "raw", "resolve", "compare")
# of neighbours that change between digits, small and capital letters, but for the first letter of a word: about 0.45 in
# a drawn text, 0.15 in words written together
_RANDOM_SHARE = 0.25
_ENCODED_LETTER = re.compile("%[46][0-9a-f]|%[57][0-9a]|%25|%3a|%40", re.IGNORECASE)
_MOST_ENCODINGS = 3
# every repetition is bounded: a text of 40 kB took 13 s otherwise


class ConfigSection(BaseModel):
    """A frozen section of the configuration. Unknown keys, nan, infinity and addresses with credentials are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

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

    So are keys of a known form, and what reads as drawn at random in the path of an address of the web. A secret of
    words, or one that nothing names in another text, is not told from it.
    """
    if not any(mark in text for mark in ("=", "@", "%", "\uff20", "PRIVATE KEY", ":")):
        return _KNOWN_KEY.sub("***", text)
    plain = unicodedata.normalize("NFKC", text)  # another @ is taken for one by some clients
    plain = re.sub("[\t\r\n]", "", plain)  # readers of addresses leave them out
    for _ in range(_MOST_ENCODINGS):
        plain = _ENCODED_LETTER.sub(lambda found: unquote(found[0]), plain)  # `%74oken` is `token`
    hidden = _AUTHORITY.sub(lambda found: f"{found[0].partition('://')[0]}://***@", plain)
    for pattern in (_LOCAL_AUTHORITY, _BARE_AUTHORITY):
        hidden = pattern.sub("***@", hidden)
    hidden = _PARAMETER.sub(r"\g<name>***", hidden)
    hidden = _ASSIGNED.sub(r"\g<name>***", hidden)
    hidden = _KNOWN_KEY.sub("***", hidden)
    hidden = _WEB_PATH.sub(lambda found: found["host"] + _without_random(found["path"]), hidden)
    return text if hidden == plain else hidden


def _without_random(path: str) -> str:
    parts = path.split("/")
    return "/".join(
        part if before in _NAMED_HASHES else _PIECE.sub(lambda found: "***" if _is_random(found[0]) else found[0], part)
        for before, part in zip(("", *parts), parts, strict=False)
    )


def _is_random(piece: str) -> bool:
    kinds = ["digit" if letter.isdigit() else "capital" if letter.isupper() else "small" for letter in piece]
    changes = sum(one != other and (one, other) != ("capital", "small") for one, other in pairwise(kinds))
    return changes >= _RANDOM_SHARE * (len(piece) - 1)


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
