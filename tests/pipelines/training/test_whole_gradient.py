"""The gradient in one buffer: what backward passes add, clipping, and the numbers averaged beside it."""

from datetime import timedelta

import pytest
import torch
from torch import nn

from pipelines.training.single_rank import single_rank
from pipelines.training.whole_gradient import WholeGradient


def _model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.Flatten(), nn.Linear(20, 3)).to(memory_format=torch.channels_last)


@pytest.mark.parametrize("num_ranks", [1, 2])
@pytest.mark.parametrize("factor", [1e-3, 10.0])
def test_the_gradient_is_that_of_torch_to_the_digit(factor: float, num_ranks: int) -> None:
    model, plain = _model(), _model()
    gradient = WholeGradient(list(model.parameters()), num_ranks=num_ranks)
    images = torch.randn(2, 3, 4, 4)
    with single_rank("gloo", timedelta(seconds=10)):
        for _ in range(2):
            gradient.clear()
            for one in (model, plain):
                one.zero_grad() if one is plain else None
                for image in images:
                    (factor * one(image[None]).square().sum()).backward()
            means = gradient.average(torch.tensor([2.0, float("inf")]))
            norm = gradient.clip(1.0)
            assert torch.equal(norm, nn.utils.clip_grad_norm_(plain.parameters(), 1.0))
            assert means.tolist() == [2.0, float("inf")]  # not scaled with the gradient
            for own, expected in zip(model.parameters(), plain.parameters(), strict=True):
                assert own.grad is not None
                assert own.grad.stride() == own.stride()
                assert torch.equal(own.grad, expected.grad)
