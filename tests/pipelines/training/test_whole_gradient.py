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


@pytest.mark.parametrize("num_ranks", [1, 2])
def test_what_a_step_did_not_use_has_a_gradient_of_zeros(num_ranks: int) -> None:
    # so that the optimizer has a state for it, which checkpoints hold, and decays it on any number of ranks
    used, unused = nn.Linear(2, 1), nn.Linear(2, 1)
    parameters = [*used.parameters(), *unused.parameters()]
    optimizer = torch.optim.AdamW(parameters, weight_decay=0.5)
    gradient = WholeGradient(parameters, num_ranks=num_ranks)
    before = unused.weight.detach().clone()
    with single_rank("gloo", timedelta(seconds=10)):
        gradient.clear()
        used(torch.ones(2)).backward()
        gradient.average(torch.zeros(1))
        gradient.clip(1.0)
    optimizer.step()
    assert set(optimizer.state) == set(parameters)
    assert torch.allclose(unused.weight, before * (1 - 1e-3 * 0.5))
