"""The Grafana dashboard and the alert rules name metrics that exist, and the documentation names all of ours."""

import json
import re
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from pipelines.registry.store_metrics import render_metrics
from pipelines.serving.metrics import ServingMetrics
from trrg_core.config.settings import RegisterConfig
from trrg_core.storage.store import open_store

ROOT = Path(__file__).parents[2]
BOARD = json.loads((ROOT / "infra" / "grafana" / "trrg.json").read_text("utf-8"))
RULES = yaml.safe_load((ROOT / "infra" / "prometheus" / "alerts.yaml").read_text("utf-8"))["groups"]
SCRAPE = yaml.safe_load((ROOT / "infra" / "prometheus" / "prometheus.yaml").read_text("utf-8"))
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
ALERTS = [rule for group in RULES for rule in group["rules"]]
NAME = re.compile(r"\b(?:trrg|ray)_\w+")


def expressions() -> dict[str, str]:
    shown = {f"{panel['title']} {at}": one["expr"] for panel in PANELS for at, one in enumerate(panel["targets"])}
    return shown | {rule["alert"]: rule["expr"] for rule in ALERTS}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The metrics of the code by name, with their kinds."""
    store = open_store(str(tmp_path_factory.mktemp("store")))
    text = render_metrics(store, RegisterConfig()) + ServingMetrics().render("models:/trrg/1")
    return dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.M))


def test_every_metric_of_ours_in_a_panel_or_an_alert_is_exported(exported: dict[str, str]) -> None:
    samples = set()
    for name, kind in exported.items():
        samples |= {f"{name}_{end}" for end in ("bucket", "sum", "count")} if kind == "histogram" else {name}
    named = {name for text in expressions().values() for name in NAME.findall(text) if name.startswith("trrg_")}
    assert len(named) > 15
    assert named - samples == set()


def test_every_metric_of_ray_in_a_panel_is_in_a_panel_of_its_own() -> None:
    spec = find_spec("ray")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "dashboard" / "modules" / "metrics" / "dashboards"
    known = {name for path in folder.glob("*.py") for name in NAME.findall(path.read_text("utf-8"))}
    named = {name for text in expressions().values() for name in NAME.findall(text) if name.startswith("ray_")}
    assert named
    assert named - known == set()


def test_every_exported_metric_is_documented_and_shown_or_alerted(exported: dict[str, str]) -> None:
    page = (ROOT / "docs" / "how-to" / "observe.md").read_text("utf-8")
    assert [name for name in exported if f"`{name}`" not in page] == []
    used = " ".join(expressions().values())
    assert [name for name in exported if name not in used and name not in NOT_SHOWN] == []


# when a run last ended follows from the other two; which model serves is a question of a person
NOT_SHOWN = {"trrg_flow_last_end_timestamp_seconds", "trrg_model_info"}


@pytest.mark.parametrize("name", list(expressions()))
def test_an_expression_is_closed(name: str) -> None:
    text = expressions()[name]
    assert all(text.count(left) == text.count(right) for left, right in ("()", "[]", "{}"))
    assert text.count('"') % 2 == 0


def test_every_alert_says_what_to_do_and_the_rules_are_loaded() -> None:
    assert len({rule["alert"] for rule in ALERTS}) == len(ALERTS) > 8
    assert all(rule["annotations"]["summary"] and rule["annotations"]["action"] for rule in ALERTS)
    assert SCRAPE["rule_files"] == ["alerts.yaml"]


def test_panels_do_not_overlap() -> None:
    cells = [
        (x, y)
        for panel in BOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
