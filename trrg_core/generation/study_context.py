"""What is known of a study beside its films, for a model that was trained to read it (`finetune.context`)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trrg_core.errors import ConfigError, DataError
from trrg_core.storage.local_disk import read

MOST_BYTES = 100_000  # of one text
_NAMES = {"indication": "indication", "prior": "earlier report"}


@dataclass(frozen=True, kw_only=True)
class StudyContext:
    """Why the study was made, and the report of the earlier study; empty where it is not known."""

    indication: str = field(default="", repr=False)
    prior_report: str = field(default="", repr=False)

    @property
    def known(self) -> tuple[str, ...]:
        """Which of "indication" and "prior" there are."""
        texts = {"indication": self.indication, "prior": self.prior_report}
        return tuple(name for name, text in texts.items() if text)


NO_CONTEXT = StudyContext()


def read_prior_report(path: str) -> str:
    """The earlier report in a text file.

    Raises:
        ConfigError: if it cannot be read, is larger than `MOST_BYTES`, or is no UTF-8 text.
    """
    try:
        return read(Path(path), MOST_BYTES).decode("utf-8").strip()
    except (FileNotFoundError, DataError) as error:
        raise ConfigError(f"--prior {path}: {error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"--prior {path}: no UTF-8 text") from error


def check_context(context: StudyContext, read: Sequence[str]) -> None:
    """Check that the model reads what is given.

    Args:
        context: what is given.
        read: `finetune.context` of the model.

    Raises:
        ConfigError: naming what it would ignore.
    """
    for name in context.known:
        if name not in read:
            raise ConfigError(
                f"the model reads no {_NAMES[name]}: give none, or train one with finetune.context containing {name!r}"
            )
