"""The kinds of flips, apart from the parser that makes them: training needs only their names."""

from enum import StrEnum


class FlipKind(StrEnum):
    """What a flip turns round."""

    POLARITY = "polarity"
    SIDE = "side"
    SEVERITY = "severity"
