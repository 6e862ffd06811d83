"""Backbones: Hugging Face models by name (safetensors only) or built, untrained, from architecture values."""

import inspect
from functools import cache
from importlib import resources
from typing import Any, Literal

import torch
import yaml
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from trrg_core.config.settings import EncoderConfig
from trrg_core.config.weights_cache import resolve_pretrained
from trrg_core.errors import ConfigError

Weights = Literal["pretrained", "random"]


def build_backbone(
    encoder: EncoderConfig,
    *,
    causal: bool = False,
    vocabulary_size: int = 0,
    weights: Weights = "pretrained",
    dtype: torch.dtype = torch.float32,
    **values: Any,
) -> Any:
    """A Hugging Face model: `AutoModelForCausalLM` when `causal`, else `AutoModel` without its pooler.

    Args:
        encoder: what to build.
        causal: whether it writes text.
        vocabulary_size: tokens of a tokenizer trained here; ignored for named models, 0 for images.
        weights: "random" builds even a named model from its architecture alone, e.g. on the meta device.
        dtype: number format of the weights.
        **values: further values of a config class built here, e.g. special token ids.

    Raises:
        ConfigError: if there are no such weights as safetensors, or no such architecture.
    """
    auto = AutoModelForCausalLM if causal else AutoModel
    if encoder.pretrained and weights == "pretrained":
        return _load(auto, resolve_pretrained(encoder.pretrained), dtype)
    config = architecture_of(encoder, vocabulary_size=vocabulary_size, **values)
    return auto.from_config(config, dtype=dtype, **_without_pooler(auto, config))


def architecture_of(encoder: EncoderConfig, *, vocabulary_size: int = 0, **values: Any) -> Any:
    """The transformers config of `encoder`, from its own values, the shipped table, or the hub's cache."""
    if not encoder.pretrained:
        own = dict(encoder.config)
        if vocabulary_size:
            values["vocab_size"] = vocabulary_size
        return _from_values({**values, **own})
    known = _architectures().get(encoder.pretrained)
    if known is not None:
        return _from_values(known)
    try:
        return AutoConfig.from_pretrained(resolve_pretrained(encoder.pretrained))
    except OSError as error:
        raise ConfigError(f"no architecture known for {encoder.pretrained!r} and none in the cache") from error


def _load(auto: Any, name: str, dtype: torch.dtype) -> Any:
    try:
        config = AutoConfig.from_pretrained(name)
        return auto.from_pretrained(
            name, config=config, dtype=dtype, use_safetensors=True, **_without_pooler(auto, config)
        )
    except OSError as error:
        raise ConfigError(f"cannot load {name!r} as safetensors: expected a cached model or a folder") from error


def _from_values(values: dict[str, Any]) -> Any:
    values = dict(values)
    model_type = values.pop("model_type")
    try:
        return AutoConfig.for_model(model_type, **values)
    except ValueError as error:
        raise ConfigError(f"unknown model_type {model_type!r}, or a value it does not take: {error}") from error


def _without_pooler(auto: Any, config: Any) -> dict[str, bool]:
    # A pooler that is not used gets no gradient, which engines that wait for all gradients cannot handle.
    model_class = auto._model_mapping[type(config)]
    has_option = "add_pooling_layer" in inspect.signature(model_class.__init__).parameters
    return {"add_pooling_layer": False} if has_option else {}


@cache
def _architectures() -> dict[str, dict[str, Any]]:
    text = resources.files("trrg_core.model").joinpath("architectures.yaml").read_text("utf-8")
    return dict(yaml.safe_load(text))
