import numpy as np
import pytest

from tests.core.toy_corpus import OBSERVATIONS, toy_config, toy_row
from trrg_core.labels import NOT_STATED, STATED_ABSENT, STATED_PRESENT
from trrg_core.training.sentence_sampling import draw_sentences


@pytest.mark.parametrize("findings", ["", "e", "epc"])
def test_the_share_of_negated_sentences_is_capped(findings, prompts):
    config = toy_config("pretrain.sentences_per_study=4", "pretrain.max_negated_share=0.5").pretrain
    row = toy_row(1, findings)
    stated = [STATED_PRESENT if letter in findings else STATED_ABSENT for letter in "epc"]
    for seed in range(20):
        drawn = draw_sentences(
            row,
            stated,
            prompts=prompts,
            observations=OBSERVATIONS,
            config=config,
            rng=np.random.default_rng(seed),
        )
        negated = [slot for slot in drawn if STATED_PRESENT not in slot.facts]
        assert len(drawn) <= 4
        assert len(negated) <= 2


def test_a_hard_negative_states_the_opposite(prompts):
    config = toy_config("pretrain.prompt_share=0").pretrain
    drawn = draw_sentences(
        toy_row(1, "e"),
        [STATED_PRESENT, STATED_ABSENT, STATED_ABSENT],
        prompts=prompts,
        observations=OBSERVATIONS,
        config=config,
        rng=np.random.default_rng(0),
    )
    effusion = next(slot for slot in drawn if slot.facts[0] == STATED_PRESENT)
    assert effusion.text == "There is a small left pleural effusion."
    assert effusion.negative in prompts[0].absent
    others = [slot for slot in drawn if slot is not effusion]
    assert all(slot.negative in prompts[1].present + prompts[2].present for slot in others)


def test_unmentioned_findings_draw_denying_prompts_but_get_no_label(prompts):
    config = toy_config("pretrain.prompt_share=1", "pretrain.silence_share=1").pretrain
    row = {**toy_row(1), "sentences": []}
    stated = [NOT_STATED] * 3
    rng = np.random.default_rng(0)
    drawn = draw_sentences(row, stated, prompts=prompts, observations=OBSERVATIONS, config=config, rng=rng)
    assert {slot.text for slot in drawn} <= {text for prompt in prompts for text in prompt.absent}
    assert stated == [NOT_STATED] * 3


@pytest.mark.parametrize("weight", [0.0, 0.25])
def test_a_sentence_is_drawn_with_the_chance_that_its_slice_gives_it(weight, prompts):
    config = toy_config("pretrain.prompt_share=0", "pretrain.max_negated_share=1").pretrain
    row = toy_row(1, "e")
    count = len(row["sentences"])
    drawn = [
        len(
            draw_sentences(
                row | {"sentence_weights": [weight] * count},
                [NOT_STATED] * 3,
                prompts=prompts,
                observations=OBSERVATIONS,
                config=config,
                rng=np.random.default_rng(seed),
            )
        )
        for seed in range(1000)
    ]
    assert sum(drawn) == pytest.approx(1000 * count * weight, rel=0.15)
