"""Backbones: Hugging Face models by name (safetensors only) or built, untrained, from architecture values."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
import yaml
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import CONFIG_MAPPING, AutoConfig, AutoModel, AutoModelForCausalLM
from transformers.utils import logging as transformers_log

from trrg_core.config.settings import EncoderConfig
from trrg_core.config.values import nearest
from trrg_core.config.weights_cache import resolve_pretrained
from trrg_core.errors import ConfigError
from trrg_core.model.weight_origin import check_pinned

Weights = Literal["pretrained", "random"]
Role = Literal["image", "text", "causal"]

# what a library raises that is given values, or a package that it needs, which do not fit
_UNFIT = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    ImportError,
    StrictDataclassError,
)
# values of published configurations that the library takes, and keeps under another name
_RENAMED = {"rope_theta", "rotary_emb_base", "rotary_pct", "torch_dtype"}

# the part of a model of images and texts (CLIP, SigLIP) that a role needs
_TOWERS = {"image": "vision_config", "text": "text_config"}
# image encoders that give no grid of patches of an image, and what to use instead
_UNSUPPORTED = {
    "siglip2_vision_model": "it takes patches with the size of each image (NaFlex), not images of one size: use a "
    "SigLIP 2 of one image size (model_type siglip, e.g. google/siglip2-base-patch16-224)",
    "vit_mae": "it hides three quarters of the patches and shuffles the others: give its folder model_type vit",
}


def build_backbone(
    encoder: EncoderConfig,
    *,
    role: Role,
    vocabulary_size: int = 0,
    weights: Weights = "pretrained",
    dtype: torch.dtype = torch.float32,
    quantization: Any = None,
    **values: Any,
) -> Any:
    """A Hugging Face model: `AutoModelForCausalLM` for the role "causal", else `AutoModel` without its pooler.

    Of a model of images and texts only the tower of the role is built.

    Args:
        encoder: what to build.
        role: what it encodes, or "causal" if it writes text.
        vocabulary_size: tokens of a tokenizer trained here; ignored for named models, 0 for images.
        weights: "random" builds even a named model from its architecture alone, e.g. on the meta device.
        dtype: number format of the weights.
        quantization: how the weights of a named model are quantised as they are loaded, in transformers' terms.
        **values: further values of a config class built here, e.g. special token ids.

    Raises:
        ConfigError: if there are no such weights as safetensors, weights are missing or not those pinned, or there is
            no such architecture.
    """
    if encoder.pretrained and weights == "pretrained":
        return _load(encoder, role, dtype, {} if quantization is None else {"quantization_config": quantization})
    config = architecture_of(encoder, role=role, vocabulary_size=vocabulary_size, **values)
    model_class = _model_class(config, role)
    try:
        return model_class._from_config(config, dtype=dtype, **_attention(encoder), **without_pooler(model_class))
    except _UNFIT as error:
        raise ConfigError(f"{encoder.pretrained or config.model_type!r} cannot be built: {_brief(error)}") from error


def check_values(encoder: EncoderConfig, setting: str) -> None:
    """Check that the architecture of `encoder`, which is that of `setting`, knows all values of its `config`.

    Raises:
        ConfigError: if it would ignore one, as transformers does.
    """
    if encoder.pretrained:
        return
    model_type = str(encoder.config["model_type"])
    known = _from_values({"model_type": model_type})
    for name in encoder.config:
        if not hasattr(known, name) and name not in _RENAMED:
            raise ConfigError(f"{setting}.config: {model_type!r} has no value {name!r}{nearest(name, known.to_dict())}")


def architecture_of(encoder: EncoderConfig, *, role: Role, vocabulary_size: int = 0, **values: Any) -> Any:
    """The transformers config of `encoder`, from its own values, the shipped table, or the hub's cache."""
    if not encoder.pretrained:
        own = dict(encoder.config)
        if vocabulary_size:
            values["vocab_size"] = vocabulary_size
        return _tower(_from_values({**values, **own}), role)
    known = _architectures().get(encoder.pretrained)
    if known is not None:
        return _from_values(known)
    try:
        return _tower(_read_config(encoder), role)
    except OSError as error:
        raise ConfigError(f"no architecture known for {encoder.pretrained!r} and none in the cache") from error


def without_pooler(model_class: Any) -> dict[str, bool]:
    """The argument that leaves out the pooler of a model class which has one."""
    # A pooler that is not used gets no gradient, which engines that wait for all gradients cannot handle.
    has_option = "add_pooling_layer" in inspect.signature(model_class.__init__).parameters
    return {"add_pooling_layer": False} if has_option else {}


def _load(encoder: EncoderConfig, role: Role, dtype: torch.dtype, options: dict[str, Any]) -> Any:
    name = resolve_pretrained(encoder.pretrained)
    try:
        config = _tower(_read_config(encoder), role)
        model_class = _model_class(config, role)
        words = {**options, **_attention(encoder), **_revision(encoder), **without_pooler(model_class)}
        with _without_messages():
            model, report = _from_folder(model_class, name, config=config, dtype=dtype, **words)
            if report["missing_keys"] and role in _TOWERS:
                # a tower may not know its name in the whole model, as those of AltCLIP, AIMv2 and BLIP
                words["key_mapping"] = {rf"^{_TOWERS[role].replace('config', 'model')}\.": ""}
                if any(key.startswith("encoder.layers.") for key in report["missing_keys"]):
                    words["key_mapping"][r"encoder\.layer\."] = "encoder.layers."  # AltCLIP as transformers saves it
                model, report = _from_folder(model_class, name, config=config, dtype=dtype, **words)
    except OSError as error:
        at = f" at revision {encoder.revision!r}" if encoder.revision else ""
        raise ConfigError(
            f"cannot load {name!r}{at} as safetensors: expected a cached model, or a folder with config.json and "
            "safetensors files"
        ) from error
    except SafetensorError as error:
        raise ConfigError(f"{name!r} has a damaged safetensors file ({error}): fetch it again") from error
    except RuntimeError as error:
        raise ConfigError(f"{name!r} has weights of other shapes than its config.json says") from error
    except _UNFIT as error:
        raise ConfigError(f"{name!r} cannot be built: {_brief(error)}") from error
    check_pinned(encoder)
    missing = sorted(report["missing_keys"])
    if missing:  # they would be random
        raise ConfigError(f"{name!r} lacks {len(missing)} weights of {type(model).__name__}, e.g. {missing[0]}")
    return model


def _from_folder(model_class: Any, name: str, **words: Any) -> tuple[Any, Any]:
    """The model in a folder, and transformers' report of its weights."""
    found: tuple[Any, Any] = model_class.from_pretrained(
        name, use_safetensors=True, output_loading_info=True, trust_remote_code=False, **words
    )
    return found


@contextmanager
def _without_messages() -> Iterator[None]:
    """Within the block transformers neither draws bars nor lists weights: what matters of them is checked after it."""
    level, has_bars = transformers_log.get_verbosity(), transformers_log.is_progress_bar_enabled()
    transformers_log.set_verbosity_error()
    transformers_log.disable_progress_bar()
    try:
        yield
    finally:
        transformers_log.set_verbosity(level)
        if has_bars:
            transformers_log.enable_progress_bar()


def _read_config(encoder: EncoderConfig) -> Any:
    """The transformers config of a named backbone; code that comes with it never runs."""
    name = resolve_pretrained(encoder.pretrained)
    if encoder.revision and Path(name).is_dir():
        raise ConfigError(f"{name!r} is a folder, which has no revision {encoder.revision!r}: pin it by `sha256`")
    try:
        config = AutoConfig.from_pretrained(name, trust_remote_code=False, **_revision(encoder))
    except ValueError as error:
        raise ConfigError(
            f"{name!r} has no architecture that transformers knows, or brings code of its own, which is never run"
        ) from error
    for part in (config, *(getattr(config, sub, None) for sub in config.sub_configs)):
        asked = getattr(part, "_attn_implementation", None)
        if asked not in (None, "eager", "sdpa", "flash_attention_2"):
            raise ConfigError(f"{name!r} asks for the attention {asked!r}: set `attention`")
    return config


def _attention(encoder: EncoderConfig) -> dict[str, str]:
    return {} if encoder.attention == "auto" else {"attn_implementation": encoder.attention}


def _tower(config: Any, role: Role) -> Any:
    """The part of `config` that the role needs, without a pooling head."""
    tower = getattr(config, _TOWERS.get(role, ""), None)
    config = config if tower is None else tower
    if role == "image" and config.model_type in _UNSUPPORTED:
        raise ConfigError(f"model_type {config.model_type!r} is not supported: {_UNSUPPORTED[config.model_type]}")
    for has_head in ("vision_use_head", "use_head"):  # of SigLIP, AIMv2
        if role == "image" and getattr(config, has_head, False):
            setattr(config, has_head, False)
    return config


def _revision(encoder: EncoderConfig) -> dict[str, str]:
    return {"revision": encoder.revision} if encoder.revision else {}


def _from_values(values: dict[str, Any]) -> Any:
    values = dict(values)
    model_type = values.pop("model_type")
    if model_type not in CONFIG_MAPPING:
        raise ConfigError(f"unknown model_type {model_type!r}{nearest(str(model_type), CONFIG_MAPPING)}")
    try:
        return AutoConfig.for_model(model_type, **values)
    except _UNFIT as error:
        raise ConfigError(f"model_type {model_type!r} does not take its values: {_brief(error)}") from error


def _brief(error: Exception) -> str:
    """The message of a library's error in one line."""
    return " ".join(str(error).split())[:200]


def _model_class(config: Any, role: Role) -> Any:
    auto = AutoModelForCausalLM if role == "causal" else AutoModel
    if type(config) in auto._model_mapping:
        found = auto._model_mapping[type(config)]
        return found[0] if isinstance(found, tuple) else found
    # a tower that has no entry of its own, as the text tower of SigLIP
    found = getattr(transformers, type(config).__name__.removesuffix("Config") + "Model", None)
    if found is None or role == "causal":
        raise ConfigError(f"model_type {config.model_type!r} has no {auto.__name__}")
    return found


@cache
def _architectures() -> dict[str, dict[str, Any]]:
    text = resources.files("trrg_core.model").joinpath("architectures.yaml").read_text("utf-8")
    return dict(yaml.safe_load(text))
