"""The parameter groups of the optimizer: which parameters decay, and which have a learning rate of their own."""

import re
from collections.abc import Sequence
from typing import Any

from torch import nn

from trrg_core.config.settings import OptimizerConfig

# as in the optimizers of BERT, ViT and Swin: positions are not decayed, nor are biases, norms and scales, for which see
# `decays`. The further names are those of GPT-2, of T5 and MPNet, of DeBERTa, and of the register tokens of DINOv2
_POSITIONS = re.compile(
    r"position|pos_embed|cell_GW|\bwpe\b|relative_attention_bias|rel_embeddings|\breg(ister)?_tokens?\b"
)
RATE = "rate_scale"


def parameter_groups(model: nn.Module, optimizer: OptimizerConfig) -> list[dict[str, Any]]:
    """Groups for `torch.optim.AdamW`, of the trained parameters in the order of the model, none of them empty.

    Each has its `weight_decay`, and under `RATE` what the scheduled learning rate is multiplied by: `fresh_rate` for
    parameters outside pretrained backbones, if there is such a backbone that is trained, else 1.
    """
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    backbones = tuple(pretrained_modules(model))
    has_backbone = any(name.startswith(backbones) for name, _ in named) if backbones else False
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in named:
        decay = optimizer.weight_decay if decays(name, parameter) else 0.0
        is_fresh = has_backbone and not name.startswith(backbones)
        groups.setdefault((decay, optimizer.fresh_rate if is_fresh else 1.0), []).append(parameter)
    return [{"params": params, "weight_decay": decay, RATE: rate} for (decay, rate), params in groups.items()]


def decays(name: str, parameter: nn.Parameter) -> bool:
    """Whether a parameter is decayed: all but embeddings of positions, register tokens and vectors.

    Vectors are biases, weights of norms, gates, scales and single tokens; some have further axes of size 1. Under
    ZeRO-3 the parameter itself has no shape, `ds_shape` is that of the whole.
    """
    shape: Sequence[int] = getattr(parameter, "ds_shape", parameter.shape)
    is_vector = len(shape) < 2 or (len(shape) > 2 and sum(size > 1 for size in shape) < 2)
    return not is_vector and not _POSITIONS.search(name)


def pretrained_modules(model: nn.Module) -> list[str]:
    """Prefixes of the names of parameters in backbones that were loaded with their weights, adapters included.

    A backbone of the transformers library knows what it was loaded from; one built from a configuration does not.
    """
    return [f"{name}." if name else "" for name, module in model.named_modules() if getattr(module, "name_or_path", "")]
