"""The simulated month: what its source is like each night, and what the dashboard shows of it."""

import csv
from pathlib import Path

import pytest

from infra.bench.month import run_nights
from infra.bench.month_corpus import KEPT_BYTES, OPENING, Month, draw_pool, write_night
from pipelines.registry.dashboard import build_dashboard
from trrg_core.config.settings import RegisterConfig
from trrg_core.pages.dashboard_page import DashboardPage, render_dashboard
from trrg_core.runs.flow_record import Outcome
from trrg_core.storage.store import open_store

SMALL = Month(nights=5, drift_on=2, break_on=3, reword_on=4, first_studies=5, per_night=1, batch=3)


def rows_of(source: Path) -> list[dict[str, str]]:
    with (source / "export.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_the_source_grows_drifts_breaks_for_a_night_and_is_reworded(tmp_path: Path) -> None:
    pool = draw_pool(tmp_path, SMALL)
    studies, broken, reworded = [], [], []
    for night in range(1, 6):
        source = write_night(tmp_path, pool, SMALL, night)
        rows = rows_of(source)
        studies.append(len({row["study"] for row in rows}))
        broken.append(sum((source / row["image"]).stat().st_size == KEPT_BYTES for row in rows) > 0)
        reworded.append(sum(OPENING in row["report"] for row in rows) > 0)
    assert studies == [5, 9, 10, 16, 17]
    assert broken == [False, False, True, False, False], "whole again on the next night"
    assert reworded == [False, False, False, True, True]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> DashboardPage:
    folder = tmp_path_factory.mktemp("month")
    run_nights(folder, Month(), 1000)
    return build_dashboard(open_store(str(folder / "store")), RegisterConfig())


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.ray
@pytest.mark.flow
@pytest.mark.timeout(3 * 3600)
def test_the_dashboard_shows_what_happened_each_night(page: DashboardPage) -> None:
    month, nights = Month(), {night.number: night for night in page.nights}
    assert sorted(nights) == list(range(1, month.nights + 1))
    failed = [number for number, night in nights.items() if night.outcome is Outcome.FAILED]
    assert failed == [month.break_on]
    assert "too_many_rejects" in nights[month.break_on].what[0]
    drifted = {number for number, night in nights.items() if night.alarms}
    # until a person accepts a model of the new data
    assert drifted == {*range(month.drift_on, month.drift_on + 3), *range(month.reword_on, month.reword_on + 3)}
    assert any("Pleural Effusion" in alarm for alarm in nights[month.drift_on].drift)
    assert any("vocabulary" in alarm for alarm in nights[month.reword_on].drift)
    read = [night.studies for number, night in sorted(nights.items()) if night.studies is not None]
    assert read == sorted(read)
    assert read[-1] > 2 * read[0]
    # the first model, and those that a person accepted after each change
    assert [reign.how for reign in page.reigns] == ["by a person"] * 3
    assert all(night.outcome is Outcome.REFUSED for number, night in nights.items() if number not in (1, 12, 15, 22))
    html = render_dashboard(page)
    assert html.count('id="night-') == month.nights
    assert OPENING not in html
    assert page.attention[0].number == month.break_on
