"""Backbones of each family, saved here as they are on the hub and used as stage 1 uses them; nothing is downloaded."""

import copy
import json

import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForImageClassification, CLIPModel, SiglipModel, SiglipTextModel

from tests.core.toy_corpus import OBSERVATIONS, toy_config
from trrg_core.config.load import validate_config
from trrg_core.config.settings import EncoderConfig
from trrg_core.errors import ConfigError
from trrg_core.model.backbone_layout import image_layout
from trrg_core.model.backbones import build_backbone, check_values
from trrg_core.model.contrastive import build_contrastive
from trrg_core.model.manifest import read_json, sha256_of
from trrg_core.model.model_folder import load_contrastive_folder, save_contrastive_folder
from trrg_core.model.model_size import pretrain_size
from trrg_core.model.perception import build_perception
from trrg_core.model.weight_origin import check_origin, origin_of, warn_of_moving_weights
from trrg_core.training.collate import collate_images, collate_pretrain
from trrg_core.training.parameter_groups import pretrained_modules
from trrg_core.training.tokenization import load_tokenizer

TRANSFORMER = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
VIT = {**TRANSFORMER, "image_size": 64, "patch_size": 16}
SWIN = {"image_size": 64, "patch_size": 4, "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4}
CONVNEXT = {"num_stages": 2, "hidden_sizes": [8, 16], "depths": [1, 1]}
EFFICIENTNET = {
    "width_coefficient": 0.25,
    "depth_coefficient": 0.1,
    "hidden_dim": 320,
    "batch_norm_momentum": 0.1,
    "drop_connect_rate": 0.0,
}
TOWERS = {
    "vision_config": {**VIT, "projection_dim": 16},
    "text_config": {**TRANSFORMER, "vocab_size": 700, "max_position_embeddings": 64, "projection_dim": 16},
}
# model_type, values, the class whose folders are on the hub, then width, patch grid and prefix tokens at 64 px
FAMILIES = [
    ("vit", VIT, AutoModelForImageClassification, (32, (4, 4), 1)),
    ("vit", VIT, AutoModel, (32, (4, 4), 1)),
    ("deit", VIT, AutoModel, (32, (4, 4), 2)),
    ("beit", {**VIT, "use_relative_position_bias": True}, AutoModel, (32, (4, 4), 1)),
    ("dinov2", VIT, AutoModel, (32, (4, 4), 1)),
    ("dinov2_with_registers", {**VIT, "num_register_tokens": 4}, AutoModel, (32, (4, 4), 5)),
    ("dinov2_with_registers", {**VIT, "num_register_tokens": 9}, AutoModel, (32, (4, 4), 10)),
    ("swin", SWIN, AutoModelForImageClassification, (32, (8, 8), 0)),
    ("swinv2", SWIN, AutoModel, (32, (8, 8), 0)),
    ("convnext", CONVNEXT, AutoModelForImageClassification, (16, (8, 8), 0)),
    ("convnextv2", CONVNEXT, AutoModelForImageClassification, (16, (8, 8), 0)),
    (
        "resnet",
        {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"},
        AutoModelForImageClassification,
        (16, (8, 8), 0),
    ),
    ("efficientnet", EFFICIENTNET, AutoModelForImageClassification, (320, (2, 2), 0)),
    ("dinov3_convnext", {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}, AutoModel, (32, (2, 2), 1)),
    ("altclip", TOWERS, AutoModel, (32, (4, 4), 1)),
    ("aimv2", TOWERS, AutoModel, (32, (4, 4), 0)),
    ("clip", TOWERS, CLIPModel, (32, (4, 4), 1)),
    ("siglip", TOWERS, SiglipModel, (32, (4, 4), 0)),
]


def save_folder(folder, model_type, values, saved_class):
    torch.manual_seed(0)
    config = AutoConfig.for_model(model_type, **copy.deepcopy(values))
    model = saved_class.from_config(config) if hasattr(saved_class, "from_config") else saved_class(config)
    for name, parameter in model.named_parameters():
        if name.endswith(("layer_scale_parameter", "lambda1", "lambda_1", "lambda_2")):
            torch.nn.init.ones_(parameter)  # else the first layers hardly count
    model.save_pretrained(folder)
    return model


def config_with(image="", text="", **settings):
    values = toy_config().model_dump(mode="json")
    for name, pretrained in (("image_encoder", image), ("text_encoder", text)):
        if pretrained:
            values["pretrain"][name] = {"pretrained": str(pretrained)}
    values["pretrain"].update(settings)
    return validate_config(values)


def batch_of(rows, config, prompts, tokenizer):
    return collate_pretrain(
        rows[:3], tokenizer=tokenizer, prompts=prompts, observations=OBSERVATIONS, config=config.pretrain, seed=0
    )


@pytest.mark.parametrize(
    ("model_type", "values", "saved_class", "expected"),
    FAMILIES,
    ids=[f"{family[0]}-{family[2].__name__}-{number}" for number, family in enumerate(FAMILIES)],
)
def test_a_folder_as_on_the_hub_trains_is_saved_and_reloads(
    model_type, values, saved_class, expected, rows, prompts, text_tokenizer, tmp_path
):
    original = save_folder(tmp_path / "hub", model_type, values, saved_class)
    config = config_with(image=tmp_path / "hub")
    model = build_contrastive(config, text_tokenizer, OBSERVATIONS).train()
    layout = model.image.layout
    assert (layout.width, layout.grid_hw, layout.num_prefix_tokens) == expected
    kept = {name.removeprefix(f"{original.base_model_prefix}."): value for name, value in original.state_dict().items()}
    kept |= original.state_dict()
    kept |= {name.removeprefix("vision_model."): value for name, value in kept.items()}
    loaded = {name.removeprefix("vision_model."): value for name, value in model.image.backbone.state_dict().items()}
    assert loaded.keys() <= kept.keys()
    assert all(torch.equal(value, kept[name]) for name, value in loaded.items())
    # what knows its origin is a pretrained module, with the learning rate of one
    assert "image.backbone." in pretrained_modules(model)

    batch = batch_of(rows, config, prompts, text_tokenizer)
    model(batch).loss.backward()
    without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == [], "an engine would wait for their gradients"
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.image.backbone.parameters())

    model.eval()
    perception = build_perception(model, text_tokenizer, OBSERVATIONS)
    save_contrastive_folder(
        tmp_path / "one", config=config, contrastive=model, perception=perception, tokenizer=text_tokenizer
    )
    images = collate_images(rows[:3], observations=OBSERVATIONS, config=config.pretrain)
    with torch.no_grad():
        before = model.encode_images(images)
        after = load_contrastive_folder(tmp_path / "one").contrastive.encode_images(images)
    assert torch.equal(before.patches_BND, after.patches_BND)
    assert before.hidden_BVPC.shape[2:] == (expected[1][0] * expected[1][1], expected[0])


@pytest.mark.parametrize("model_type", ["clip", "siglip"])
def test_the_text_tower_of_a_model_of_both_is_used(model_type, rows, prompts, text_tokenizer, tmp_path):
    full = {"clip": CLIPModel, "siglip": SiglipModel}[model_type]
    original = save_folder(tmp_path / "hub", model_type, TOWERS, full)
    config = config_with(text=tmp_path / "hub")
    model = build_contrastive(config, text_tokenizer, OBSERVATIONS)
    own = {name.removeprefix("text_model."): p for name, p in model.text.backbone.state_dict().items()}
    theirs = original.text_model.state_dict()
    assert own.keys() == theirs.keys()
    assert all(torch.equal(own[name], theirs[name]) for name in own)
    model(batch_of(rows, config, prompts, text_tokenizer)).loss.backward()
    assert [name for name, p in model.text.named_parameters() if p.requires_grad and p.grad is None] == []
    if model_type == "siglip":
        head = [p for name, p in model.text.backbone.named_parameters() if ".head." in f".{name}"]
        assert head
        assert not any(p.requires_grad for p in head)


@pytest.mark.parametrize("model_type", ["deberta-v2", "roformer"])
def test_a_text_encoder_that_looks_at_the_values_of_tokens_is_known_too(model_type, rows, prompts, text_tokenizer):
    values = {**TRANSFORMER, "model_type": model_type, "hidden_dropout_prob": 0.0}
    config = toy_config(f"pretrain.text_encoder.config={json.dumps(values)}")
    torch.manual_seed(0)
    model = build_contrastive(config, text_tokenizer, OBSERVATIONS)
    model(batch_of(rows, config, prompts, text_tokenizer)).loss.backward()
    assert [name for name, p in model.text.named_parameters() if p.requires_grad and p.grad is None] == []
    pretrain_size(config)
    two = {"model_type": "t5", "d_model": 32, "num_layers": 1, "num_heads": 2, "d_ff": 32, "d_kv": 16}
    with pytest.raises(ConfigError, match="t5 is no text encoder that can be used"):
        build_contrastive(toy_config(f"pretrain.text_encoder.config={json.dumps(two)}"), text_tokenizer, OBSERVATIONS)


@pytest.mark.parametrize(
    ("model_type", "values"), [("vit", VIT), ("dinov2_with_registers", VIT), ("swin", SWIN), ("clip", TOWERS)]
)
def test_another_image_size_is_interpolated(model_type, values, rows, prompts, text_tokenizer, tmp_path):
    saved_class = CLIPModel if model_type == "clip" else AutoModel
    save_folder(tmp_path / "hub", model_type, values, saved_class)
    config = config_with(image=tmp_path / "hub", image_size_px=96)
    model = build_contrastive(config, text_tokenizer, OBSERVATIONS)
    assert model.image.layout.grid_hw == ((12, 12) if model_type == "swin" else (6, 6))
    loss = model(batch_of(rows, config, prompts, text_tokenizer)).loss
    loss.backward()
    assert loss.isfinite()


def test_positions_of_images_that_are_not_square_are_interpolated(rows, text_tokenizer, tmp_path):
    original = save_folder(tmp_path / "hub", "vit", {**VIT, "image_size": [64, 96]}, AutoModel)
    config = config_with(image=tmp_path / "hub")
    model = build_contrastive(config, text_tokenizer, OBSERVATIONS).eval()
    assert model.image.layout.grid_hw == (4, 4)
    own, found = original.embeddings.position_embeddings, model.image.backbone.embeddings.position_embeddings
    assert torch.equal(found[:, 0], own[:, 0])
    # the four rows stay, and six columns of each become four
    for row in range(4):
        columns = own[:, 1 + 6 * row : 7 + 6 * row].transpose(1, 2)[:, :, None]
        expected = torch.nn.functional.interpolate(columns, size=(1, 4), mode="bicubic")[0, :, 0].T
        assert torch.allclose(found[0, 1 + 4 * row : 5 + 4 * row], expected, atol=1e-5)
    perception = build_perception(model, text_tokenizer, OBSERVATIONS)
    save_contrastive_folder(
        tmp_path / "one", config=config, contrastive=model, perception=perception, tokenizer=text_tokenizer
    )
    images = collate_images(rows[:3], observations=OBSERVATIONS, config=config.pretrain)
    again = load_contrastive_folder(tmp_path / "one").contrastive
    with torch.no_grad():
        assert torch.equal(again.encode_images(images).patches_BND, model.encode_images(images).patches_BND)


def test_an_image_size_that_cannot_be_read_is_an_error_of_the_build(text_tokenizer, tmp_path):
    save_folder(tmp_path / "hub", "vit", {**VIT, "patch_size": 64}, AutoModel)
    with pytest.raises(ConfigError, match="cannot read images of 32 px"):
        build_contrastive(config_with(image=tmp_path / "hub", image_size_px=32), text_tokenizer, OBSERVATIONS)
    save_folder(tmp_path / "vilt", "vilt", {**VIT, "vocab_size": 700}, AutoModel)
    with pytest.raises(ConfigError, match="cannot read images of 64 px"):
        build_contrastive(config_with(image=tmp_path / "vilt"), text_tokenizer, OBSERVATIONS)
    save_folder(tmp_path / "text", "bert", {**TRANSFORMER, "vocab_size": 700}, AutoModel)
    with pytest.raises(ConfigError, match="no image backbone"):
        build_contrastive(config_with(image=tmp_path / "text"), text_tokenizer, OBSERVATIONS)


@pytest.mark.parametrize(
    ("model_type", "message"),
    [
        ("vit_mae", "it hides three quarters of the patches .*: give its folder model_type vit"),
        ("siglip2", r"the size of each image \(NaFlex\), .* use a SigLIP 2 of one image size"),
    ],
)
def test_an_image_encoder_that_gives_no_grid_is_refused_with_the_reason(model_type, message, tmp_path):
    AutoConfig.for_model(model_type).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=message):
        build_backbone(EncoderConfig(pretrained=str(tmp_path)), role="image", weights="random")


def test_patches_that_are_not_square_make_a_grid_that_is_not(rows, prompts, text_tokenizer, tmp_path):
    save_folder(tmp_path / "hub", "vit", {**VIT, "patch_size": [16, 8]}, AutoModel)
    config = config_with(image=tmp_path / "hub")
    model = build_contrastive(config, text_tokenizer, OBSERVATIONS)
    assert model.image.layout.grid_hw == (4, 8)
    features = model.encode_images(batch_of(rows, config, prompts, text_tokenizer))
    assert features.hidden_BVPC.shape[2] == 32
    assert features.grid_hw == (4, 8)


def test_patches_keep_their_places(tmp_path):
    # one bright patch: its token differs most from that of a dark image, in a model without attention
    save_folder(tmp_path / "hub", "vit", {**VIT, "num_hidden_layers": 0, "patch_size": [16, 8]}, AutoModel)
    backbone = AutoModel.from_pretrained(tmp_path / "hub", add_pooling_layer=False).eval()
    layout = image_layout(backbone, size_px=64)
    dark = torch.zeros(1, 3, 64, 64)
    bright = dark.clone()
    bright[..., 32:48, 40:48] = 1.0
    with torch.no_grad():
        change = [layout.patches(backbone(pixel_values=pixels).last_hidden_state) for pixels in (dark, bright)]
    differs = (change[1] - change[0]).norm(dim=-1)[0].reshape(layout.grid_hw)
    assert differs.argmax().item() == 2 * 8 + 5
    assert (differs > 1e-6).sum() == 1


def test_a_longer_sentence_than_the_text_encoder_reads_is_an_error_of_the_build(text_tokenizer, tmp_path):
    save_folder(tmp_path / "hub", "clip", TOWERS, CLIPModel)
    build_contrastive(config_with(text=tmp_path / "hub", max_sentence_tokens=64), text_tokenizer, OBSERVATIONS)
    with pytest.raises(ConfigError, match="reads at most 64 tokens: max_sentence_tokens is 65"):
        build_contrastive(config_with(text=tmp_path / "hub", max_sentence_tokens=65), text_tokenizer, OBSERVATIONS)
    roberta = {**TRANSFORMER, "vocab_size": 700, "max_position_embeddings": 66, "pad_token_id": 1}
    save_folder(tmp_path / "roberta", "roberta", roberta, AutoModel)
    with pytest.raises(ConfigError, match="reads at most 64 tokens"):
        build_contrastive(config_with(text=tmp_path / "roberta", max_sentence_tokens=65), text_tokenizer, OBSERVATIONS)


def test_missing_weights_are_an_error_and_not_random(text_tokenizer, tmp_path):
    # the layers of both towers have the same names: those of the text would be read as layers of the image encoder
    for long, message in ((16, r"lacks \d+ weights of SiglipVisionModel, e\.g\."), (64, "weights of other shapes")):
        values = copy.deepcopy(TOWERS)
        values["text_config"]["max_position_embeddings"] = long
        folder = tmp_path / str(long)
        SiglipTextModel(AutoConfig.for_model("siglip_text_model", **values["text_config"])).save_pretrained(folder)
        AutoConfig.for_model("siglip", **values).save_pretrained(folder)
        with pytest.raises(ConfigError, match=message):
            build_contrastive(config_with(image=folder), text_tokenizer, OBSERVATIONS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "vitt"}, "unknown model_type 'vitt'; did you mean 'vit'"),
        ({"hidden_size": -1}, "'vit' cannot be built: Trying to create tensor with negative dimension -1"),
        ({"hidden_size": "big"}, "'vit' does not take its values: .* expected int, got str"),
        ({"num_attention_heads": 0}, "'vit' cannot be built: integer .* by zero"),
    ],
)
def test_values_that_make_no_model_are_an_error_of_the_configuration(change, message):
    with pytest.raises(ConfigError, match=message):
        build_backbone(EncoderConfig(config={"model_type": "vit", **VIT, **change}), role="image")


def test_attention_that_a_backbone_lacks_is_an_error_of_the_configuration():
    encoder = toy_config().pretrain.image_encoder.model_copy(update={"attention": "flash_attention_2"})
    with pytest.raises(ConfigError, match=r"'resnet' cannot be built: .* does not support Flash Attention 2"):
        build_backbone(encoder, role="image")


def test_a_value_that_the_architecture_would_ignore_is_refused():
    check_values(EncoderConfig(config={"model_type": "gpt2", "n_embd": 32, "hidden_size": 32}), "finetune.llm")
    check_values(EncoderConfig(config={"model_type": "llama", "rope_theta": 1e5}), "finetune.llm")
    encoder = EncoderConfig(config={"model_type": "vit", **VIT, "patch_sizes": 8})
    with pytest.raises(
        ConfigError, match=r"image_encoder\.config: 'vit' has no value 'patch_sizes'; did you mean 'patch"
    ):
        check_values(encoder, "pretrain.image_encoder")


def test_a_damaged_folder_is_an_error_of_the_configuration(tmp_path):
    save_folder(tmp_path, "vit", VIT, AutoModel)
    with pytest.raises(ConfigError, match="is a folder, which has no revision '0f3a'"):
        build_backbone(EncoderConfig(pretrained=str(tmp_path), revision="0f3a"), role="image")
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:2000])
    with pytest.raises(ConfigError, match=r"damaged safetensors file .* fetch it again"):
        build_backbone(EncoderConfig(pretrained=str(tmp_path)), role="image")


def test_a_frozen_backbone_keeps_its_weights_and_batch_statistics(rows, prompts, text_tokenizer):
    values = toy_config().model_dump(mode="json")
    for name in ("image_encoder", "text_encoder"):
        values["pretrain"][name]["freeze"] = True
    config = validate_config(values)
    model = build_contrastive(config, text_tokenizer, OBSERVATIONS).train()
    backbones = {"image": model.image.backbone, "text": model.text.backbone}
    before = {name: copy.deepcopy(backbone.state_dict()) for name, backbone in backbones.items()}
    model(batch_of(rows, config, prompts, text_tokenizer)).loss.backward()
    for name, backbone in backbones.items():
        assert not backbone.training
        assert not any(p.requires_grad for p in backbone.parameters())
        assert all(torch.equal(value, before[name][key]) for key, value in backbone.state_dict().items())
    assert model.image.to_joint.weight.grad is not None
    assert not model.eval().train().image.backbone.training


def test_building_draws_no_random_numbers_but_the_weights(text_tokenizer):
    config = toy_config()
    torch.manual_seed(0)
    build_backbone(config.pretrain.image_encoder, role="image")
    after_backbone = torch.get_rng_state()
    torch.manual_seed(0)
    backbone = build_backbone(config.pretrain.image_encoder, role="image")
    image_layout(backbone, size_px=64)
    assert torch.equal(torch.get_rng_state(), after_backbone)


def test_a_revision_is_passed_on(monkeypatch):
    asked = []

    def refuse(name, **options):
        asked.append(options.get("revision"))
        raise OSError

    monkeypatch.setattr("trrg_core.model.backbones.AutoConfig.from_pretrained", refuse)
    encoder = toy_config().pretrain.image_encoder.model_copy(update={"pretrained": "a/b", "revision": "0f3a"})
    with pytest.raises(ConfigError, match="cannot load 'a/b' at revision '0f3a'"):
        build_backbone(encoder, role="image")
    assert asked == ["0f3a"]


def test_timm_models_come_through_their_wrapper(rows, prompts, text_tokenizer, tmp_path):
    try:
        import timm  # noqa: F401
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"timm cannot be imported: {error}")
    from transformers import TimmWrapperConfig, TimmWrapperForImageClassification

    for architecture, expected in (
        ("resnet10t", (512, (2, 2), 0)),
        ("vit_tiny_patch16_224", (192, (4, 4), 1)),
        ("swin_tiny_patch4_window7_224", (768, (2, 2), 0)),
    ):
        arguments = {} if architecture == "resnet10t" else {"img_size": 64}
        values = TimmWrapperConfig(architecture=architecture, model_args=arguments)
        TimmWrapperForImageClassification(values).save_pretrained(tmp_path / architecture)
        config = config_with(image=tmp_path / architecture)
        model = build_contrastive(config, text_tokenizer, OBSERVATIONS)
        layout = model.image.layout
        assert (layout.width, layout.grid_hw, layout.num_prefix_tokens) == expected
        if layout.num_prefix_tokens:  # 64 px in patches of 16, two views of 16 studies
            tower = next(one for one in pretrain_size(config)[1] if one.name == "image encoder")
            assert (tower.tokens, tower.hidden, tower.layers) == (16 * 2 * 17, 192, 12)
        model(batch_of(rows, config, prompts, text_tokenizer)).loss.backward()
        assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
        model.eval()
        save_contrastive_folder(
            tmp_path / f"{architecture}-one",
            config=config,
            contrastive=model,
            perception=build_perception(model, text_tokenizer, OBSERVATIONS),
            tokenizer=text_tokenizer,
        )
        images = collate_images(rows[:2], observations=OBSERVATIONS, config=config.pretrain)
        loaded = load_contrastive_folder(tmp_path / f"{architecture}-one").contrastive
        assert torch.equal(loaded.encode_images(images).patches_BND, model.encode_images(images).patches_BND)


def test_the_model_folder_records_what_it_was_made_of(text_tokenizer, tmp_path):
    save_folder(tmp_path / "hub", "vit", VIT, AutoModel)
    config = config_with(image=tmp_path / "hub")
    model = build_contrastive(config, text_tokenizer, OBSERVATIONS).eval()
    perception = build_perception(model, text_tokenizer, OBSERVATIONS)
    save_contrastive_folder(
        tmp_path / "one", config=config, contrastive=model, perception=perception, tokenizer=text_tokenizer
    )
    digest = sha256_of(tmp_path / "hub" / "model.safetensors")
    origins = read_json(tmp_path / "one" / "config.json")["origins"]
    expected = {"pretrained": str(tmp_path / "hub"), "revision": "", "files": {"model.safetensors": digest}}
    assert origins == {"image_encoder": expected}


def test_the_commit_and_digests_of_the_hubs_cache_are_taken_from_it(tmp_path, monkeypatch, caplog):
    snapshot = tmp_path / "models--a--b" / "snapshots" / "c0ffee"
    snapshot.mkdir(parents=True)
    (tmp_path / "models--a--b" / "blobs").mkdir()
    blob = tmp_path / "models--a--b" / "blobs" / ("ab" * 32)
    blob.write_bytes(b"weights")
    (snapshot / "model.safetensors").symlink_to(blob)
    (snapshot / "config.json").write_text("{}")
    monkeypatch.setattr("trrg_core.model.weight_origin.cached_file", lambda *_, **__: str(snapshot / "config.json"))
    encoder = toy_config().pretrain.image_encoder.model_copy(update={"pretrained": "a/b"})
    origin = origin_of(encoder)
    assert origin == {"pretrained": "a/b", "revision": "c0ffee", "files": {"model.safetensors": "ab" * 32}}
    check_origin(origin, encoder)
    check_origin(None, encoder)
    with pytest.raises(ConfigError, match=r"not those that the adapters were trained on \(revision c0ffee\)"):
        check_origin({**origin, "files": {"model.safetensors": "cd" * 32}}, encoder)
    warn_of_moving_weights(encoder, "pretrain.image_encoder")
    assert caplog.messages[0].endswith("pin the copy in the cache with --set pretrain.image_encoder.revision=c0ffee")
    (tmp_path / "folder").mkdir()
    for pinned in ({"revision": "c0ffee"}, {"sha256": origin["files"]}, {"pretrained": str(tmp_path / "folder")}):
        warn_of_moving_weights(encoder.model_copy(update=pinned), "pretrain.image_encoder")
    assert len(caplog.messages) == 1


def test_adapters_whose_model_was_moved_say_where_it_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    missing = rf"adapters were trained on is missing: 'llm' is no folder in {tmp_path}, and not in the cache of the hub"
    with pytest.raises(ConfigError, match=missing):
        check_origin({"pretrained": "llm", "revision": "", "files": {}}, EncoderConfig(pretrained="llm"))


def test_weights_other_than_those_pinned_are_refused(tmp_path):
    save_folder(tmp_path / "hub", "vit", VIT, AutoModel)
    digest = sha256_of(tmp_path / "hub" / "model.safetensors")

    def build(**pins):
        return build_backbone(EncoderConfig(pretrained=str(tmp_path / "hub"), sha256=pins), role="image")

    build(**{"model.safetensors": digest})
    with pytest.raises(ConfigError, match=rf"model\.safetensors has the sha256 {digest}, expected {'0' * 64}"):
        build(**{"model.safetensors": "0" * 64})
    with pytest.raises(ConfigError, match=r"other\.safetensors has the sha256 of no file"):
        build(**{"model.safetensors": digest, "other.safetensors": digest})


def test_code_that_comes_with_a_model_never_runs(tmp_path):
    code = {"AutoConfig": "code.Config", "AutoModel": "code.Model", "AutoTokenizer": [None, "code.Tokenizer"]}
    folder = tmp_path / "hub"
    folder.mkdir()
    (folder / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    (folder / "config.json").write_text(json.dumps({"model_type": "own", "auto_map": code}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"auto_map": code}))
    with pytest.raises(ConfigError, match="code of its own, which is never run"):
        build_backbone(EncoderConfig(pretrained=str(folder)), role="image")
    with pytest.raises(ConfigError, match="code of its own, which is never run"):
        load_tokenizer(str(folder), [], vocabulary_size=100)
    assert not (tmp_path / "ran").exists()


def test_attention_is_one_of_a_list(tmp_path):
    def implementation(**values):
        encoder = EncoderConfig(config={"model_type": "vit", **VIT}, **values)
        return build_backbone(encoder, role="image").config._attn_implementation

    assert (implementation(), implementation(attention="eager")) == ("sdpa", "eager")
    with pytest.raises(ValueError, match="'auto', 'eager', 'sdpa', 'packed' or 'flash_attention_2'"):
        implementation(attention="somebody/kernel")
    with pytest.raises(ValueError, match="attn_implementation is not a value of an architecture"):
        EncoderConfig(config={"model_type": "vit", "attn_implementation": "somebody/kernel"})
    save_folder(tmp_path / "hub", "vit", VIT, AutoModel)
    stored = json.loads((tmp_path / "hub" / "config.json").read_text())
    (tmp_path / "hub" / "config.json").write_text(json.dumps({**stored, "attn_implementation": "somebody/kernel"}))
    with pytest.raises(ConfigError, match="asks for the attention 'somebody/kernel'"):
        build_backbone(EncoderConfig(pretrained=str(tmp_path / "hub")), role="image")
