"""Text split at its mentions, so that a page can colour them by assertion."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from trrg_core.report.parsed import Mention


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A span of text; `mention` is None between mentions."""

    text: str
    mention: Mention | None = None
    note: str = ""


def cut_at_mentions(
    text: str, mentions: Iterable[Mention], note: Callable[[Mention], str], *, start: int = 0
) -> tuple[Piece, ...]:
    """`text` in pieces; joined they give the text again.

    Mentions that overlap are marked once, by the first and longest. `start` is the offset of the text in the
    report that the mentions refer to.
    """
    pieces: list[Piece] = []
    end = 0
    for mention in sorted(mentions, key=lambda item: (item.start, -item.end)):
        first, last = mention.start - start, mention.end - start
        if first < end or last > len(text):
            continue
        pieces += [Piece(text=text[end:first])] if first > end else []
        pieces.append(Piece(text=text[first:last], mention=mention, note=note(mention)))
        end = last
    rest = text[end:]
    return (*pieces, Piece(text=rest)) if rest else tuple(pieces)


def describe_mention(mention: Mention) -> list[str]:
    """A mention in words: finding, assertion, attributes."""
    words = [mention.finding.replace("_", " "), mention.assertion.lower()]
    words += [word for word in (mention.laterality, mention.severity, mention.anatomy, mention.change) if word]
    return words + (["historical"] if mention.historical else [])
