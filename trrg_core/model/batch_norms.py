"""Batch norms of image backbones in training with bf16 weights, where their statistics stay fp32."""

from torch import Tensor, nn
from torch.nn import functional


class MixedBatchNorm2d(nn.BatchNorm2d):
    """A batch norm that also takes weights of another number format than its statistics have.

    DeepSpeed casts the parameters of a model to bf16 and leaves its buffers, and torch refuses to norm with both. It is
    computed in the format of the statistics: bf16 has too few digits to average them.
    """

    def forward(self, input: Tensor) -> Tensor:
        """As `nn.BatchNorm2d`, in the number format of `input`."""
        mean, variance = self.running_mean, self.running_var
        if mean is None or variance is None or self.weight.dtype == mean.dtype:
            return super().forward(input)
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        output = functional.batch_norm(
            input.to(mean.dtype),
            mean,
            variance,
            self.weight.to(mean.dtype),
            self.bias.to(mean.dtype),
            training=self.training,
            momentum=self.momentum or 0.0,
            eps=self.eps,
        )
        return output.to(input.dtype)


def take_mixed_formats(backbone: nn.Module) -> None:
    """Let the batch norms of `backbone` norm with weights in bf16; in fp32 nothing changes."""
    for module in backbone.modules():
        if type(module) is nn.BatchNorm2d and module.momentum is not None:
            module.__class__ = MixedBatchNorm2d
