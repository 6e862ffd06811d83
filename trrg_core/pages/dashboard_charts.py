"""The two charts of the dashboard as geometry: scores of the versions with intervals, and data sizes by night."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trrg_core.pages.dashboard_page import ModelRow, Night, Reign

WIDTH, HEIGHT = 560, 220
LEFT, RIGHT, TOP, BOTTOM = 52, 10, 12, 26
# of a label on a narrow screen, where the style sheet writes it in 19 pixels of the drawing
_LETTER, _GAP = 11, 8
SHOWN = 60  # of each kind, the newest


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A label on an axis and where it is."""

    at: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One version or night: `low` and `high` are the ends of a line through it, `y` the middle. `note` is a tooltip."""

    x: float
    y: float
    low: float
    high: float
    kind: str
    note: str
    width: float = 0.0
    cut: float = 0.0
    is_marked: bool = False


@dataclass(frozen=True, kw_only=True)
class Chart:
    """What a template draws: marks, a polyline through some of them, and ticks; in user units of the view box."""

    name: str
    marks: tuple[Mark, ...]
    line: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    base: int = HEIGHT - BOTTOM


def draw_scores(models: Sequence["ModelRow"], reigns: Sequence["Reign"], name: str) -> Chart | None:
    """Score `name` of each version with its interval, oldest first, and a line through those that became champion."""
    scored = [(model, score) for model in reversed(models) if (score := model.find_score(name))][-SHOWN:]
    if not scored:
        return None
    ends = [
        end for _, score in scored for end in (score.value, score.low, score.high) if end is not None and end == end
    ]
    lowest, highest = _rounded_ends(min(ends), max(ends))
    champions = {reign.model for reign in reigns} | {model.model for model, _ in scored if "champion" in model.aliases}
    scale = _Scale(lowest, highest)
    y_ticks = scale.ticks(2)
    left = _room_of(y_ticks)
    places = _places(len(scored), left)
    marks = []
    for x, (model, score) in zip(places, scored, strict=True):
        low = score.value if score.low is None else score.low
        high = score.value if score.high is None else score.high
        note = f"{model.model}: {score} ({low:.3f} to {high:.3f}), {model.ruling or 'no decision'}"
        is_champion = "champion" in model.aliases
        mark = Mark(
            x=x,
            y=scale(score.value),
            low=scale(low),
            high=scale(high),
            kind=model.kind,
            note=note,
            is_marked=is_champion,
        )
        marks.append(mark)
    line = " ".join(
        f"{mark.x:.1f},{mark.y:.1f}" for mark, (model, _) in zip(marks, scored, strict=True) if model.model in champions
    )
    labels = [model.version for model, _ in scored]
    x_ticks = _x_ticks(places, labels)
    return Chart(name=name, marks=tuple(marks), line=line, x_ticks=x_ticks, y_ticks=y_ticks, left=left)


def draw_data(nights: Sequence["Night"]) -> Chart | None:
    """Studies of each night as bars, rows set aside as the part cut off on top, and a mark where the data drifted."""
    shown = list(reversed(nights))[-SHOWN:]
    if not any(night.studies or night.num_rejects for night in shown):
        return None
    highest = max((night.studies or 0) + night.num_rejects for night in shown)
    scale = _Scale(0, _rounded_ends(0, highest)[1])
    y_ticks = scale.ticks(0)
    left = _room_of(y_ticks)
    places = _places(len(shown), left)
    width = min(26.0, 0.7 * (WIDTH - left - RIGHT) / len(shown))
    marks = []
    for x, night in zip(places, shown, strict=True):
        studies = night.studies or 0
        note = f"night {night.number}, {night.started}: {studies:,} studies, {night.num_rejects:,} rows set aside"
        alarms = f", {night.alarms} drift alarms" if night.alarms else ""
        mark = Mark(
            x=x,
            y=scale(studies),
            low=scale(0),
            high=scale(studies + night.num_rejects),
            kind=night.kind,
            note=f"{note}{alarms}, {night.outcome}",
            width=width,
            cut=scale(studies) - scale(studies + night.num_rejects),
            is_marked=night.alarms > 0,
        )
        marks.append(mark)
    labels = [str(night.number) for night in shown]
    x_ticks = _x_ticks(places, labels)
    return Chart(name="studies", marks=tuple(marks), line="", x_ticks=x_ticks, y_ticks=y_ticks, left=left)


class _Scale:
    """Values from `lowest` to `highest` as heights of the drawing."""

    def __init__(self, lowest: float, highest: float) -> None:
        self.lowest, self.highest = lowest, highest

    def __call__(self, value: float) -> float:
        share = (value - self.lowest) / (self.highest - self.lowest)
        return HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)

    def ticks(self, digits: int) -> tuple[Tick, ...]:
        """Three labels, from the lowest to the highest value, with more digits where two would read the same."""
        values = (self.lowest, (self.lowest + self.highest) / 2, self.highest)
        texts = [[f"{value:,.{more}f}" for value in values] for more in range(digits, digits + 4)]
        shown = next((text for text in texts if len(set(text)) == len(text)), texts[0])
        return tuple(Tick(at=self(value), text=text) for value, text in zip(values, shown, strict=True))


def _rounded_ends(low: float, high: float) -> tuple[float, float]:
    """The ends of an axis that holds both values: multiples of a step of 1, 2 or 5, and never the same."""
    span = max(high - low, 1e-6 if high <= 1 else 1.0)
    step = 10.0 ** len(str(int(span))) / 10 if span >= 1 else 0.05
    step = next((part * step for part in (0.2, 0.5, 1.0) if span / (part * step) <= 10), step)
    bottom, top = step * (low // step), step * -(-high // step)
    return bottom, top if top > bottom else bottom + step


def _room_of(ticks: Sequence[Tick]) -> int:
    """Where the drawing begins, so that the labels of the vertical axis have room on a narrow screen too."""
    return max(LEFT, _GAP + _LETTER * max(len(tick.text) for tick in ticks))


def _places(count: int, left: int) -> list[float]:
    room = WIDTH - left - RIGHT
    return [left + room * (at + 0.5) / count for at in range(count)]


def _x_ticks(places: Sequence[float], labels: Sequence[str]) -> tuple[Tick, ...]:
    """At most eight labels, the last one among them."""
    every = -(-len(labels) // 8)
    last = len(labels) - 1
    return tuple(
        Tick(at=place, text=label)
        for at, (place, label) in enumerate(zip(places, labels, strict=True))
        if (last - at) % every == 0
    )
