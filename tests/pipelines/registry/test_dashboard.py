"""The dashboard of a store made by hand: what happened each night, which model was champion when."""

import re
from dataclasses import replace

import pytest

from pipelines.registry.alias_moves import BY_GATE, Move, promote, record_move
from pipelines.registry.dashboard import build_dashboard
from pipelines.registry.registry_client import CHAMPION, NewVersion, open_registry
from trrg_core.config.settings import RegisterConfig
from trrg_core.pages.dashboard_charts import draw_data, draw_scores
from trrg_core.pages.dashboard_page import DashboardPage, ModelRow, Night, Score, render_dashboard, sum_up_nights
from trrg_core.runs.flow_record import DriftRecord, FlowRecord, Outcome, StageRecord, write_flow_record
from trrg_core.runs.results import RunResult, write_result
from trrg_core.storage.store import Store

CONFIG = RegisterConfig()
SCORE = "trrg13.micro.f1.u0"
DAY = 86_400_000


def ingest(studies: int, **rejects: int) -> StageRecord:
    return StageRecord(job="ingest", ref="studies@0", counts={"studies": studies}, rejects=rejects)


def registered(number: int, alias: str, reasons: str = "") -> StageRecord:
    notes = {"model": f"models:/trrg/{number}", "alias": alias, "ruling": "refused", "reasons": reasons}
    return StageRecord(job="register", ref=f"register-{number}", notes=notes)


@pytest.fixture
def store(store_with_registry: Store) -> Store:
    """Six nights: promoted, refused on drifted data, failed, nothing new, killed, and promoted against the gate."""
    store = store_with_registry
    with open_registry(store, CONFIG) as models:
        for number, ruling in enumerate(("promoted", "refused"), 1):
            run_id = f"finetune-{number}"
            write_result(store, RunResult(run_id=run_id, job="finetune", inputs={"shards": f"shards@{number}"}))
            scores = f"evaluate-{number}"
            interval = {"low": 0.05 * number, "high": 0.2 * number}
            store.write_bytes(
                f"runs/{scores}/scores.json", f'[{{"intervals": {{"{SCORE}": {interval}}}}}]'.replace("'", '"').encode()
            )
            version = NewVersion(run_id=f"register-{number}", source="", generator=run_id, scores=scores)
            against = {"gate.text.modal_share": "fail: 0.9 <script>"} if number == 2 else {}
            tags = {"gate.ruling": ruling, f"score.{SCORE}": f"0.{number}", **against}
            models.describe(models.create(version), card="", tags=tags)
        models.set_alias(CHAMPION, "1")
    record_move(store, Move(before="", after="1", kind=BY_GATE, reason="promoted", when_ms=DAY))
    store.write_bytes("runs/register-1/report.html", b"<p>")
    drift = DriftRecord(baseline="shards@1", shards="shards@2", alarms=2, largest=("Edema PRESENT (x)", "view mix (y)"))
    nights = (
        FlowRecord(run="a", started_ms=DAY, outcome=Outcome.PROMOTED, stages=(ingest(100), registered(1, "champion"))),
        FlowRecord(
            run="b",
            started_ms=2 * DAY,
            finished_ms=2 * DAY + 5000,
            outcome=Outcome.REFUSED,
            stages=(ingest(130, no_image=3, no_report=1), registered(2, "challenger", "fail: worse\nfail: shorter")),
            drift=drift,
        ),
        FlowRecord(
            run="c",
            started_ms=3 * DAY,
            outcome=Outcome.FAILED,
            stage="ingest",
            error="DataError",
            reason="too_many_rejects",
            cause="12% were set aside",
        ),
        FlowRecord(
            run="d", started_ms=4 * DAY, outcome=Outcome.NOTHING_NEW, stages=(ingest(130), registered(2, "challenger"))
        ),
        FlowRecord(run="e", started_ms=5 * DAY, stage="finetune", stages=(ingest(125),)),
    )
    for night in nights:
        write_flow_record(store, replace(night, first="ingest", last="register"))
    write_flow_record(store, FlowRecord(run="sweep", started_ms=9 * DAY, first="pretrain", last="evaluate"))
    store.write_bytes("flows/000000000000000-x.json", b"{")
    return store


@pytest.fixture
def page(store: Store) -> DashboardPage:
    return build_dashboard(store, CONFIG, pages="")


def test_each_night_says_what_happened(page: DashboardPage) -> None:
    killed, idle, failed, drifted, first = page.nights
    assert [night.number for night in page.nights] == [5, 4, 3, 2, 1]
    assert (first.what, first.model, first.report) == (
        ("models:/trrg/1 refused",),
        "models:/trrg/1",
        "/runs/register-1/report.html",
    )
    assert drifted.what == (
        "drift from shards@1, the data of the champion: 2 alarms, the largest Edema PRESENT (x), view mix (y)",
        "fail: worse",
        "fail: shorter",
        "set aside: ingest no_image 3, ingest no_report 1",
    )
    assert (drifted.studies, drifted.more, drifted.num_rejects, drifted.alarms) == (130, 30, 4, 2)
    assert (drifted.seconds, drifted.report) == (5.0, ""), "its report is not in the store"
    assert drifted.score is not None
    assert (drifted.score.value, drifted.score.low, drifted.score.high) == (0.2, 0.1, 0.4)
    assert failed.what == ("ingest failed with DataError too_many_rejects: 12% were set aside",)
    assert (failed.studies, idle.more) == (None, 0), "the change is from the last night that read anything"
    assert idle.what == ("the source, the settings and the code are those of an earlier run: all results were reused",)
    assert killed.what == ("it still runs, or was killed, in finetune",)
    assert page.unreadable == ("flows/000000000000000-x.json",)


def test_a_night_that_a_person_decided_says_against_how_much(store: Store) -> None:
    stage = registered(1, "champion", "fail: worse\nfail: shorter")
    stage = replace(stage, notes={**stage.notes, "ruling": "promoted by a person"})
    night = FlowRecord(run="f", started_ms=6 * DAY, outcome=Outcome.PROMOTED, stages=(ingest(130), stage))
    write_flow_record(store, replace(night, first="ingest", last="register"))
    assert build_dashboard(store, CONFIG).nights[0].what == (
        "models:/trrg/1 promoted by a person against 2 checks of the gate",
        "fail: worse",
        "fail: shorter",
    )
    causes = [night.cause for night in build_dashboard(store, CONFIG).attention]
    assert "models:/trrg/1 promoted by a person against 2 checks of the gate" in causes
    cancelled = FlowRecord(run="g", started_ms=7 * DAY, outcome=Outcome.STOPPED, stage="pretrain", error="SystemExit")
    write_flow_record(store, replace(cancelled, first="ingest", last="register"))
    assert build_dashboard(store, CONFIG).nights[0].what == ("it was cancelled, or asked to end, in pretrain",)


def test_the_axis_of_equal_scores_has_three_different_labels() -> None:
    models = [
        ModelRow(version=str(number), model=f"m/{number}", scores=((SCORE, Score(value=0.0)),)) for number in (1, 2)
    ]
    chart = draw_scores(models, [], SCORE)
    assert chart is not None
    assert [tick.text for tick in chart.y_ticks] == ["0.000", "0.005", "0.010"]


def test_the_labels_of_the_vertical_axis_have_room_on_a_narrow_screen() -> None:
    nights = [Night(number=1, started_ms=DAY, seconds=1.0, outcome=Outcome.PROMOTED, studies=377_110)]
    chart = draw_data(nights)
    assert chart is not None
    # 19 pixels in dashboard.css; a digit is .55 of it wide, and the label ends 6 before the drawing
    assert 6 + 0.55 * 19 * max(len(tick.text) for tick in chart.y_ticks) <= chart.left
    assert chart.left < chart.marks[0].x < chart.right


def test_the_worst_nights_come_first(page: DashboardPage) -> None:
    assert [night.number for night in page.attention] == [3, 5, 2]
    assert page.attention[-1].cause.startswith("drift from shards@1")


def test_the_summary_names_the_champion_with_its_interval(page: DashboardPage) -> None:
    assert sum_up_nights(page) == (
        "5 nights: 1 promoted, 1 refused, 1 nothing new, 1 failed, 1 unfinished. models:/trrg/1 is champion since "
        f"1970-01-02 00:00, {SCORE} 0.100 (0.050 to 0.200)."
    )


def test_a_change_of_the_champion_by_hand_is_shown(store: Store) -> None:
    promote(store, CONFIG, "2", "readers prefer it")
    now, before = build_dashboard(store, CONFIG).reigns
    assert (now.model, now.until_ms, now.how, now.reason) == ("models:/trrg/2", 0, "by a person", "readers prefer it")
    assert (before.model, before.from_ms, before.until_ms) == ("models:/trrg/1", DAY, now.from_ms)
    with open_registry(store, CONFIG) as models:
        models.set_alias(CHAMPION, "1")
        page = build_dashboard(store, CONFIG)
        assert [(reign.how, reign.until) for reign in page.reigns[:2]] == [
            ("alias set by hand", "now"),
            ("by a person", "-"),
        ]
        assert f"models:/trrg/1 is champion, {SCORE}" in sum_up_nights(page), "nobody knows since when"
        assert render_dashboard(page).count('class="whole now"') == 1
        models._client.delete_registered_model_alias("trrg", CHAMPION)
    assert build_dashboard(store, CONFIG).reigns[0].until == "-"


def test_a_record_that_somebody_changed_spoils_no_page(store: Store) -> None:
    stages = (
        StageRecord(job="ingest", counts={"studies": float("nan")}),
        StageRecord(job="register", ref="../../etc", notes={"model": "models:/trrg/1"}),
    )
    night = FlowRecord(run="f", started_ms=6 * DAY, outcome=Outcome.PROMOTED, stages=stages)
    write_flow_record(store, replace(night, first="ingest", last="register"))
    changed = build_dashboard(store, CONFIG).nights[0]
    assert (changed.model, changed.studies, changed.report) == ("models:/trrg/1", None, "")


def test_the_page_is_escaped_and_loads_nothing(page: DashboardPage) -> None:
    html = render_dashboard(page)
    assert "<script" not in html
    assert "fail: 0.9 &lt;script&gt;" in html
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy is not None
    assert "default-src 'none'" in policy[1].replace("&#39;", "'")
    assert "script-src 'none'" in policy[1].replace("&#39;", "'")
    assert " style=" not in html, "the policy allows no style of a single element"
    assert html.count('id="night-') == 5
    assert html.count('class="whisker promoted"') == html.count('class="whisker refused"') == 1


def test_an_empty_store_has_a_page_that_says_so(tmp_path) -> None:
    from trrg_core.storage.store import open_store

    page = build_dashboard(open_store(str(tmp_path)), CONFIG)
    assert sum_up_nights(page) == "No model is champion."
    html = render_dashboard(page)
    assert "No run has been recorded yet" in html
    assert "No version has scores yet" in html
