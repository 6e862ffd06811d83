"""Attributes that one word or clause gives to several findings: "neither the effusion nor the edema has changed"."""

import re
from collections.abc import Sequence

from trrg_core.report.candidates import Candidate

Described = dict[str, str]

_CHANGED = r"(?:changed|increased|decreased|improved|worsened|progressed|enlarged|grown)"
_NEITHER_CHANGED = re.compile(
    rf"\b(?:neither|none of the)\b.{{1,120}}\b(?:has|have) (?:[a-z]+ly )?{_CHANGED}\b", re.DOTALL
)
# ", where there is atelectasis": at the place that the clause before names
_WHERE = re.compile(r",? where (?:there (?:is|are|was|were) )?(?:[a-z]+ ){0,3}$")


def denies_change(text: str) -> bool:
    """Whether a sentence in lower case denies that its findings have changed, and so states them."""
    return ("neither" in text or "none of the" in text) and _NEITHER_CHANGED.search(text) is not None


def share_clauses(described: Sequence[list[Described]], candidates: Sequence[Candidate], text: str) -> None:
    """Adds to `described`, the attributes of each of `candidates`, what a clause says of the finding before it."""
    if denies_change(text):
        for parts in described:
            for part in parts:
                part.setdefault("change", "stable")
    if " where " in text:
        for number in range(1, len(candidates)):
            side = described[number - 1][-1].get("laterality")
            joint = text[candidates[number - 1].end : candidates[number].start]
            if side and "laterality" not in described[number][0] and _WHERE.search(joint):
                for part in described[number]:
                    part["laterality"] = side


def of_two_sides(first: Described, second: Described, *, shared: Described) -> list[Described]:
    """One bilateral part, or where each side has a degree (or only the second) one part for each."""
    differing = ["severity"] if "severity" in second and first.get("severity") != second["severity"] else []
    if "change" in first and "change" in second and first["change"] != second["change"]:
        differing.append("change")
    if differing:
        rest = {kind: value for kind, value in shared.items() if kind not in ("laterality", "anatomy", *differing)}
        return [rest | first, rest | second]
    severity = {"severity": first["severity"]} if "severity" in first else {}
    return [shared | severity | {"laterality": "bilateral"}]
