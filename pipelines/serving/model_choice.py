"""Which model a server serves, and which one it has, as plain values: importing them costs nothing."""

from dataclasses import dataclass

from trrg_core.clue import KnownFindings
from trrg_core.config.settings import RegisterConfig
from trrg_core.generation.film_reading import FilmFormat


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

    `form` is how its films are read, `context` what it reads beside them (`finetune.context`), `findings` those that a
    person may give clues of.
    """

    name: str
    loaded_at: float
    form: FilmFormat
    findings: KnownFindings
    context: tuple[str, ...] = ()
    failure: str = ""
