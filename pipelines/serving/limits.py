"""What a server accepts, and how long it waits."""

from dataclasses import dataclass

MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class ServingLimits:
    """Limits of one server process.

    `max_pending` is the number of requests that are read, decoded or written at once; further ones are refused, 503.
    `token_sha256` is the SHA-256 of the bearer token, hexadecimal; empty if none is needed.
    """

    max_films: int = 8
    max_body_bytes: int = 64 * MIB
    max_film_bytes: int = 32 * MIB
    max_pixels: int = 40_000_000
    max_pending: int = 64
    body_timeout_s: float = 30.0
    report_timeout_s: float = 60.0
    token_sha256: str = ""
