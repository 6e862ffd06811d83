from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoModel, ViTConfig

from trrg_core.config.settings import OptimizerConfig
from trrg_core.training.parameter_groups import RATE, decays, parameter_groups, pretrained_modules


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("image.to_joint.weight", (8, 4), True),
        ("backbone.convolution.weight", (8, 3, 3, 3), True),
        ("disease_head.written_OH", (14, 8), True),
        ("to_score.weight", (1, 8), True),
        ("text.embeddings.word_embeddings.weight", (50, 8), True),
        ("image.to_joint.bias", (8,), False),
        ("image.norm.weight", (8,), False),
        ("log_scale", (1,), False),
        ("interaction.gate", (1,), False),
        ("embeddings.cls_token", (1, 1, 8), False),
        ("attention.logit_scale", (4, 1, 1), False),
        ("text.embeddings.position_embeddings.weight", (64, 8), False),
        ("attention.relative_position_bias_table", (49, 4), False),
        ("llm.transformer.wpe.weight", (64, 8), False),
        ("encoder.layers.0.attention.relative_attention_bias.weight", (32, 4), False),
        ("encoder.rel_embeddings.weight", (16, 8), False),
        ("embeddings.register_tokens", (1, 4, 8), False),
        ("visual_tokens.cell_GW", (16, 8), False),
    ],
)
def test_only_weights_that_mix_or_look_up_decay(name: str, shape: tuple[int, ...], expected: bool) -> None:
    assert decays(name, nn.Parameter(torch.zeros(shape))) is expected


def test_a_partitioned_parameter_is_judged_by_its_whole_shape() -> None:
    partitioned = nn.Parameter(torch.zeros(0))
    partitioned.ds_shape = (8, 4)
    assert decays("to_joint.weight", partitioned)


class _Reader(nn.Module):
    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.to_joint = nn.Linear(16, 4)


def _vit() -> nn.Module:
    values = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = ViTConfig(**values, image_size=8, patch_size=4)
    model: nn.Module = AutoModel.from_config(config, add_pooling_layer=False)
    return model


def _groups(model: nn.Module) -> dict[tuple[float, float], int]:
    settings = OptimizerConfig(weight_decay=0.05, fresh_rate=10)
    groups = parameter_groups(model, settings)
    assert sum(len(group["params"]) for group in groups) == sum(one.requires_grad for one in model.parameters())
    return {(group["weight_decay"], group[RATE]): len(group["params"]) for group in groups}


def test_fresh_layers_beside_a_pretrained_backbone_have_their_own_rate(tmp_path: Path) -> None:
    _vit().save_pretrained(tmp_path)
    model = _Reader(AutoModel.from_pretrained(tmp_path, add_pooling_layer=False))
    assert pretrained_modules(model) == ["backbone."]
    groups = _groups(model)
    assert groups[0.05, 10] == 1
    assert groups[0.0, 10] == 1
    assert set(groups) == {(0.05, 10), (0.0, 10), (0.05, 1), (0.0, 1)}


def test_without_a_trained_pretrained_backbone_all_rates_are_equal(tmp_path: Path) -> None:
    assert {rate for _, rate in _groups(_Reader(_vit()))} == {1.0}
    _vit().save_pretrained(tmp_path)
    frozen = AutoModel.from_pretrained(tmp_path, add_pooling_layer=False).requires_grad_(False)
    assert {rate for _, rate in _groups(_Reader(frozen))} == {1.0}


def test_backbones_attend_by_the_fused_kernel_of_torch() -> None:
    assert _vit().config._attn_implementation == "sdpa"
