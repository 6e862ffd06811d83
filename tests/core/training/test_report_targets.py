import numpy as np
import pytest

from tests.core.toy_corpus import OBSERVATIONS, toy_config, toy_rows
from trrg_core.errors import ConfigError
from trrg_core.report.facts import study_facts
from trrg_core.training.counterfactuals import ReportEditor
from trrg_core.training.prompts import load_prompts
from trrg_core.training.report_segments import join_segments
from trrg_core.training.report_targets import write_target

SHARES = ("hidden_share", "given_share", "turned_share", "turned_side_share", "turned_degree_share")
PROMPTS = load_prompts(OBSERVATIONS)


def targets(*settings: str, with_editor: bool = True):
    config = toy_config(*(f"finetune.{share}=0" for share in SHARES), *(f"finetune.{one}" for one in settings)).finetune
    rows = toy_rows(8)
    editor = ReportEditor(rows, prompts=PROMPTS, observations=OBSERVATIONS) if with_editor else None
    sided = [prompt.has_side for prompt in PROMPTS]
    rng = np.random.default_rng(0)
    for row in rows * 50:
        codes = [{1: 1, 0: 2}[row["labels"][name.lower().replace(" ", "_")]] for name in OBSERVATIONS]
        stated = study_facts(row["sentences"], codes, OBSERVATIONS, sided=sided)
        yield row, stated, write_target(row, stated, editor=editor, config=config, observations=OBSERVATIONS, rng=rng)


def test_a_report_is_its_own_where_nothing_is_turned():
    for row, stated, target in targets():
        assert join_segments(target.segments) == row["report"]
        assert target.facts == stated
        assert not any(target.given)
        assert not any(target.hidden)
    for row, _, target in targets("turned_share=1", with_editor=False):
        assert join_segments(target.segments) == row["report"]
    for row, _, target in targets("turned_share=1", "clues=off"):  # nothing would tell the edited report from its image
        assert join_segments(target.segments) == row["report"]


def test_clues_are_hidden_and_given_in_the_shares_that_are_set():
    found = list(targets("hidden_share=0.3", "given_share=0.2"))
    hidden = [all(target.hidden) for _, _, target in found]
    given = [all(target.given) for _, _, target in found]
    assert np.mean(hidden) == pytest.approx(0.3, abs=0.07)
    assert np.mean(given) == pytest.approx(0.2, abs=0.07)
    assert not any(one and other for one, other in zip(hidden, given, strict=True))


def test_a_turned_report_states_what_its_given_clues_will():
    for row, stated, target in targets("turned_share=1"):
        changed = [before != after for before, after in zip(stated.assertions, target.facts.assertions, strict=True)]
        assert list(target.given) == changed
        assert any(changed)
        assert join_segments(target.segments) != row["report"]


def test_sides_and_degrees_are_turned_alone():
    turned = [(stated, target) for _, stated, target in targets("turned_side_share=1") if any(target.given)]
    assert turned
    for stated, target in turned:
        assert target.facts.assertions == stated.assertions
        assert target.facts.sides != stated.sides
    turned = [(stated, target) for _, stated, target in targets("turned_degree_share=1") if any(target.given)]
    assert turned
    for stated, target in turned:
        assert target.facts.sides == stated.sides
        assert target.facts.degrees != stated.degrees


def test_shares_that_add_up_to_more_than_one_are_refused():
    with pytest.raises(ConfigError, match="at most 1 is possible"):
        toy_config("finetune.turned_share=0.9", "finetune.hidden_share=0.2")
