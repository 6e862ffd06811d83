"""A slice as one HTML page without a script: targets and achieved values as bars, reasons, labels, the specification.

Names, counts and shares only: no id of a patient, no report text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import yaml
from markupsafe import Markup

from trrg_core.label_stats.distribution import LabelCount
from trrg_core.labels import Assertion
from trrg_core.pages.template import hash_source, read_part, template_environment
from trrg_core.slicing.plan import Slice, TargetOutcome
from trrg_core.slicing.spec import SliceSpec

BAR_PX = 240
_STYLE = """
table.checks td, table.checks th { overflow-wrap: anywhere; }
svg.asked { display: block; width: 100%; max-width: 240px; height: 18px; }
svg.asked .before { fill: var(--soft); opacity: 0.35; }
svg.asked .met { fill: var(--good); }
svg.asked .missed { fill: var(--bad); }
svg.asked .target { stroke: var(--ink); stroke-width: 2; }
td .all { display: block; margin-left: 8px; }
td.missed { color: var(--bad); font-weight: 600; }
pre { overflow-x: auto; white-space: pre-wrap; overflow-wrap: anywhere; font-size: 12.5px; }
"""


@dataclass(frozen=True, kw_only=True)
class SlicePage:
    """The page of a slice; `ref` is empty for one that was not committed.

    `before` and `after` are the label counts of the train studies of the base and of the slice.
    """

    ref: str
    base: str
    plan: Slice
    spec: SliceSpec
    before: Sequence[LabelCount]
    after: Sequence[LabelCount]

    @property
    def title(self) -> str:
        """The heading of the page."""
        return f"Slice {self.spec.name}" + (f" ({self.ref})" if self.ref else "")


@dataclass(frozen=True, kw_only=True)
class TargetBar:
    """A target as the template prints it; the numbers are lengths and places of the bar, 0 to `BAR_PX` px.

    `base_all` and `achieved_all` are the shares among the sentences of all sections where they differ, else empty.
    """

    outcome: TargetOutcome
    asked: str
    base: str
    achieved: str
    base_all: str
    achieved_all: str
    before_px: float
    achieved_px: float
    target_px: float


@dataclass(frozen=True, kw_only=True)
class LabelShares:
    """Shares of the train rows whose report makes each assertion of a finding, before and after, as text."""

    finding: str
    cells: tuple[tuple[str, str], ...]


def render_slice(page: SlicePage) -> str:
    """`page` as HTML."""
    style = read_part("page.css") + _STYLE
    template = template_environment().get_template("slice.html")
    return template.render(
        page=page,
        bars=[build_bar(outcome) for outcome in page.plan.outcomes],
        labels=_label_shares(page.before, page.after),
        spec=yaml.safe_dump(page.spec.model_dump(mode="json", exclude_defaults=True), sort_keys=False),
        width=BAR_PX,
        style=Markup(style),  # our own, not data
        style_hash=hash_source(style),
        script_hash="'none'",
    )


def build_bar(outcome: TargetOutcome) -> TargetBar:
    """The bar of a target: shares on a scale of 0 to 1, counts on one that ends at the greatest of them."""
    scale = 1.0 if outcome.is_share else max(outcome.target, outcome.before, outcome.achieved, 1.0)
    asked = f"{outcome.name} {outcome.relation} {_number(outcome.target, outcome.is_share)}"
    base, achieved = (_number(value, outcome.is_share) for value in (outcome.before, outcome.achieved))
    return TargetBar(
        outcome=outcome,
        asked=asked,
        base=base,
        achieved=achieved,
        base_all=_other_share(outcome.before_all, base),
        achieved_all=_other_share(outcome.achieved_all, achieved),
        before_px=round(BAR_PX * outcome.before / scale, 1),
        achieved_px=round(BAR_PX * outcome.achieved / scale, 1),
        target_px=round(BAR_PX * outcome.target / scale, 1),
    )


def _other_share(share: float | None, shown: str) -> str:
    text = "" if share is None else _number(share, True)
    return "" if text == shown else text


def _label_shares(before: Sequence[LabelCount], after: Sequence[LabelCount]) -> list[LabelShares]:
    old, new = _train_shares(before), _train_shares(after)
    findings = dict.fromkeys(finding for finding, _ in old)
    return [
        LabelShares(
            finding=finding,
            cells=tuple(
                (assertion.lower(), f"{old[finding, assertion]:.1%} to {new[finding, assertion]:.1%}")
                for assertion in Assertion
            ),
        )
        for finding in findings
    ]


def _train_shares(counts: Sequence[LabelCount]) -> Mapping[tuple[str, Assertion], float]:
    return {
        (count.observation, count.assertion): count.share
        for count in counts
        if count.split == "train" and count.assertion is not None
    }


def _number(value: float, is_share: bool) -> str:
    return f"{value:.1%}" if is_share else f"{value:,.0f}"
