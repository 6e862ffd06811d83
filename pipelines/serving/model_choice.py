"""Which model a server serves, and which one it has, as plain values: importing them costs nothing."""

from dataclasses import dataclass

from trrg_core.config.settings import IngestConfig, RegisterConfig


@dataclass(frozen=True, kw_only=True)
class ModelChoice:
    """Which model to serve: a name as `find_model` takes it, and where to look for it."""

    store: str
    reference: str
    register: RegisterConfig
    settings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ModelStatus:
    """The model that writes now, since when (seconds since 1970), and the last failure to replace it.

    `ingest` has the size in which its films are read.
    """

    name: str
    loaded_at: float
    ingest: IngestConfig
    failure: str = ""
