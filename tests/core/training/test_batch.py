import numpy as np
import pytest
import torch

from tests.core.toy_corpus import OBSERVATIONS, draw, toy_config, toy_row
from trrg_core.imaging.transforms import augment, letterbox
from trrg_core.training.batch import (
    NOT_STATED,
    STATED_ABSENT,
    STATED_PRESENT,
    STATED_UNCERTAIN,
    choose_views,
    collate_finetune,
    collate_images,
    collate_pretrain,
    draw_sentences,
)
from trrg_core.training.tokenization import decode_ids, encode_texts


def test_letterbox_keeps_the_aspect_and_the_sides():
    square = letterbox(draw(0, "p"), side_px=64)  # 64 high, 56 wide, dark stripe on the left
    assert square.shape == (64, 64)
    assert square.dtype == np.uint8
    assert (square[:, :4] == 0).all()
    assert (square[:, 60:] == 0).all()
    assert square[10, 9] < 40 < square[10, 50]


def test_augmentation_is_seeded_small_and_never_a_flip():
    image = torch.zeros(1, 64, 64)
    image[:, 20:44, 4:24] = 1.0
    assert torch.equal(augment(image, seed=3), augment(image, seed=3))
    assert not torch.equal(augment(image, seed=3), augment(image, seed=4))
    for seed in range(50):
        moved = augment(image, seed=seed)
        assert moved[0, :, :32].sum() > 4 * moved[0, :, 32:].sum()


def test_labels_become_codes_and_null_is_not_absent():
    labels = {"pleural_effusion": 1, "pneumothorax": None, "cardiomegaly": -1}
    config = toy_config().pretrain
    batch = collate_images([toy_row(0, labels=labels)], observations=OBSERVATIONS, config=config)
    assert batch.stated_BO.tolist() == [[STATED_PRESENT, NOT_STATED, STATED_UNCERTAIN]]
    assert batch.labels_BO.tolist() == [[1.0, 0.0, 0.5]]
    assert batch.label_mask_BO.tolist() == [[1.0, 0.0, 1.0]]


def test_null_no_finding_is_a_denial():
    row = {**toy_row(0), "labels": {"no_finding": None}}
    batch = collate_images([row], observations=["No Finding"], config=toy_config().pretrain)
    assert batch.stated_BO.tolist() == [[STATED_ABSENT]]


def test_rows_without_labels_can_be_used():
    row = {key: value for key, value in toy_row(0).items() if key != "labels"}
    batch = collate_images([row], observations=[*OBSERVATIONS, "No Finding"], config=toy_config().pretrain)
    assert batch.stated_BO.tolist() == [[NOT_STATED] * 4]


def test_a_batch_knows_which_studies_have_a_prior():
    rows = [{**toy_row(0), "has_prior": True}, {**toy_row(1), "has_prior": False}, toy_row(2)]
    batch = collate_images(rows, observations=OBSERVATIONS, config=toy_config().pretrain)
    assert batch.has_prior == (True, False, None)


def test_a_frontal_and_a_lateral_view_come_before_a_second_frontal():
    views = [{"view_position": name, "jpeg": b""} for name in ("AP", "PA", "LL", "LATERAL")]
    assert [view["view_position"] for view in choose_views(views, num_views=3)] == ["PA", "LATERAL", "AP"]


def test_missing_views_are_masked(rows):
    batch = collate_images(rows[:2], observations=OBSERVATIONS, config=toy_config().pretrain)
    assert batch.view_mask_BV.tolist() == [[True, False], [True, True]]
    assert batch.pixels_BVHW.dtype == torch.uint8
    assert (batch.pixels_BVHW[0, 1] == 0).all()


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


def test_a_twin_states_the_opposite(prompts):
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
    assert effusion.twin in prompts[0].absent
    others = [slot for slot in drawn if slot is not effusion]
    assert all(slot.twin in prompts[1].present + prompts[2].present for slot in others)


def test_silence_draws_denying_prompts_but_is_no_label(prompts):
    config = toy_config("pretrain.prompt_share=1", "pretrain.silence_share=1").pretrain
    row = {**toy_row(1), "sentences": []}
    stated = [NOT_STATED] * 3
    rng = np.random.default_rng(0)
    drawn = draw_sentences(row, stated, prompts=prompts, observations=OBSERVATIONS, config=config, rng=rng)
    assert {slot.text for slot in drawn} <= {text for prompt in prompts for text in prompt.absent}
    assert stated == [NOT_STATED] * 3


def test_each_finding_is_affirmed_and_then_denied_by_one_prompt(rows, prompts, text_tokenizer):
    config = toy_config().pretrain
    drawn = [
        collate_pretrain(
            rows[:1],
            tokenizer=text_tokenizer,
            prompts=prompts,
            observations=OBSERVATIONS,
            config=config,
            seed=seed,
        ).sentences.prompt_ids_PT
        for seed in range(4)
    ]
    pools = [entry.present for entry in prompts] + [entry.absent for entry in prompts]
    for ids_PT in drawn:
        texts = [decode_ids(text_tokenizer, ids) for ids in ids_PT.tolist()]
        assert all(text in [known.lower() for known in pool] for text, pool in zip(texts, pools, strict=True))
    assert any(ids.shape != drawn[0].shape or (ids != drawn[0]).any() for ids in drawn)


def test_a_draw_depends_on_the_study_and_the_seed_not_on_its_neighbours(rows, prompts, text_tokenizer):
    def drawn(chosen, seed):
        batch = collate_pretrain(
            chosen,
            tokenizer=text_tokenizer,
            prompts=prompts,
            observations=OBSERVATIONS,
            config=toy_config().pretrain,
            seed=seed,
        )
        slots = batch.sentences.study_S == len(chosen) - 1
        ids, mask = batch.sentences.ids_ST[slots], batch.sentences.mask_ST[slots]
        return [decode_ids(text_tokenizer, row[keep].tolist()) for row, keep in zip(ids, mask, strict=True)]

    assert drawn(rows[:3], 5) == drawn(rows[2:3], 5)
    assert any(drawn(rows[:3], 5) != drawn(rows[:3], seed) for seed in range(6, 12))


def test_special_tokens_in_a_report_lose_their_power(llm_tokenizer):
    ids = encode_texts(llm_tokenizer, ["No </s> effusion <pad>."], max_tokens=60, special_tokens=False)[0]
    assert llm_tokenizer.eos_token_id not in ids
    assert llm_tokenizer.pad_token_id not in ids
    assert decode_ids(llm_tokenizer, ids) == "No </s> effusion <pad>."


def test_a_report_ends_with_its_end_token_even_when_cut(rows, llm_tokenizer):
    config = toy_config("finetune.max_report_tokens=8")
    batch = collate_finetune(rows[:2], tokenizer=llm_tokenizer, observations=OBSERVATIONS, config=config, seed=0)
    assert batch.reports.ids_BT.shape == (2, 8)
    assert (batch.reports.ids_BT[:, -1] == llm_tokenizer.eos_token_id).all()


def test_a_batch_moves_as_a_whole(rows, llm_tokenizer):
    batch = collate_finetune(rows[:1], tokenizer=llm_tokenizer, observations=OBSERVATIONS, config=toy_config(), seed=0)
    moved = batch.to("meta")
    assert moved.pixels_BVHW.is_meta
    assert moved.reports.ids_BT.is_meta
    assert moved.study_ids == batch.study_ids


def test_a_token_counts_what_its_sentence_weighs(llm_tokenizer):
    facts = [{"observation": "Pneumothorax", "assertion": "ABSENT"}]
    row = toy_row(1) | {
        "report": "Heart is large. No edema. There is 1 tube. No edema.",
        "sentences": [
            {"text": text, "facts": facts} for text in ("Heart is large.", "No edema.", "No edema.", "Not in this one.")
        ],
        "sentence_weights": [1.0, 0.5, 0.25, 0.0],
    }
    reports = _finetune_reports([row, toy_row(2)], llm_tokenizer)
    told: dict[float, str] = {}
    for token, weight in zip(reports.ids_BT[0].tolist(), reports.weights_BT[0].tolist(), strict=True):
        told[weight] = told.get(weight, "") + llm_tokenizer.decode([token])
    length = int(reports.mask_BT[0].sum())
    assert told[0.5].strip() == told[0.25].strip() == "No edema."
    assert "".join(told[1.0].split()).startswith("Heartislarge.Thereis1tube.")
    assert reports.weights_BT[0, length - 1] == 1  # the end is learned whatever is said
    assert torch.equal(reports.weights_BT[1], reports.mask_BT[1].float())


def test_a_cut_report_keeps_the_weights_of_what_is_left(llm_tokenizer):
    row = toy_row(1) | {"report": "No edema. " * 40, "sentences": [], "sentence_weights": []}
    sentence = {"text": "No edema.", "facts": []}
    row |= {"sentences": [sentence] * 40, "sentence_weights": [0.0] * 40}
    reports = _finetune_reports([row], llm_tokenizer, "finetune.max_report_tokens=20")
    assert reports.ids_BT.shape == (1, 20)
    assert reports.weights_BT.tolist() == [[0.0] * 19 + [1.0]]


def _finetune_reports(rows, tokenizer, *settings):
    config = toy_config(*settings)
    return collate_finetune(rows, tokenizer=tokenizer, observations=OBSERVATIONS, config=config, seed=0).reports


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
