"""Tables in plain text: "| Sign | R | L |" over "| Effusion | small | none |".

Each cell of a row is read behind the label of the row, and on the side that heads its column.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_SIDE = re.compile(r"(?:r|l|rt|lt|right|left)(?: (?:lung|side|chest|hemithorax))?\Z", re.IGNORECASE)
_TITLE = re.compile(
    r"(?:findings?|signs?|side|present|status|answers?|results?|comments?|remarks?|details?|notes?|y/n|yes/no|values?"
    r"|location|size|severity|degree|change|observation|r|l|rt|lt|right|left)(?: (?:lung|side|chest|hemithorax))?\Z",
    re.IGNORECASE,
)
_OVER_LABELS = ("side", "lung", "", "finding", "findings", "sign", "signs", "device", "devices", "item", "structure")
_ANSWER = re.compile(r"(?:yes|no|n/a|y|n)\b[ ,:-]*", re.IGNORECASE)
_CELL = re.compile(r"[^|]+")


class Cell(NamedTuple):
    """The words of a cell at [start, end) of its sentence."""

    start: int
    end: int
    text: str


def split_row(sentence: str) -> Sequence[Cell]:
    """The cells of the row of a table that `sentence` is; none where it is no row."""
    if "\n" in sentence or not (sentence.startswith("|") or (" | " in sentence and ":" not in sentence)):
        return ()
    cells = [_stripped(match) for match in _CELL.finditer(sentence.rstrip("| \t"), sentence.startswith("|"))]
    return cells if len(cells) > 1 and ":" not in cells[0].text else ()


def is_header(cells: Sequence[Cell]) -> bool:
    """Whether a row heads the ones below it: "Finding | Right | Left", "Side | Effusion | Edema"."""
    return cells[0].text.lower() in _OVER_LABELS or all(_TITLE.match(cell.text) for cell in cells[1:])


def statements_of(cells: Sequence[Cell], header: Sequence[Cell]) -> Iterator[str]:
    """What a row says, as statements with a label in front of a colon."""
    label = cells[0].text
    titles = [cell.text for cell in header[1:]] if len(header) == len(cells) else []
    pairs = [(title, cell.text) for title, cell in zip(titles, cells[1:], strict=False) if cell.text]
    if _SIDE.match(label):
        yield from (f"{label} {title}: {said}" for title, said in pairs)
    elif titles and all(_SIDE.match(title) for title in titles):
        if len({said.lower() for _, said in pairs}) == 1 < len(pairs):
            pairs = [("bilateral", pairs[0][1])]
        yield from (f"{title} {label}: {said}" for title, said in pairs)
    else:
        answer, *more = (cell.text for cell in cells[1:])
        details = (_ANSWER.sub("", one, count=1) for one in more)
        yield f"{label}: {', '.join(said for said in (answer, *details) if said)}"


def _stripped(match: "re.Match[str]") -> Cell:
    text = match[0].strip()
    start = match.start() + len(match[0]) - len(match[0].lstrip())
    return Cell(start, start + len(text), text)
