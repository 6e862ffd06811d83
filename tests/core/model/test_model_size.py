"""Sizes of the presets' models, which take no memory to build."""

from types import SimpleNamespace

import pytest

from trrg_core.config.load import load_config
from trrg_core.model.model_size import _contrastive, _image_tower, finetune_size, pretrain_size
from trrg_core.training.memory_estimate import GIB, SAVED_ELEMENTS, estimate_memory


def test_stage_one_of_base_is_two_encoders_of_base_size() -> None:
    size, towers = pretrain_size(load_config("base", []))
    # ViT-B/16 has 86 and BERT base 109 million parameters
    assert 195e6 < size.trained < 200e6
    assert size.frozen == 0
    assert [(tower.name, tower.hidden, tower.layers) for tower in towers] == [
        ("image encoder", 768, 12),
        ("text encoder", 768, 12),
        ("sentence-patch similarity", (2 * 196 + 256) // 2, 1),
    ]
    assert towers[0].tokens == 64 * 2 * (1 + 14 * 14)


def test_one_process_has_more_micro_batches_in_memory_than_one_of_eight() -> None:
    _, (shared, *_) = pretrain_size(load_config("base", []))
    _, (alone, *_) = pretrain_size(load_config("base", ["engine.local=true"]))
    assert alone.tokens == 2 * shared.tokens  # the others are computed again
    values = "pretrain.image_encoder={pretrained: '', config: {model_type: vit, patch_size: [16, 32]}}"
    _, (towers, *_) = pretrain_size(load_config("base", [values]))
    assert towers.tokens == 64 * 2 * (1 + 14 * 7)


def test_stage_two_of_base_fits_an_80_gb_gpu_and_its_llm_is_frozen() -> None:
    config = load_config("base", [])
    size, towers = finetune_size(config)
    # Qwen2.5-7B has 7.62 billion parameters
    assert 7.6e9 < size.frozen < 8.0e9
    assert 30e6 < size.trained < 100e6
    assert {tower.name: tower.keeps for tower in towers} == {"image encoder": "nothing", "LLM": "inputs"}
    estimate = estimate_memory(size, towers, config.engine, world_size=8)
    assert 15 * GIB < estimate.total < 40 * GIB
    assert estimate.weights == pytest.approx(2 * (size.frozen + size.trained))


def test_four_bits_count_as_such() -> None:
    full, _ = finetune_size(load_config("base", []))
    quantised, _ = finetune_size(load_config("base", ["finetune.lora.base=nf4"]))
    # the layers of Qwen2.5-7B but for its embeddings, 6.53 billion weights of 4.127 in place of 16 bits
    assert full.frozen - quantised.frozen == pytest.approx(6.53e9 * (1 - 4.127 / 16), rel=0.01)
    assert quantised.trained == full.trained


def test_convolutional_encoders_have_a_tower_per_resolution() -> None:
    size, towers = pretrain_size(load_config("tiny", []))
    assert [(tower.hidden, tower.layers) for tower in towers if tower.name == "image encoder"] == [
        (24, 1),
        (48, 1),
        (96, 1),
    ]
    assert size.trained < 1e6


def test_a_transformer_whose_config_names_no_layers_is_counted_by_its_blocks() -> None:
    config = load_config("base", [])
    model = _contrastive(config)
    named = _image_tower(config, model, trained=True, num_studies=4)
    model.image.backbone.config = SimpleNamespace()  # as that of timm's wrapper
    assert _image_tower(config, model, trained=True, num_studies=4) == named
    assert (named[0].tokens, named[0].hidden, named[0].layers) == (4 * 2 * 197, 768, 12)


def test_an_encoder_of_unknown_layers_is_counted_by_what_it_keeps() -> None:
    values = "{model_type: efficientnet, width_coefficient: 1.0, depth_coefficient: 1.0, hidden_dim: 1280}"
    _, (image, *_) = pretrain_size(load_config("tiny", [f"pretrain.image_encoder.config={values}"]))
    kept = image.hidden * SAVED_ELEMENTS
    # the convolutions of EfficientNet-B0 put out 6.7 million numbers at 224 px (Radosavovic et al. 2020), 2.2 at 128;
    # each is kept for the norm and the activation behind it, too
    assert 2 * 2.2e6 < kept < 4 * 2.2e6
    assert (image.tokens, image.layers, image.keeps) == (16 * 2, 1, "all")
