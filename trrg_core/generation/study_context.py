"""What is known of a study beside its films, for a model that was trained to read it (`finetune.context`)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from trrg_core.errors import ConfigError
from trrg_core.storage.given_file import read_given_text

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
        ConfigError: if it cannot be read, is empty, is larger than `MOST_BYTES`, or is no UTF-8 text.
    """
    text = read_given_text(path, "--prior", max_bytes=MOST_BYTES).strip()
    if not text:
        raise ConfigError(f"--prior: {path} is empty: give the report, or leave the option out")
    return text


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
