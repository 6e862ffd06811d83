"""Where the sentences of a parsed report stand in the text that the writer learns, which may be one of its sections."""

from collections.abc import Iterable


def find_sentences(report: str, sentences: Iterable[str]) -> list[int]:
    """The place of each sentence in `report`, in order; -1 for one of a section that is not part of it."""
    places, cursor = [], 0
    for text in sentences:
        place = report.find(text, cursor)
        places.append(place)
        if place >= 0:
            cursor = place + len(text)
    return places
