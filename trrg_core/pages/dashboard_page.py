"""One page over the nights and the model versions of a store: scores, data sizes, drift, rejects, decisions, champion.

Without a script and without the network; every text is escaped. It has references, counts and reasons, no report text.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime

from markupsafe import Markup

from trrg_core.pages.dashboard_charts import draw_data, draw_scores
from trrg_core.pages.template import hash_source, read_part, template_environment
from trrg_core.runs.flow_record import Outcome

MAX_ATTENTION = 10
# the worst first: nothing came of the first ones
_SEVERITY = (Outcome.FAILED, Outcome.UNFINISHED, Outcome.STOPPED)


@dataclass(frozen=True, kw_only=True)
class Score:
    """A score with its interval over patients; no interval where none was computed."""

    value: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        return f"{self.value:.3f}"


@dataclass(frozen=True, kw_only=True)
class Night:
    """One run of the flow: what it read, what it set aside, and what came of it.

    `number` counts from 1 for the oldest. `studies` is None where none were read; `more` is their change since the
    night before. `what` says in words what happened, the most important first. `rejects` are rows by job and reason.
    `is_override` is true where a person promoted the model against the gate.
    """

    number: int
    started_ms: int
    seconds: float
    outcome: Outcome
    what: tuple[str, ...] = ()
    studies: int | None = None
    more: int | None = None
    rejects: tuple[tuple[str, int], ...] = ()
    alarms: int = 0
    drift: tuple[str, ...] = ()
    model: str = ""
    score: Score | None = None
    report: str = ""
    champion: str = ""
    is_override: bool = False

    @property
    def num_rejects(self) -> int:
        """Rows set aside in all stages."""
        return sum(count for _, count in self.rejects)

    @property
    def started(self) -> str:
        """When it started, UTC."""
        return show_time(self.started_ms)

    @property
    def needs_attention(self) -> bool:
        """Whether a person should look at it: it came to no end, the data has drifted, or the gate was overruled."""
        return self.outcome in _SEVERITY or self.alarms > 0 or self.is_override

    @property
    def cause(self) -> str:
        """Why a person should look at it, in words."""
        drifted = self.outcome not in _SEVERITY and self.drift
        return next(iter(drifted or self.what), "")

    @property
    def kind(self) -> str:
        """The outcome as a class of the style sheet."""
        return self.outcome.replace(" ", "-")


@dataclass(frozen=True, kw_only=True)
class ModelRow:
    """A registered version: its aliases, the data it was trained on, its scores by name, and the decision."""

    version: str
    model: str
    aliases: tuple[str, ...] = ()
    registered_ms: int = 0
    data: str = ""
    scores: tuple[tuple[str, Score], ...] = ()
    ruling: str = ""
    against: tuple[str, ...] = ()
    why: str = ""
    report: str = ""

    @property
    def registered(self) -> str:
        """When it was registered, UTC."""
        return show_time(self.registered_ms)

    @property
    def reasons(self) -> tuple[str, ...]:
        """How it became champion, if it did, and what stood against it."""
        return (*([self.why] if self.why else []), *self.against)

    @property
    def kind(self) -> str:
        """The decision as a class of the style sheet."""
        if self.ruling.startswith("promoted"):
            return "promoted"
        return "refused" if self.ruling else "none"

    def find_score(self, name: str) -> Score | None:
        """The score called `name`, if it was computed."""
        return dict(self.scores).get(name)


@dataclass(frozen=True, kw_only=True)
class Reign:
    """The time that a version was champion; `until_ms` is 0 for the present one, None where the end is unknown."""

    model: str
    from_ms: int
    until_ms: int | None = 0
    how: str = ""
    reason: str = ""
    by: str = ""

    @property
    def since(self) -> str:
        """When it became champion, UTC."""
        return show_time(self.from_ms)

    @property
    def until(self) -> str:
        """When it was no longer."""
        return "now" if self.until_ms == 0 else show_time(self.until_ms or 0)


@dataclass(frozen=True, kw_only=True)
class DataRow:
    """A version of a table: its rows, and what was set aside on the way to it."""

    ref: str
    created_ms: int
    rows: int
    rejects: tuple[tuple[str, int], ...] = ()

    @property
    def created(self) -> str:
        """When it was committed, UTC."""
        return show_time(self.created_ms)


@dataclass(frozen=True, kw_only=True)
class DashboardPage:
    """The whole page; all lists are newest first. `score_names` are the scores shown, the one that is drawn first."""

    store: str
    made_ms: int
    nights: tuple[Night, ...] = ()
    models: tuple[ModelRow, ...] = ()
    reigns: tuple[Reign, ...] = ()
    data: tuple[DataRow, ...] = ()
    score_names: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    hidden: dict[str, int] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The heading of the page."""
        return "Dashboard"

    @property
    def made(self) -> str:
        """When the page was made, UTC."""
        return show_time(self.made_ms)

    @property
    def attention(self) -> tuple[Night, ...]:
        """The nights that a person should look at: those without an end first, then by alarms; newest first."""
        found = [night for night in self.nights if night.needs_attention]
        return tuple(sorted(found, key=_severity))


def _severity(night: Night) -> tuple[int, int]:
    worst = _SEVERITY.index(night.outcome) if night.outcome in _SEVERITY else len(_SEVERITY)
    return worst, -night.alarms


def render_dashboard(page: DashboardPage) -> str:
    """`page` as HTML."""
    style = read_part("page.css") + read_part("dashboard.css")
    template = template_environment().get_template("dashboard.html")
    return template.render(
        page=page,
        summary=sum_up_nights(page),
        attention=page.attention[:MAX_ATTENTION],
        num_attention=len(page.attention),
        scores=draw_scores(page.models, page.reigns, page.score_names[0] if page.score_names else ""),
        data=draw_data(page.nights),
        style=Markup(style),  # our own, not data
        style_hash=hash_source(style),
        script_hash="'none'",
    )


def sum_up_nights(page: DashboardPage) -> str:
    """One or two sentences: how the nights ended, and which model is champion since when."""
    counts = {outcome: sum(night.outcome is outcome for night in page.nights) for outcome in Outcome}
    ends = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
    nights = f"{len(page.nights)} night{'' if len(page.nights) == 1 else 's'}: {ends}." if page.nights else ""
    champion = next((model for model in page.models if "champion" in model.aliases), None)
    if champion is None:
        return f"{nights} No model is champion.".strip()
    since = next((reign.since for reign in page.reigns if reign.until_ms == 0 and reign.from_ms), "")
    score = champion.find_score(page.score_names[0]) if page.score_names else None
    words = f"{champion.model} is champion" + (f" since {since}" if since else "")
    return f"{nights} {words}{f', {page.score_names[0]} {_with_interval(score)}' if score else ''}.".strip()


def _with_interval(score: Score) -> str:
    if score.low is None or score.high is None:
        return str(score)
    return f"{score} ({score.low:.3f} to {score.high:.3f})"


def show_time(unix_ms: int) -> str:
    """A time as `2026-11-26 02:00`, UTC; a dash for none."""
    return datetime.fromtimestamp(unix_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M") if unix_ms else "-"
