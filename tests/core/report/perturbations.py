"""Other layouts of a report that say the same: case, line ends, lists, order of sections, spelling of "without"."""

import re
import textwrap
from collections.abc import Callable, Mapping, Sequence

from trrg_core.report.sentences import find_sentences

Sections = Sequence[tuple[str, str]]


def plain(sections: Sections) -> str:
    return "\n\n".join(f"{name}: {text}" for name, text in sections)


def _lines(sections: Sections, mark: Callable[[int], str], *, with_periods: bool) -> str:
    parts = []
    for name, text in sections:
        sentences = [" ".join(text[start:end].split()) for start, end in find_sentences(text)]
        ends = sentences if with_periods else [sentence.rstrip(".") for sentence in sentences]
        parts.append("\n".join([f"{name}:", *(f"{mark(number)}{line}" for number, line in enumerate(ends, start=1))]))
    return "\n\n".join(parts)


def _wrapped(sections: Sections, width: int) -> str:
    return plain([(name, textwrap.fill(" ".join(text.split()), width)) for name, text in sections])


def _without_a_space(text: str) -> str:
    """No space behind the periods that end a sentence in words: "clear.No"."""
    return re.sub(r"(?<=[a-z]{3})\. (?=[A-Z][a-z])", ".", text)


PERTURBATIONS: Mapping[str, Callable[[Sections], str]] = {
    "lower case": lambda sections: plain(sections).lower(),
    "upper case": lambda sections: plain(sections).upper(),
    "wrapped at 60": lambda sections: _wrapped(sections, 60),
    "wrapped at 79": lambda sections: _wrapped(sections, 79),
    "CRLF": lambda sections: _wrapped(sections, 72).replace("\n", "\r\n"),
    "a line per sentence": lambda sections: _lines(sections, lambda _: "", with_periods=True),
    "a line per sentence without periods": lambda sections: _lines(sections, lambda _: "", with_periods=False),
    "bullets": lambda sections: _lines(sections, lambda _: "- ", with_periods=False),
    "numbers": lambda sections: _lines(sections, lambda number: f"{number}. ", with_periods=True),
    "other order": lambda sections: plain(list(reversed(sections))),
    "missing space": lambda sections: _without_a_space(plain(sections)),
    "w/o": lambda sections: re.sub(r"\bwithout\b", "w/o", plain(sections), flags=re.IGNORECASE),
}
