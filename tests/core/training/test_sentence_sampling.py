import numpy as np
import pytest

from tests.core.toy_corpus import OBSERVATIONS, toy_config, toy_row
from trrg_core.labels import NOT_STATED, SIDE_LEFT, SIDE_RIGHT, STATED_ABSENT, STATED_PRESENT
from trrg_core.report.facts import FactCodes
from trrg_core.report.flipping.kinds import FlipKind
from trrg_core.training.sentence_sampling import draw_sentences, flips_of_study


def assertions(*codes: int, sides: tuple[int, ...] = (0, 0, 0), degrees: tuple[int, ...] = (0, 0, 0)) -> FactCodes:
    return FactCodes(codes, sides, degrees, (0, 0, 0))


EFFUSION = assertions(STATED_PRESENT, STATED_ABSENT, STATED_ABSENT, sides=(SIDE_LEFT, 0, 0), degrees=(1, 0, 0))


@pytest.mark.parametrize("findings", ["", "e", "epc"])
def test_the_share_of_negated_sentences_is_capped(findings, prompts):
    config = toy_config("pretrain.sentences_per_study=4", "pretrain.max_negated_share=0.5").pretrain
    row = toy_row(1, findings)
    stated = assertions(*(STATED_PRESENT if letter in findings else STATED_ABSENT for letter in "epc"))
    for seed in range(20):
        drawn = draw_sentences(
            row,
            stated,
            prompts=prompts,
            observations=OBSERVATIONS,
            config=config,
            rng=np.random.default_rng(seed),
        )
        negated = [slot for slot in drawn if STATED_PRESENT not in slot.facts.assertions]
        assert len(drawn) <= 4
        assert len(negated) <= 2


def test_a_hard_negative_states_the_opposite(prompts):
    config = toy_config("pretrain.prompt_share=0").pretrain
    drawn = draw_sentences(
        toy_row(1, "e"),
        EFFUSION,
        prompts=prompts,
        observations=OBSERVATIONS,
        config=config,
        rng=np.random.default_rng(0),
    )
    effusion = next(slot for slot in drawn if slot.facts.assertions[0] == STATED_PRESENT)
    assert effusion.text == "There is a small left pleural effusion."
    by_kind = {negative.kind: negative.text for negative in effusion.negatives}
    assert by_kind[FlipKind.POLARITY] in {*prompts[0].absent, "There is no left pleural effusion."}
    assert by_kind[FlipKind.SIDE] == "There is a small right pleural effusion."
    assert by_kind[FlipKind.SEVERITY] == "There is a large left pleural effusion."
    others = [slot for slot in drawn if slot is not effusion]
    assert all(slot.negatives[0].text in prompts[1].present + prompts[2].present for slot in others)


def test_half_of_the_denials_are_in_the_sentences_own_style(prompts):
    config = toy_config("pretrain.prompt_share=0").pretrain
    row = {**toy_row(1, "e"), "sentences": toy_row(1, "e")["sentences"][:1]}
    texts = [
        draw_sentences(
            row,
            EFFUSION,
            prompts=prompts,
            observations=OBSERVATIONS,
            config=config,
            rng=np.random.default_rng(seed),
        )[0]
        .negatives[0]
        .text
        for seed in range(200)
    ]
    assert 60 < texts.count("There is no left pleural effusion.") < 140
    assert set(texts) == {*prompts[0].absent, "There is no left pleural effusion."}


@pytest.mark.parametrize("kinds", [["side"], ["polarity", "severity"], []])
def test_only_the_kinds_that_are_asked_for_are_drawn(kinds, prompts):
    config = toy_config(f"pretrain.hard_negatives={kinds}").pretrain
    drawn = draw_sentences(
        toy_row(1, "epc"),
        assertions(*3 * [STATED_PRESENT], sides=(SIDE_LEFT, SIDE_RIGHT, 0), degrees=(1, 0, 0)),
        prompts=prompts,
        observations=OBSERVATIONS,
        config=config,
        rng=np.random.default_rng(0),
    )
    assert {negative.kind.value for slot in drawn for negative in slot.negatives} == set(kinds)


def test_without_prompt_supervision_no_prompt_takes_part(prompts):
    config = toy_config("pretrain.prompt_supervision=false").pretrain
    sentences = toy_row(1, "ep")["sentences"]
    flips = {flip["text"] for sentence in sentences for flip in sentence["flips"]}
    for seed in range(10):
        drawn = draw_sentences(
            toy_row(1, "ep"),
            assertions(STATED_PRESENT, STATED_PRESENT, STATED_ABSENT, sides=(SIDE_LEFT, SIDE_RIGHT, 0)),
            prompts=prompts,
            observations=OBSERVATIONS,
            config=config,
            rng=np.random.default_rng(seed),
        )
        assert {slot.text for slot in drawn} <= {sentence["text"] for sentence in sentences}
        assert {negative.text for slot in drawn for negative in slot.negatives} <= flips


def test_a_flip_that_may_be_true_of_the_study_is_left_out():
    effusion = toy_row(1, "e")["sentences"][0]
    facts = assertions(STATED_PRESENT, NOT_STATED, NOT_STATED, sides=(SIDE_LEFT, 0, 0), degrees=(1, 0, 0))
    on_both_sides = facts._replace(sides=(SIDE_LEFT | SIDE_RIGHT, 0, 0))
    in_two_degrees = facts._replace(degrees=(0, 0, 0))
    denied_elsewhere = facts._replace(assertions=(STATED_ABSENT, NOT_STATED, NOT_STATED))

    def kinds(stated):
        return [flip["kind"] for flip in flips_of_study(effusion["flips"], facts, stated, OBSERVATIONS)]

    assert kinds(facts) == ["polarity", "side", "severity"]
    assert kinds(on_both_sides) == ["polarity", "severity"]
    assert kinds(in_two_degrees) == ["polarity", "side"]
    assert kinds(denied_elsewhere) == ["side", "severity"]


def test_unmentioned_findings_draw_denying_prompts_but_get_no_label(prompts):
    config = toy_config("pretrain.prompt_share=1", "pretrain.silence_share=1").pretrain
    row = {**toy_row(1), "sentences": []}
    stated = assertions(*3 * [NOT_STATED])
    rng = np.random.default_rng(0)
    drawn = draw_sentences(row, stated, prompts=prompts, observations=OBSERVATIONS, config=config, rng=rng)
    assert {slot.text for slot in drawn} <= {text for prompt in prompts for text in prompt.absent}


@pytest.mark.parametrize("weight", [0.0, 0.25])
def test_a_sentence_is_drawn_with_the_chance_that_its_slice_gives_it(weight, prompts):
    config = toy_config("pretrain.prompt_share=0", "pretrain.max_negated_share=1").pretrain
    row = toy_row(1, "e")
    count = len(row["sentences"])
    drawn = [
        len(
            draw_sentences(
                row | {"sentence_weights": [weight] * count},
                assertions(*3 * [NOT_STATED]),
                prompts=prompts,
                observations=OBSERVATIONS,
                config=config,
                rng=np.random.default_rng(seed),
            )
        )
        for seed in range(1000)
    ]
    assert sum(drawn) == pytest.approx(1000 * count * weight, rel=0.15)
