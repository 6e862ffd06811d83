import pytest
import torch

from tests.core.toy_corpus import OBSERVATIONS, toy_config, toy_rows
from trrg_core.config.load import load_config
from trrg_core.config.settings import GenerateConfig
from trrg_core.generation.decoding import generate_reports
from trrg_core.labels import STATED_ABSENT, STATED_PRESENT, load_label_set
from trrg_core.metrics.detection import rank_auroc
from trrg_core.model.contrastive import build_contrastive
from trrg_core.model.generator import build_generator, left_pad
from trrg_core.model.perception import DiseasePerception, build_perception, perceive
from trrg_core.model.similarity import score_own, score_texts
from trrg_core.training.collate import collate_finetune, collate_images, collate_pretrain
from trrg_core.training.parameter_groups import decays
from trrg_core.training.tokenization import encode_texts, pad_ids

SHORT = GenerateConfig(max_new_tokens=40)


def images_of(rows, config=None):
    return collate_images(rows, observations=OBSERVATIONS, config=(config or toy_config()).pretrain)


def pairs_of(rows, prompts, tokenizer, config):
    return collate_pretrain(
        rows, tokenizer=tokenizer, prompts=prompts, observations=OBSERVATIONS, config=config.pretrain, seed=0
    )


def test_stage_one_overfits_ten_studies(stage1, rows):
    assert sum(stage1.losses[-5:]) < 0.85 * sum(stage1.losses[:5])
    batch = images_of(rows)
    scores, stated = perceive(stage1.model, stage1.perception, batch).score_BO, batch.stated_BO
    for score, codes in zip(scores.double().numpy().T, stated.numpy().T, strict=True):
        assert rank_auroc(score[codes == STATED_PRESENT], score[codes == STATED_ABSENT]) == 1.0


def test_stage_two_writes_ten_studies_word_for_word(stage2, rows):
    reports = generate_reports(stage2.model, images_of(rows), SHORT)
    assert [report.text for report in reports] == [row["report"] for row in rows]


@pytest.mark.parametrize("form", ["pairs", "choice"])
@pytest.mark.parametrize("kinds", ["[]", "[report]", "[side]"])
def test_stage_one_learns_without_hard_negatives(form, kinds, rows, prompts, text_tokenizer):
    config = toy_config(f"pretrain.hard_negatives={kinds}", f"pretrain.hard_negative_form={form}")
    batch = pairs_of(rows[:4], prompts, text_tokenizer, config)
    model = build_contrastive(config, text_tokenizer, OBSERVATIONS).train()
    encoded = []
    model.text.register_forward_pre_hook(lambda _, inputs: encoded.append(inputs[0].shape))
    output = model(batch)
    output.loss.backward()
    assert len(encoded) == (3 if kinds == "[side]" else 2), "sentences, prompts, and flips where there may be any"
    assert torch.isfinite(output.loss)
    assert all(torch.isfinite(one.grad).all() for one in model.parameters() if one.grad is not None)
    assert model.text(batch.sentences.ids_ST[:0], batch.sentences.mask_ST[:0]).shape == (0, config.pretrain.joint_size)


def test_a_sentence_and_its_negation_are_told_apart(stage1, text_tokenizer, rows):
    texts = ["There is a pleural effusion.", "No pleural effusion."]
    ids, mask = pad_ids(encode_texts(text_tokenizer, texts, max_tokens=20), pad_id=text_tokenizer.pad_token_id)
    features = stage1.model.encode_images(images_of(rows))
    vectors = stage1.model.text(ids, mask)
    fit = vectors @ features.study_BD.T
    with_effusion = torch.tensor([row["labels"]["pleural_effusion"] == 1 for row in rows])
    assert (fit[0] > fit[1])[with_effusion].all()
    assert (fit[1] > fit[0])[~with_effusion].all()


def test_a_study_scores_its_own_texts_as_any_texts(stage1, text_tokenizer, rows):
    texts = ["There is a pleural effusion.", "No pneumothorax."]
    ids, mask = pad_ids(encode_texts(text_tokenizer, texts, max_tokens=20), pad_id=text_tokenizer.pad_token_id)
    features = stage1.model.encode_images(images_of(rows[:3]))
    text_SD = stage1.model.text(ids, mask)
    own_BK = score_own(text_SD.expand(3, -1, -1), features, sharpness=stage1.model.sharpness)
    torch.testing.assert_close(own_BK, score_texts(text_SD, features, sharpness=stage1.model.sharpness)[0].T)


def test_perceived_probabilities_are_a_softmax_of_two_similarities(stage1, rows):
    features = stage1.model.encode_images(images_of(rows[:2]))
    perceived = stage1.perception(features)
    plain = DiseasePerception(OBSERVATIONS, joint_size=32)
    plain.load_state_dict(
        {**stage1.perception.state_dict(), "temperature_O": torch.ones(3), "offset_O": torch.zeros(3)}
    )
    score = perceived.score_BO
    pair = torch.stack((score, torch.zeros_like(score)), dim=-1).softmax(-1)[..., 0]
    torch.testing.assert_close(plain(features).probability_BO, pair)


def test_a_missing_view_changes_nothing(stage1, rows):
    one, two = rows[0], rows[1]
    alone = stage1.model.encode_images(images_of([one]))
    beside = stage1.model.encode_images(images_of([one, two]))
    torch.testing.assert_close(alone.study_BD[0], beside.study_BD[0])
    torch.testing.assert_close(alone.patches_BND[0], beside.patches_BND[0])
    assert not alone.patch_mask_BN[0, alone.patch_mask_BN.shape[1] // 2 :].any()


def test_reports_do_not_depend_on_neighbours_or_their_order(stage2):
    rows = toy_rows(9)
    together = {r.study_id: r.text for r in generate_reports(stage2.model, images_of(rows), SHORT)}
    backwards = {r.study_id: r.text for r in generate_reports(stage2.model, images_of(rows[::-1]), SHORT)}
    alone = {row["study_id"]: generate_reports(stage2.model, images_of([row]), SHORT)[0].text for row in rows}
    assert together == backwards == alone


def test_beam_search_gives_a_report_per_study(stage2, rows):
    reports = generate_reports(stage2.model, images_of(rows[:2]), GenerateConfig(max_new_tokens=40, num_beams=3))
    assert [report.text for report in reports] == [row["report"] for row in rows[:2]]


def test_generated_reports_carry_their_clues(stage2, rows):
    report = generate_reports(stage2.model, images_of([rows[1]]), GenerateConfig(max_new_tokens=4))[0]
    probabilities = {clue.observation: clue.probability for clue in report.clues}
    assert set(probabilities) == set(OBSERVATIONS)
    assert probabilities["Pleural Effusion"] > 0.5 > probabilities["Pneumothorax"]


def test_a_step_repeats_with_the_same_seed(stage1, llm_tokenizer, rows):
    config = toy_config("finetune.augment=true", "finetune.clue_noise=1.0", "finetune.clue_dropout=0.3")
    model = build_generator(config, stage1.model, stage1.perception, llm_tokenizer, OBSERVATIONS).train()
    batch = collate_finetune(rows, tokenizer=llm_tokenizer, observations=OBSERVATIONS, config=config, seed=3)
    losses = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        losses.append(model(batch).loss.item())
    assert losses[0] == losses[1] != losses[2]


def test_stage_one_stays_frozen_in_stage_two(stage1, stage2):
    assert not any(parameter.requires_grad for parameter in stage2.model.contrastive.parameters())
    stage2.model.train()
    assert not stage2.model.contrastive.training
    stage2.model.eval()


@pytest.mark.parametrize(
    "switch",
    [
        "clues=off",
        "clues=oracle",
        "clues=shuffled",
        "interaction=false",
        "patch_tokens=true",
        "packing=false",
        "clue_text=true",
        "consistency_states=intended",
        "sentence_order=findings-first",
    ],
)
def test_every_switch_trains_and_writes(switch, stage1, llm_tokenizer, rows):
    config = toy_config(f"finetune.{switch}")
    model = build_generator(config, stage1.model, stage1.perception, llm_tokenizer, OBSERVATIONS).train()
    batch = collate_finetune(rows[:4], tokenizer=llm_tokenizer, observations=OBSERVATIONS, config=config, seed=0)
    loss, parts = model(batch)
    loss.backward()
    assert loss.isfinite()
    assert set(parts) == {"report", "consistency", "padding"}
    reports = generate_reports(model, batch, GenerateConfig(max_new_tokens=4))
    assert (reports[0].clues == ()) == (switch == "clues=off")


def test_consistency_can_be_switched_off(stage1, llm_tokenizer, rows):
    config = toy_config("finetune.consistency=false")
    model = build_generator(config, stage1.model, stage1.perception, llm_tokenizer, OBSERVATIONS)
    batch = collate_finetune(rows[:2], tokenizer=llm_tokenizer, observations=OBSERVATIONS, config=config, seed=0)
    loss, parts = model(batch)
    assert set(parts) == {"report", "padding"}
    assert loss.item() == parts["report"].item()


def test_patches_reach_the_llm_when_they_are_asked_for(stage1, llm_tokenizer, rows):
    lengths = []
    for switch in ("false", "true"):
        config = toy_config(f"finetune.patch_tokens={switch}")
        model = build_generator(config, stage1.model, stage1.perception, llm_tokenizer, OBSERVATIONS).eval()
        lengths.append(model.prefix(images_of(rows[:1])).mask_BL.sum().item())
    num_patches = stage1.model.encode_images(images_of(rows[:1])).patch_mask_BN.sum().item()
    assert lengths[1] - lengths[0] == num_patches > 0


def test_left_padding_keeps_the_order_of_what_counts():
    values = torch.arange(1.0, 9.0).reshape(2, 4, 1)
    mask = torch.tensor([[True, False, True, False], [False, True, True, True]])
    padded, kept = left_pad(values, mask)
    assert padded[..., 0].tolist() == [[0.0, 1.0, 3.0], [6.0, 7.0, 8.0]]
    assert kept.tolist() == [[False, True, True], [True, True, True]]


def test_a_batch_without_its_texts_is_refused(stage1, stage2, rows):
    with pytest.raises(ValueError, match="collate_pretrain"):
        stage1.model(images_of(rows[:1]))
    with pytest.raises(ValueError, match="collate_finetune"):
        stage2.model(images_of(rows[:1]))


@pytest.mark.parametrize(
    "backbone",
    [
        "{model_type: vit, hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 64, "
        "image_size: 64, patch_size: 16}",
        "{model_type: swin, image_size: 64, patch_size: 4, embed_dim: 16, depths: [1, 1], num_heads: [2, 2], "
        "window_size: 4}",
        "{model_type: convnext, num_channels: 1, hidden_sizes: [8, 16], depths: [1, 1], num_stages: 2}",
    ],
)
def test_any_image_backbone_gives_patches_and_a_study_vector(backbone, rows, prompts, text_tokenizer):
    config = toy_config()
    values = config.model_dump(mode="json")
    import yaml

    values["pretrain"]["image_encoder"]["config"] = yaml.safe_load(backbone)
    from trrg_core.config.load import validate_config

    config = validate_config(values)
    model = build_contrastive(config, text_tokenizer, OBSERVATIONS)
    batch = pairs_of(rows[:3], prompts, text_tokenizer, config)
    features = model.encode_images(batch)
    assert features.study_BD.shape == (3, 32)
    assert features.patches_BND.shape[:2] == features.patch_mask_BN.shape
    torch.testing.assert_close(features.patches_BND[0, 0].norm(), torch.tensor(1.0))
    assert model(batch).loss.isfinite()


def test_patches_know_their_place_only_where_that_is_asked_for(rows, text_tokenizer, stage1):
    assert stage1.model.image.position_PC is None
    batch, config = images_of(rows[:1]), toy_config("pretrain.patch_position=true")
    model = build_contrastive(config, text_tokenizer, OBSERVATIONS).eval()
    model.load_state_dict(stage1.model.state_dict(), strict=False)
    placed = model.encode_images(batch).patches_BND
    position = model.image.position_PC
    assert not decays("image.position_PC", position)
    with torch.no_grad():
        position.zero_()
    plain = stage1.model.encode_images(batch).patches_BND
    torch.testing.assert_close(model.encode_images(batch).patches_BND, plain)
    assert (placed - plain).abs().max() > 1e-3


def test_base_is_built_without_weights_or_network(llm_tokenizer):
    config = load_config("base")
    observations = load_label_set("chexpert14").observations
    with torch.device("meta"):
        contrastive = build_contrastive(config, llm_tokenizer, observations, weights="random")
        perception = build_perception(contrastive, llm_tokenizer, observations)
        generator = build_generator(config, contrastive, perception, llm_tokenizer, observations, weights="random")
    assert all(parameter.is_meta for parameter in generator.parameters())
    total = sum(parameter.numel() for parameter in generator.parameters())
    trained = sum(parameter.numel() for parameter in generator.parameters() if parameter.requires_grad)
    assert 7.5e9 < total < 8.5e9
    assert trained < 0.02 * total
    trained_names = {name for name, parameter in generator.llm.named_parameters() if parameter.requires_grad}
    assert all("lora_" in name for name in trained_names)
