"""Compiling the layers that a model repeats."""

import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

from trrg_core.errors import ConfigError
from trrg_core.model.similarity import LocalSimilarity


def compile_layers(model: nn.Module, backend: str, *, has_fixed_sizes: bool = True) -> int:
    """Compiles each layer of the transformers in `model` by torch.compile, in place; returns their number.

    The layers of a transformer are alike, so that one compilation serves all; what is around them (clues, losses,
    tokens of different numbers) is left as it is, but for the similarities of texts and patches. A model without such
    layers is compiled as a whole.

    Args:
        model: may hold any number of transformers.
        backend: a name that torch.compile knows, e.g. "inductor".
        has_fixed_sizes: whether to compile for the sizes of the first step, and for variable ones only when others
            come; otherwise for variable ones at once.

    Raises:
        ConfigError: if torch does not know the backend.
    """
    if backend not in torch.compiler.list_backends(exclude_tags=()):
        known = ", ".join(torch.compiler.list_backends())
        raise ConfigError(f"unknown engine.compile_backend={backend!r}; torch has {known}")
    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    similarities = [module for module in model.modules() if isinstance(module, LocalSimilarity)]
    for module in [*layers, *similarities] if layers else [model]:
        module.compile(backend=backend, dynamic=None if has_fixed_sizes else True)
    return len(layers)
