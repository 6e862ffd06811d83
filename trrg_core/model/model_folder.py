"""Stored models: a plain Hugging Face style folder, safetensors only, that loads in a fresh process.

    config.json        our configuration, the observations, the architectures and origins of the backbones
    perception.json    calibration of each finding
    usual_images.safetensors    how the training images usually look, where there were enough of them
    model.safetensors  all weights, except those of an LLM that is loaded by name
    adapter/           LoRA weights in peft's own format
    text_tokenizer/ llm_tokenizer/    with the chat template in tokenizer_config.json
    manifest.json      sha256 of all, written last

A stage-1 folder has no LLM parts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from trrg_core.config.load import validate_config
from trrg_core.config.settings import TrrgConfig
from trrg_core.errors import ConfigError
from trrg_core.imaging.usual_images import UsualImages
from trrg_core.model.calibration import calibrations_from_json, calibrations_to_json
from trrg_core.model.contrastive import ContrastiveModel, build_contrastive
from trrg_core.model.folder_description import FolderDescription, read_description
from trrg_core.model.generator import ReportGenerator, build_generator
from trrg_core.model.manifest import FORMAT_VERSION, check_folder, read_json, write_json, write_manifest
from trrg_core.model.operating_points import operating_points_from_json, operating_points_to_json
from trrg_core.model.perception import DiseasePerception
from trrg_core.model.weight_origin import check_origin, origin_of
from trrg_core.training.parameter_groups import pretrained_modules

_WEIGHTS = "model.safetensors"
_USUAL_IMAGES = "usual_images.safetensors"
_ADAPTER = "adapter"


@dataclass(frozen=True, kw_only=True)
class LoadedContrastive:
    """Stage 1 as loaded: models in eval mode."""

    config: TrrgConfig
    contrastive: ContrastiveModel
    perception: DiseasePerception
    tokenizer: Any


@dataclass(frozen=True, kw_only=True)
class LoadedGenerator:
    """Stage 2 as loaded: the generator in eval mode; its own tokenizer is `generator.tokenizer`."""

    config: TrrgConfig
    generator: ReportGenerator
    text_tokenizer: Any

    @property
    def observations(self) -> tuple[str, ...]:
        """The observations of its clues."""
        return self.generator.perception.observations


def take_weights(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load a gathered `state` into `module`; entries that are not part of its state (caches) are ignored.

    What a pretrained backbone of `module` does not train may be missing: it keeps its own.

    Raises:
        ConfigError: if other weights are missing, or have other shapes.
    """
    own = module.state_dict()
    missing = sorted(own.keys() - state.keys() - _untrained_backbone(module))
    if missing:
        raise ConfigError(f"weights are missing: {len(missing)}, the first being {missing[0]}")
    _load_state(module, {name: state.get(name, value) for name, value in own.items()}, strict=True)


def _untrained_backbone(module: nn.Module) -> set[str]:
    """The names of buffers and frozen weights in pretrained backbones."""
    bases = tuple(pretrained_modules(module))
    trained = {name for name, parameter in module.named_parameters(remove_duplicate=False) if parameter.requires_grad}
    return {name for name in module.state_dict() if name.startswith(bases) and name not in trained}


def save_contrastive_folder(
    folder: Path, *, config: TrrgConfig, contrastive: ContrastiveModel, perception: DiseasePerception, tokenizer: Any
) -> None:
    """Write stage 1, with its calibrated perception, into the new `folder`."""
    folder.mkdir(parents=True)
    models: dict[str, nn.Module] = {"contrastive": contrastive, "perception": perception}
    state = {f"{part}.{name}": value for part, model in models.items() for name, value in model.state_dict().items()}
    _save_tensors(state, folder / _WEIGHTS)
    _save_common(folder, config, perception, "contrastive", _architectures(contrastive))
    tokenizer.save_pretrained(str(folder / "text_tokenizer"))
    write_manifest(folder)


def load_contrastive_folder(folder: Path) -> LoadedContrastive:
    """Read stage 1 from `folder`.

    Raises:
        ConfigError: if the folder is damaged, holds anything but plain files, or is of another stage.
    """
    described = _open(folder, "contrastive")
    loaded = _empty_contrastive(folder, described)
    tensors = _read_tensors(folder / _WEIGHTS)
    take_weights(loaded.contrastive, _part(tensors, "contrastive."))
    take_weights(loaded.perception, _part(tensors, "perception."))
    return loaded


def save_model_folder(
    folder: Path,
    *,
    config: TrrgConfig,
    generator: ReportGenerator,
    text_tokenizer: Any,
    state: Mapping[str, Tensor] | None = None,
) -> None:
    """Write stage 2 into the new `folder`.

    Args:
        folder: must not exist yet.
        config: the configuration that built the generator.
        generator: the trained model; with `state` it may be an untrained copy, even on the meta device.
        text_tokenizer: stage 1's tokenizer.
        state: weights by name, as gathered by an engine, where those of a named LLM's frozen base may be missing; None
            takes the generator's own.

    Raises:
        ConfigError: if weights are missing.
    """
    own = generator.state_dict()
    is_named = bool(config.finetune.llm.pretrained)
    trained = {name for name, parameter in generator.named_parameters() if parameter.requires_grad}
    names = [name for name in own if not (is_named and name.startswith("llm.") and name not in trained)]
    given = own if state is None else state
    if missing := [name for name in names if name not in given]:
        raise ConfigError(f"weights are missing: {len(missing)}, the first being {missing[0]}")
    weights = {name: given[name] for name in names}
    folder.mkdir(parents=True)
    if is_named:
        _save_adapter(folder / _ADAPTER, generator, weights)
        weights = {name: value for name, value in weights.items() if not _is_adapter(name)}
    _save_tensors(weights, folder / _WEIGHTS)
    architectures = _architectures(generator.contrastive)
    _save_common(folder, config, generator.perception, "generator", architectures)
    text_tokenizer.save_pretrained(str(folder / "text_tokenizer"))
    # the chat template within tokenizer_config.json: a model folder has no files of templates
    generator.tokenizer.save_pretrained(str(folder / "llm_tokenizer"), save_jinja_files=False)
    write_manifest(folder)


def load_model_folder(folder: Path, *, merge_adapter: bool = False) -> LoadedGenerator:
    """Read stage 2 from `folder`, ready to generate; a named LLM comes from the hub's cache or its own folder.

    Args:
        folder: as `save_model_folder` wrote it.
        merge_adapter: add the adapter to the weights of the LLM: faster, but only for generation (`merge_adapters`).

    Raises:
        ConfigError: if the folder is damaged, holds anything but plain files, or is of another stage.
    """
    described = _open(folder, "generator")
    stage1 = _empty_contrastive(folder, described)
    origin = described.origins.get("llm")
    check_origin(origin.model_dump() if origin else None, stage1.config.finetune.llm)
    tokenizer = _load_tokenizer(folder / "llm_tokenizer")
    generator = build_generator(
        stage1.config, stage1.contrastive, stage1.perception, tokenizer, stage1.perception.observations
    )
    _check_and_load(generator, _read_tensors(folder / _WEIGHTS), folder)
    if (folder / _ADAPTER).is_dir():
        _load_adapter(folder / _ADAPTER, generator)
    if merge_adapter:
        from trrg_core.model.adapters import merge_adapters  # peft takes seconds to import, and stage 1 needs none

        generator.llm = merge_adapters(generator.llm)
    generator.eval()
    config = _validated(described.trrg, folder)
    return LoadedGenerator(config=config, generator=generator, text_tokenizer=stage1.tokenizer)


def _open(folder: Path, stage: str) -> FolderDescription:
    check_folder(folder)
    return read_description(folder, stage)


def _empty_contrastive(folder: Path, described: FolderDescription) -> LoadedContrastive:
    """Stage 1 of the right shape, built from the architectures in the folder, without the hub."""
    values = _validated(described.trrg, folder).model_dump(mode="json")
    for part, architecture in described.architectures.model_dump().items():
        values["pretrain"][part] |= {"pretrained": "", "config": architecture}
    config = _validated(values, folder)
    observations = tuple(described.observations)
    tokenizer = _load_tokenizer(folder / "text_tokenizer")
    contrastive = build_contrastive(config, tokenizer, observations).eval()
    perception = DiseasePerception(observations, joint_size=config.pretrain.joint_size).eval()
    _calibrate(perception, folder / "perception.json")
    perception.usual_images = _read_usual_images(folder / _USUAL_IMAGES)
    return LoadedContrastive(config=config, contrastive=contrastive, perception=perception, tokenizer=tokenizer)


def _calibrate(perception: DiseasePerception, path: Path) -> None:
    calibrated = read_json(path)
    try:
        perception.set_calibrations(*calibrations_from_json(calibrated, perception.observations))
        perception.operating_points = operating_points_from_json(calibrated)
    except (TypeError, LookupError, AttributeError) as error:  # a part is missing or of another kind
        raise ConfigError(f"{path} cannot be read as calibrations: {type(error).__name__}: {error}") from error


def _read_usual_images(path: Path) -> UsualImages | None:
    """None where the folder has none: few images, or a model of an earlier version."""
    if not path.is_file():
        return None
    try:
        return UsualImages.from_tensors({name: value.numpy() for name, value in _read_tensors(path).items()})
    except ValueError as error:
        raise ConfigError(f"{path} cannot be read as how images usually look: {error}") from error


def _validated(values: Mapping[str, Any], folder: Path) -> TrrgConfig:
    try:
        return validate_config(values)
    except ConfigError as error:
        message = f"{folder / 'config.json'}, which another version of TRRG may have written: {error}"
        raise ConfigError(message) from error


def _save_common(
    folder: Path,
    config: TrrgConfig,
    perception: DiseasePerception,
    stage: str,
    architectures: Mapping[str, Any],
) -> None:
    described = {
        "format": FORMAT_VERSION,
        "model_type": "trrg",
        "stage": stage,
        "trrg": config.model_dump(mode="json"),
        "observations": list(perception.observations),
        "architectures": dict(architectures),
        "origins": _origins(config, stage),
    }
    write_json(folder / "config.json", described)
    calibrations = calibrations_to_json(
        perception.observations,
        perception.calibrations,
        perception.side_calibrations,
        perception.degree_calibrations,
    )
    points = operating_points_to_json(perception.operating_points)
    write_json(folder / "perception.json", {**calibrations, "operating_points": points})
    if perception.usual_images is not None:
        tensors = {name: torch.from_numpy(array) for name, array in perception.usual_images.tensors().items()}
        _save_tensors(tensors, folder / _USUAL_IMAGES)


def _architectures(contrastive: ContrastiveModel) -> dict[str, Any]:
    backbones = {"image_encoder": contrastive.image.backbone, "text_encoder": contrastive.text.backbone}
    return {name: _plain_config(backbone.config) for name, backbone in backbones.items()}


def _origins(config: TrrgConfig, stage: str) -> dict[str, Any]:
    encoders = {"image_encoder": config.pretrain.image_encoder, "text_encoder": config.pretrain.text_encoder}
    if stage == "generator":  # the machine that trains stage 2 needs the weights of the LLM alone
        encoders = {"llm": config.finetune.llm}
    origins = {name: origin_of(encoder) for name, encoder in encoders.items()}
    return {name: origin for name, origin in origins.items() if origin is not None}


def _plain_config(config: Any) -> dict[str, Any]:
    left_out = ("transformers_version", "_name_or_path", "architectures", "dtype", "torch_dtype")
    return {key: value for key, value in config.to_dict().items() if key not in left_out}


def _save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    # cloned: safetensors refuses weights that share memory, as tied embeddings do
    save_file({name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}, path)


def _is_adapter(name: str) -> bool:
    return name.startswith("llm.") and "lora_" in name


def _save_adapter(folder: Path, generator: ReportGenerator, weights: Mapping[str, Tensor]) -> None:
    lora = {name: value.detach().cpu() for name, value in _part(weights, "llm.").items() if "lora_" in name}
    generator.llm.save_pretrained(str(folder), state_dict=lora, save_embedding_layers=False)


def _load_adapter(folder: Path, generator: ReportGenerator) -> None:
    from peft import set_peft_model_state_dict

    result = set_peft_model_state_dict(generator.llm, _read_tensors(folder / "adapter_model.safetensors"))
    missing = [name for name in result.missing_keys if "lora_" in name]
    if missing or result.unexpected_keys:
        raise ConfigError(f"{folder}: adapter does not fit, e.g. {(missing or result.unexpected_keys)[0]}")


def _check_and_load(generator: ReportGenerator, tensors: Mapping[str, Tensor], folder: Path) -> None:
    result = _load_state(generator, tensors, strict=False)
    named = bool((folder / _ADAPTER).is_dir())
    missing = [name for name in result.missing_keys if not (named and name.startswith("llm."))]
    if missing or result.unexpected_keys:
        raise ConfigError(f"{folder}: weights do not fit, e.g. {(missing or result.unexpected_keys)[0]}")


def _load_state(module: nn.Module, state: Mapping[str, Tensor], *, strict: bool) -> Any:
    try:
        return module.load_state_dict(dict(state), strict=strict)
    except RuntimeError as error:  # a title, and a line for each that does not fit
        first = str(error).strip().splitlines()[-1].strip()
        raise ConfigError(f"weights do not fit what the configuration builds: {first}") from error


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"{path} cannot be read as safetensors: {error}") from error
    return tensors


def _load_tokenizer(folder: Path) -> Any:
    try:
        return PreTrainedTokenizerFast.from_pretrained(str(folder))
    except Exception as error:  # the library raises bare ones for a damaged file
        raise ConfigError(f"{folder} holds no tokenizer that can be read ({type(error).__name__})") from error


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
