"""The page of a slice: bars asked against achieved, reasons, escaped, nothing from elsewhere."""

import re
from html import unescape

import pytest

from tests.core.invented_shards import study, table_of
from trrg_core.label_stats.distribution import label_distribution
from trrg_core.pages.slice_page import BAR_PX, SlicePage, build_bar, render_slice
from trrg_core.pages.template import hash_source
from trrg_core.slicing.plan import TargetOutcome, plan_slice
from trrg_core.slicing.spec import validate_slice_spec
from trrg_core.tables.slice_reader import SliceReader

SPEC = validate_slice_spec(
    {
        "name": "rare",
        "where": "view_positions <> '</pre><script>alert(1)</script>'",
        "quotas": [{"observation": "Edema", "share": 0.5}, {"observation": "Pneumothorax", "share": 0.9}],
    }
)


@pytest.fixture(scope="module")
def page() -> str:
    labels = table_of(
        [study(f"s{at}", "Edema+" if at < 30 else "Pneumothorax+" if at < 50 else "") for at in range(100)]
    )
    plan = plan_slice(labels, SPEC)
    after = label_distribution(labels, SliceReader(plan.rows))
    before = label_distribution(labels)
    return render_slice(SlicePage(ref="slices@0", base="shards@<0>", plan=plan, spec=SPEC, before=before, after=after))


def test_the_page_tells_name_base_targets_and_reasons(page: str) -> None:
    text = unescape(re.sub(r"<[^>]+>", " ", page.split("</head>")[1]))
    assert "Slice rare (slices@0)" in text
    assert "1 of 2 targets are met" in text
    assert "Edema PRESENT >= 50.0%" in text
    assert "cannot be met together with quota Edema PRESENT >= 50.0%" in text
    assert "share: 0.9" in text


def test_nothing_of_the_data_is_markup_and_nothing_is_loaded(page: str) -> None:
    assert "<script" not in page
    assert "&lt;/pre&gt;&lt;script&gt;" in page
    assert "shards@&lt;0&gt;" in page
    assert not re.search(r"(src|href)=|url\(|@import|https?:", page)
    style = page.split("<style>")[1].split("</style>")[0]
    assert f"style-src {hash_source(style)}" in unescape(page)


def test_a_narrow_page_has_a_line_per_cell_with_its_name(page: str) -> None:
    assert 'name="viewport" content="width=device-width' in page
    narrow = page.split("@media (max-width: 720px)")[1]
    assert "table.checks tr" in narrow
    body = page.split("<tbody>")[1].split("</tbody>")[0]
    cells = re.findall(r"<td[^>]*>", body)
    assert len(cells) == 8
    assert sum("data-column=" in cell for cell in cells) == 6  # all but the two bars
    # no fixed width above that of a phone: the bars scale, long words break
    assert not re.search(r"(?<!max-)(?<!min-)width: (39[1-9]|[4-9]\d\d|\d{4,})px", page)


@pytest.mark.parametrize(
    ("is_share", "target", "before", "achieved", "expected"),
    [(True, 0.5, 0.25, 1.0, (0.5, 0.25, 1.0)), (False, 200, 50, 100, (1.0, 0.25, 0.5)), (False, 0, 0, 0, (0, 0, 0))],
)
def test_bars_are_to_scale(
    is_share: bool, target: float, before: float, achieved: float, expected: tuple[float, float, float]
) -> None:
    outcome = TargetOutcome(
        kind="quota",
        name="x",
        relation=">=",
        target=target,
        is_share=is_share,
        before=before,
        achieved=achieved,
        is_met=True,
    )
    bar = build_bar(outcome)
    assert (bar.target_px, bar.before_px, bar.achieved_px) == tuple(BAR_PX * share for share in expected)


def test_a_share_of_negated_sentences_has_that_of_all_sections_beside_it_where_it_differs() -> None:
    outcome = TargetOutcome(
        kind="negated",
        name="Edema negated sentences",
        relation="<=",
        target=0.6,
        is_share=True,
        before=0.8,
        achieved=0.6,
        is_met=True,
        before_all=0.7,
        achieved_all=0.6,
    )
    bar = build_bar(outcome)
    assert (bar.base, bar.base_all, bar.achieved, bar.achieved_all) == ("80.0%", "70.0%", "60.0%", "")
