"""What can be started, by a person or a schedule, and that `prefect.yaml` says the same as `trrg up`."""

import asyncio
import importlib
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from prefect.exceptions import ParameterTypeError
from prefect.server.schemas.schedules import CronSchedule

from flows.deployments import DEPLOYMENTS, served
from flows.form_fields import chosen_source
from flows.grid import combinations, score_rows
from flows.retraining import retrain
from infra.prefect.deployments import PLACE, to_yaml
from trrg_core.errors import ConfigError
from trrg_core.metrics.systems import System, clinical_score, metric_key
from trrg_core.slicing.spec import Balance, Cap, Quota, SliceSpec

NAMES = ["retrain", "refresh-data", "reslice", "evaluate", "promote", "sweep"]


def test_the_file_of_deployments_is_that_of_the_code_and_its_entrypoints_exist() -> None:
    assert PLACE.read_text("utf-8") == to_yaml(), "run python -m infra.prefect.deployments"
    deployments = yaml.safe_load(to_yaml())["deployments"]
    assert [one["name"] for one in deployments] == NAMES
    for one in deployments:
        module, _, name = one["entrypoint"].rpartition(".")
        flow = getattr(importlib.import_module(module), name)
        assert flow.name == one["name"]
        assert set(one["parameters"]) <= set(flow.parameters.properties)
        assert one["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}


def test_schedules_are_paused_until_a_person_resumes_them() -> None:
    scheduled = {
        one.name: one.schedules[0] for one in served("/s", cron="30 2 * * *", timezone="Europe/Berlin") if one.schedules
    }
    assert list(scheduled) == ["retrain", "refresh-data"]
    assert all(not schedule.active for schedule in scheduled.values())
    assert scheduled["retrain"].schedule.timezone == "Europe/Berlin"
    assert {str(one.entrypoint) for one in served("/s")} == {one.entrypoint for one in DEPLOYMENTS}


@pytest.mark.parametrize("day", ["2027-03-26", "2026-10-23"])
def test_a_night_is_at_four_of_the_local_clock_before_and_after_its_change(day: str) -> None:
    zone = ZoneInfo("Europe/Berlin")
    start = datetime.fromisoformat(f"{day}T12:00").replace(tzinfo=zone)
    dates = asyncio.run(CronSchedule(cron="0 4 * * *", timezone="Europe/Berlin").get_dates(4, start))
    local = [date.astimezone(zone) for date in dates]
    assert [(date.hour, date.minute) for date in local] == [(4, 0)] * 4
    assert len({date.date() for date in local}) == 4
    assert len({date.utcoffset() for date in local}) == 2, "the clock does not change in these days"


def test_every_form_explains_its_fields_and_bounds() -> None:
    for one in DEPLOYMENTS:
        properties = one.flow.parameters.properties
        assert all(field.get("description") for field in properties.values()), one.name
    promote = next(one.flow for one in DEPLOYMENTS if one.name == "promote").parameters
    assert promote.properties["reason"]["minLength"] == 3
    assert set(promote.required) == {"version", "reason"}


def test_no_field_of_a_form_asks_for_a_type_first() -> None:
    for one in DEPLOYMENTS:
        choices = {name for name, field in one.flow.parameters.properties.items() if "anyOf" in field}
        assert not choices, one.name


def test_the_fields_of_a_slice_are_shown_in_the_order_of_the_spec() -> None:
    schema = next(one.flow for one in DEPLOYMENTS if one.name == "reslice").parameters
    for model in (SliceSpec, Quota, Cap, Balance):
        fields = schema.definitions[model.__name__]["properties"]
        order = sorted(fields, key=lambda name, of=fields: of[name]["position"])
        assert order == list(model.model_fields), model.__name__


def test_an_item_of_the_settings_that_was_not_filled_in_is_left_out() -> None:
    for flow in (one.flow for one in DEPLOYMENTS if "settings" in one.flow.parameters.properties):
        items = flow.parameters.properties["settings"]["items"]
        assert items == {"type": "string", "default": ""}, "the form refuses to send null for a string"
    given = {"settings": ["", "finetune.clues=off", ""]}
    assert retrain.validate_parameters(given)["settings"] == ("finetune.clues=off",)
    assert retrain.validate_parameters({"settings": None})["settings"] == ()
    with pytest.raises(ParameterTypeError, match="settings"):
        retrain.validate_parameters({"settings": "finetune.clues=off"})


def test_a_source_may_be_left_to_the_preset() -> None:
    parameters = retrain.validate_parameters({"source": None, "settings": None})
    assert (parameters["source"], parameters["settings"]) == ("preset", ())
    assert (chosen_source("preset"), chosen_source("iu-xray")) == ("", "iu-xray")
    with pytest.raises(ParameterTypeError, match="expected one of preset, mimic-cxr"):
        retrain.validate_parameters({"source": "mimic"})


def test_a_sweep_is_every_combination_with_every_seed() -> None:
    runs = combinations({"finetune.clues": ["on", "off"], "generate.guidance": [0.5]}, [1, 2])
    assert [name for name, _ in runs] == [
        f'finetune.clues="{clues}", generate.guidance=0.5, seed={seed}' for clues in ("on", "off") for seed in (1, 2)
    ]
    assert runs[0][1] == ['finetune.clues="on"', "generate.guidance=0.5", "seed=1"]
    assert combinations({}, [7]) == [("as it is, seed=7", ["seed=7"])]
    with pytest.raises(ConfigError, match=r"finetune.epochs has no values"):
        combinations({"finetune.epochs": []}, [1])
    with pytest.raises(ConfigError, match="18 combinations with 2 seeds, at most 32 runs"):
        combinations({"a": list(range(18))}, [1, 2])


def test_the_table_of_a_sweep_has_the_mean_and_the_range_over_seeds() -> None:
    key = metric_key(System.MODEL, clinical_score("trrg13"))
    results: dict[str, dict[str, Any]] = {
        "clues=on, seed=1": {"counts": {key: 0.4}},
        "clues=on, seed=2": {"counts": {key: 0.6}},
        "clues=off, seed=1": {"counts": {key: 0.3}},
    }
    name = clinical_score("trrg13")
    assert score_rows(results) == [
        {"settings": "clues=on", "seeds": "2", name: "0.500 (0.400 to 0.600)"},
        {"settings": "clues=off", "seeds": "1", name: "0.300 (0.300 to 0.300)"},
    ]
