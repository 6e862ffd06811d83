import hashlib

import pytest

from trrg_core.config.load import load_config
from trrg_core.errors import ConfigError
from trrg_core.registry.change_plan import changed_settings, check_changes, check_criteria, read_plan
from trrg_core.registry.check import Verdict

PLAN = b"""
name: nightly
may_change: [data, seed, "finetune.optimizer.*"]
criteria: {max_f1_drop: 0.02, critical_findings: [Pneumothorax]}
"""


def test_a_plan_is_identified_by_its_bytes():
    declared = read_plan(PLAN)
    assert declared.plan.name == "nightly"
    assert declared.sha256 == hashlib.sha256(PLAN).hexdigest()
    assert read_plan(PLAN + b"# agreed\n").sha256 != declared.sha256


def test_a_wrong_key_names_the_right_one():
    with pytest.raises(ConfigError, match="did you mean 'may_change'"):
        read_plan(b"name: x\nmaychange: [data]\n")
    with pytest.raises(ConfigError, match=r"change_plan\.yaml: name"):
        read_plan(b"may_change: [data]\n")


def test_changes_are_settings_that_make_another_model():
    before = load_config("tiny").model_dump(mode="json")
    settings = ["seed=8", "finetune.optimizer.learning_rate=1e-3", "register.min_studies=9", "ray.local_cpus=9"]
    after = load_config("tiny", [*settings, "source.root=elsewhere"]).model_dump(mode="json")
    assert changed_settings(before, after) == ("finetune.optimizer.learning_rate", "seed")
    assert changed_settings(before, before) == ()
    assert changed_settings({"a": {"b": 1}}, {"a": {}}) == ("a", "a.b")


@pytest.mark.parametrize(
    ("changes", "outside"),
    [
        ((), ""),
        (("data", "seed", "finetune.optimizer.learning_rate"), ""),
        (("code", "seed"), "code"),
        (("finetune.llm.pretrained", "slice"), "finetune.llm.pretrained, slice"),
    ],
)
def test_a_change_outside_the_plan_is_refused(changes: tuple[str, ...], outside: str):
    check = check_changes(read_plan(PLAN), changes)
    assert check.verdict is (Verdict.FAIL if outside else Verdict.PASS)
    assert check.reason.endswith(f"changes outside the plan: {outside}" if outside else "is kept")
    assert read_plan(PLAN).sha256[:12] in check.reason


def test_bounds_must_be_those_that_were_agreed():
    bounds = {"max_f1_drop": 0.02, "critical_findings": ["Pneumothorax"], "min_studies": 200}
    assert check_criteria(read_plan(PLAN), bounds).verdict is Verdict.PASS
    check = check_criteria(read_plan(PLAN), bounds | {"max_f1_drop": 0.1})
    assert check.verdict is Verdict.FAIL
    assert "max_f1_drop is 0.1, agreed 0.02" in check.reason
    unknown = read_plan(b"name: x\ncriteria: {max_f1_dorp: 0.02}\n")
    assert "max_f1_dorp is unknown, agreed 0.02" in check_criteria(unknown, bounds).reason
