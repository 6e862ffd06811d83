import torch

from tests.core.toy_corpus import OBSERVATIONS, toy_config, toy_row
from trrg_core.labels import NOT_STATED, STATED_ABSENT, STATED_PRESENT, STATED_UNCERTAIN
from trrg_core.training.batch import NEGATIVE_KINDS
from trrg_core.training.collate import collate_finetune, collate_images, collate_pretrain
from trrg_core.training.tokenization import decode_ids


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


def test_missing_views_are_masked(rows):
    batch = collate_images(rows[:2], observations=OBSERVATIONS, config=toy_config().pretrain)
    assert batch.view_mask_BV.tolist() == [[True, False], [True, True]]
    assert batch.pixels_BVHW.dtype == torch.uint8
    assert (batch.pixels_BVHW[0, 1] == 0).all()
    assert batch.num_pairs == 0


def test_each_finding_is_affirmed_denied_placed_and_graded_by_one_prompt_each(rows, prompts, text_tokenizer):
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
    pools += [entry.left for entry in prompts[:2]] + [entry.right for entry in prompts[:2]]  # the heart has no side
    pools += [entry.degrees[degree] for degree in range(3) for entry in prompts]  # all three are graded
    for ids_PT in drawn:
        texts = [decode_ids(text_tokenizer, ids) for ids in ids_PT.tolist()]
        assert all(text in [known.lower() for known in pool] for text, pool in zip(texts, pools, strict=True))
    assert any(ids.shape != drawn[0].shape or (ids != drawn[0]).any() for ids in drawn)


def test_hard_negatives_belong_to_their_slots_in_order(rows, prompts, text_tokenizer):
    config = toy_config("pretrain.prompt_supervision=false").pretrain
    batch = collate_pretrain(
        rows[1:3], tokenizer=text_tokenizer, prompts=prompts, observations=OBSERVATIONS, config=config, seed=1
    )
    sentences = batch.sentences
    slots = sentences.negative_slot_F
    assert (slots.diff() >= 0).all()
    assert batch.num_pairs == len(sentences.valid_S.nonzero()) > 0
    negatives = [decode_ids(text_tokenizer, ids) for ids in sentences.negative_ids_FT.tolist()]
    own = [decode_ids(text_tokenizer, sentences.ids_ST[slot].tolist()) for slot in slots]
    kinds = [NEGATIVE_KINDS[kind] for kind in sentences.negative_kind_F]
    found = {(kind.value, true, false) for kind, true, false in zip(kinds, own, negatives, strict=True)}
    assert ("side", "there is a small left pleural effusion.", "there is a small right pleural effusion.") in found
    assert ("polarity", "there is a small left pleural effusion.", "there is no left pleural effusion.") in found
    assert ("severity", "there is a small left pleural effusion.", "there is a large left pleural effusion.") in found


def test_a_lateral_film_alone_tells_no_side():
    row = toy_row(1, "e")
    lateral = {**row, "views": [{**row["views"][0], "view_position": "LATERAL"}]}
    config = toy_config().pretrain
    frontal, alone = (
        collate_images([one], observations=OBSERVATIONS, config=config).facts.side_NO for one in (row, lateral)
    )
    assert frontal.tolist() == [[1, 0, 0]]
    assert alone.tolist() == [[0, 0, 0]]


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


def test_a_report_ends_with_its_end_token_unless_it_is_cut(rows, llm_tokenizer):
    cut, whole = (
        collate_finetune(
            rows[:2],
            tokenizer=llm_tokenizer,
            observations=OBSERVATIONS,
            config=toy_config(f"finetune.max_report_tokens={most}"),
            seed=0,
        ).reports
        for most in (8, 160)
    )
    assert cut.ids_BT.shape == (2, 7)
    assert (cut.ids_BT != llm_tokenizer.eos_token_id).all()
    last = whole.mask_BT.sum(1) - 1
    assert (whole.ids_BT.gather(1, last[:, None]) == llm_tokenizer.eos_token_id).all()


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
    text_by_weight: dict[float, str] = {}
    for token, weight in zip(reports.ids_BT[0].tolist(), reports.weights_BT[0].tolist(), strict=True):
        text_by_weight[weight] = text_by_weight.get(weight, "") + llm_tokenizer.decode([token])
    length = int(reports.mask_BT[0].sum())
    assert text_by_weight[0.5].strip() == text_by_weight[0.25].strip() == "No edema."
    assert "".join(text_by_weight[1.0].split()).startswith("Heartislarge.Thereis1tube.")
    assert reports.weights_BT[0, length - 1] == 1  # the end is learned whatever is said
    assert torch.equal(reports.weights_BT[1], reports.mask_BT[1].float())


def test_a_cut_report_keeps_the_weights_of_what_is_left(llm_tokenizer):
    row = toy_row(1) | {"report": "No edema. " * 40, "sentences": [], "sentence_weights": []}
    sentence = {"text": "No edema.", "facts": []}
    row |= {"sentences": [sentence] * 40, "sentence_weights": [0.0] * 40}
    reports = _finetune_reports([row], llm_tokenizer, "finetune.max_report_tokens=20")
    assert reports.weights_BT.tolist() == [[0.0] * 19]


def test_sentences_that_affirm_a_finding_count_more(llm_tokenizer):
    row = toy_row(1, "c")
    reports = _finetune_reports([row], llm_tokenizer, "finetune.affirmed_weight=3")
    heavy = [
        token
        for token, weight in zip(reports.ids_BT[0].tolist(), reports.weights_BT[0].tolist(), strict=True)
        if weight == 3
    ]
    assert llm_tokenizer.decode(heavy).strip() == "The heart is enlarged."
    assert set(reports.weights_BT[0].tolist()) == {1.0, 3.0}


def _finetune_reports(rows, tokenizer, *settings):
    config = toy_config(*settings)
    return collate_finetune(rows, tokenizer=tokenizer, observations=OBSERVATIONS, config=config, seed=0).reports
