"""Statements in parentheses, which no cue outside reaches, and whose cues reach nothing outside.

"No pneumothorax (small left effusion)" holds such a statement; "(PTX)" and "(pleural or pericardial)" only explain.
"""

import re
from collections.abc import Sequence

from trrg_core.report.scan import Hit

_OWN_STATEMENT = re.compile(
    r"(?:a |an |there |with |but |no |only |just |also |otherwise |now )*"
    r"(?:small|mild|moderate|mod|large|tiny|trace|minimal|slight|severe|stable|unchanged|new|old|chronic|known|left|right|"
    r"bilateral|bibasilar|improved|worse|persistent|residual|likely|probabl[ey]|possibl[ey]|no|there|with|but)\b"
    r"|[^()]* (?:only|noted|seen|present|persists)$"
)


def find_asides(hits: Sequence[Hit], text: str) -> dict[int, int]:
    """Index of the opening hit -> index of the closing one, of each statement in parentheses that names a finding."""
    asides: dict[int, int] = {}
    opened = -1
    names_finding = False
    for index, hit in enumerate(hits):
        if hit.entry.role == "open":
            opened, names_finding = index, False
        elif hit.entry.role == "close":
            if opened >= 0 and names_finding and _OWN_STATEMENT.match(text, hits[opened].end, hit.start):
                asides[opened] = index
            opened = -1
        else:
            names_finding = names_finding or hit.entry.is_finding
    return asides
