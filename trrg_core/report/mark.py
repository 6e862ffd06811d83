"""A word of attributes in a sentence: where it stands and what it says."""

from dataclasses import dataclass

Values = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Mark:
    """A word of attributes at [start, end)."""

    start: int
    end: int
    values: Values

    def value(self, kind: str) -> str:
        """The value of a kind; "" where the word has none."""
        for name, value in self.values:
            if name == kind:
                return value
        return ""
