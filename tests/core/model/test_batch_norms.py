"""Batch norms whose weights are in bf16 and whose statistics are not, as under DeepSpeed."""

import copy

import torch
from torch import nn

from trrg_core.model.batch_norms import take_mixed_formats


def small_backbone() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.BatchNorm2d(2))


def cast_parameters(model: nn.Module) -> None:
    for parameter in model.parameters():
        parameter.data = parameter.data.to(torch.bfloat16)


def test_a_backbone_in_bf16_trains_its_norms_as_one_in_fp32():
    plain, mixed = small_backbone(), small_backbone()
    take_mixed_formats(mixed)
    cast_parameters(mixed)
    for seed in range(3):
        images = torch.randn(8, 1, 12, 12, generator=torch.Generator().manual_seed(seed))
        wanted, found = plain(images), mixed(images.to(torch.bfloat16))
        assert found.dtype == torch.bfloat16
        assert torch.allclose(found.float(), wanted, atol=0.08)
    found.float().square().mean().backward()
    assert all(parameter.grad is not None for parameter in mixed.parameters())
    for one, other in zip(plain.buffers(), mixed.buffers(), strict=True):
        assert other.dtype == one.dtype
        assert torch.allclose(one.float(), other.float(), atol=0.01)
    plain.eval()
    mixed.eval()
    assert torch.allclose(mixed(images.to(torch.bfloat16)).float(), plain(images), atol=0.08)


def test_in_fp32_nothing_changes_and_the_names_of_weights_stay():
    plain = small_backbone()
    mixed = copy.deepcopy(plain)
    take_mixed_formats(mixed)
    images = torch.randn(4, 1, 12, 12)
    assert torch.equal(mixed(images), plain(images))
    assert list(mixed.state_dict()) == list(plain.state_dict())
