"""The radiographs of a study: which views are used, and the id of each view position."""

from collections.abc import Mapping, Sequence
from typing import Any

VIEW_POSITIONS = ("", "PA", "AP", "LATERAL", "LL", "OTHER")
# One frontal and one lateral view show more than two frontal views, so a second view of the same kind comes later.
_VIEW_RANK = {"PA": 0, "AP": 1, "LATERAL": 0, "LL": 1}
_LATERAL = ("LATERAL", "LL")
LATERAL_IDS = tuple(VIEW_POSITIONS.index(name) for name in _LATERAL)


def choose_views(views: Sequence[Mapping[str, Any]], *, num_views: int) -> list[Mapping[str, Any]]:
    """At most `num_views` views: the best frontal, the best lateral, then the others in their own order."""
    seen = {"frontal": 0, "lateral": 0}
    ranked: list[tuple[int, int, Mapping[str, Any]]] = []
    order = sorted(range(len(views)), key=lambda index: (_VIEW_RANK.get(views[index]["view_position"], 2), index))
    for index in order:
        kind = "lateral" if views[index]["view_position"] in _LATERAL else "frontal"
        ranked.append((seen[kind], kind == "lateral", views[index]))
        seen[kind] += 1
    return [view for _, _, view in sorted(ranked, key=lambda item: item[:2])[:num_views]]


def is_frontal(view_position: str) -> bool:
    """Whether a view may show which side a finding is on; only lateral views surely do not."""
    return view_position not in _LATERAL


def view_id(view_position: str) -> int:
    """The index of `view_position` in `VIEW_POSITIONS`, or that of OTHER if it is not listed."""
    return VIEW_POSITIONS.index(view_position if view_position in VIEW_POSITIONS else "OTHER")
