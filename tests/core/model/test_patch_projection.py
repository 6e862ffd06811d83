"""Convolutions of patches side by side as products of matrices."""

import pytest
import torch
from torch import nn

from trrg_core.model.patch_projection import PatchConv2d, project_patches, project_patches_as_products


@pytest.mark.parametrize(("size", "kernel", "has_bias"), [((32, 48), 16, True), ((35, 30), (4, 8), False)])
def test_the_product_is_the_convolution_and_has_its_gradients(
    size: tuple[int, int], kernel: int, has_bias: bool
) -> None:
    torch.manual_seed(1)
    convolution = nn.Conv2d(3, 5, kernel, stride=kernel, bias=has_bias).double()
    pixels = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    inputs = [pixels, *convolution.parameters()]
    wanted, found = convolution(pixels), project_patches(pixels, convolution)
    torch.testing.assert_close(found, wanted)
    weight = torch.randn_like(wanted)
    gradients = [torch.autograd.grad((output * weight).sum(), inputs) for output in (wanted, found)]
    torch.testing.assert_close(gradients[1], gradients[0])


def test_only_convolutions_whose_patches_do_not_overlap_are_products() -> None:
    patches = nn.Conv2d(3, 5, 4, stride=4)
    others = [
        nn.Conv2d(3, 5, 4, stride=2),
        nn.Conv2d(3, 5, 4, stride=4, padding=1),
        nn.Conv2d(4, 4, 2, stride=2, groups=4),
        nn.Conv2d(3, 5, 2, stride=2, dilation=2),
        nn.Conv2d(3, 5, 1),
    ]
    project_patches_as_products(nn.Sequential(patches, *others))
    assert type(patches) is PatchConv2d
    assert {type(other) for other in others} == {nn.Conv2d}
    pixels = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(patches(pixels), nn.functional.conv2d(pixels, patches.weight, patches.bias, stride=4))
