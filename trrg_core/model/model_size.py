"""The sizes of both stages' models, from the configuration alone: built on the meta device, without weights."""

from dataclasses import replace
from typing import Any

import torch

from trrg_core.config.settings import EngineConfig, TrrgConfig
from trrg_core.labels import load_label_set
from trrg_core.model.backbone_layout import num_blocks, num_kept_numbers
from trrg_core.model.contrastive import ContrastiveModel, build_contrastive
from trrg_core.model.generator import ReportGenerator, build_generator
from trrg_core.model.perception import DiseasePerception
from trrg_core.training.invented_vocabulary import InventedVocabulary
from trrg_core.training.memory_estimate import SAVED_ELEMENTS, ModelSize, Tower, size_of

IMAGE_TOWER = "image encoder"
# instruction, in a chat template with the message of a system
_PROMPT_TOKENS = 64
_NF4_BITS = 4.127  # per weight, with the quantised scales (Dettmers et al. 2023, section 3)


def pretrain_size(config: TrrgConfig) -> tuple[ModelSize, list[Tower]]:
    """Stage 1: the size of its model, and its towers for the studies of a step."""
    model = _contrastive(config)
    stage = config.pretrain
    # all micro-batches of a rank are compared with each other, so that they are in memory together, or else two of them
    per_rank = -(-stage.num_micro_batches // config.engine.num_ranks)
    num_studies = stage.micro_batch_size * (min(per_rank, 2) if config.engine.gradient_checkpointing else per_rank)
    num_texts = 2 * (num_studies * stage.sentences_per_study) + 2 * len(_observations(config))
    image = _image_tower(config, model, trained=not stage.image_encoder.freeze, num_studies=num_studies)
    text = _tower(
        "text encoder",
        model.text.backbone.config,
        num_texts * stage.max_sentence_tokens,
        config.engine,
        checkpoint=False,
    )
    # each rank compares the sentences of all ranks with its own patches; about half of what a layer keeps per unit
    all_sentences = stage.batch_size * stage.sentences_per_study
    rows, columns = model.image.layout.grid_hw
    num_patches = stage.max_views * rows * columns
    similarity = Tower(
        name="sentence-patch similarity",
        tokens=all_sentences * stage.micro_batch_size * per_rank,
        hidden=(num_patches + stage.joint_size) // 2,
        layers=1,
    )
    return size_of(model), [*image, text if not stage.text_encoder.freeze else _without_gradient(text), similarity]


def finetune_size(config: TrrgConfig) -> tuple[ModelSize, list[Tower]]:
    """Stage 2: likewise; stage 1 is frozen."""
    contrastive = _contrastive(config)
    stage, observations = config.finetune, _observations(config)
    with torch.device("meta"):
        perception = DiseasePerception(observations, joint_size=config.pretrain.joint_size)
        vocabulary: Any = InventedVocabulary(stage.vocabulary_size)
        model: ReportGenerator = build_generator(
            config, contrastive, perception, vocabulary, observations, weights="random"
        )
    views = config.pretrain.max_views
    prefix = views * (stage.grid_size**2 + 1) + len(observations) + _PROMPT_TOKENS
    tokens = stage.micro_batch_size * (prefix + stage.max_report_tokens)
    llm = _tower("LLM", model.llm.config, tokens, config.engine, checkpoint=True)
    image = _image_tower(config, contrastive, trained=False, num_studies=stage.micro_batch_size)
    return _as_stored(size_of(model), model.llm, config), [*image, llm]


def _as_stored(size: ModelSize, llm: Any, config: TrrgConfig) -> ModelSize:
    """`size` with the frozen weights of the LLM counted by the bits that they take."""
    if config.finetune.lora.base == "full":
        return size
    layers = sum(
        module.base_layer.weight.numel()
        for module in llm.modules()
        if isinstance(getattr(module, "base_layer", None), torch.nn.Linear)
    )
    element_bits = 16 if config.engine.precision == "bf16" else 32
    return replace(size, frozen=size.frozen - round(layers * (1 - _NF4_BITS / element_bits)))


def _contrastive(config: TrrgConfig) -> ContrastiveModel:
    with torch.device("meta"):
        vocabulary = InventedVocabulary(config.pretrain.vocabulary_size)
        return build_contrastive(config, vocabulary, _observations(config), weights="random")


def _observations(config: TrrgConfig) -> tuple[str, ...]:
    return load_label_set(config.parse.label_set).observations


def _image_tower(config: TrrgConfig, model: ContrastiveModel, *, trained: bool, num_studies: int) -> list[Tower]:
    """The towers of an image encoder: one, or one per resolution; none where nothing says what it keeps."""
    architecture = model.image.backbone.config
    images = num_studies * config.pretrain.max_views
    side = config.pretrain.image_size_px
    widths, depths = getattr(architecture, "hidden_sizes", None), getattr(architecture, "depths", None)
    if depths and not widths and hasattr(architecture, "embed_dim"):
        widths = [architecture.embed_dim * 2**level for level in range(len(depths))]
    if depths and widths:
        towers = [
            Tower(name=IMAGE_TOWER, tokens=images * (side // (4 * 2**level)) ** 2, hidden=width, layers=depth)
            for level, (width, depth) in enumerate(zip(widths, depths, strict=False))
        ]
    elif hasattr(architecture, "num_hidden_layers") and hasattr(architecture, "patch_size"):
        patch = architecture.patch_size
        rows, columns = patch if isinstance(patch, list | tuple) else (patch, patch)
        tokens = images * (1 + (side // int(rows)) * (side // int(columns)))
        towers = [_tower(IMAGE_TOWER, architecture, tokens, config.engine, checkpoint=False)]
    elif not model.image.layout.is_map and num_blocks(model.image.backbone):
        # a transformer that says nothing of its layers, as those of timm
        rows, columns = model.image.layout.grid_hw
        tokens = images * (model.image.layout.num_prefix_tokens + rows * columns)
        width, depth = model.image.layout.width, num_blocks(model.image.backbone)
        towers = [Tower(name=IMAGE_TOWER, tokens=tokens, hidden=width, layers=depth)]
    else:
        kept = num_kept_numbers(model.image.backbone, size_px=side) if trained else 0
        # as one layer that keeps as much
        tower = Tower(name=IMAGE_TOWER, tokens=images, hidden=-(-kept // SAVED_ELEMENTS), layers=1)
        towers = [tower] if kept else []
    return towers if trained else [_without_gradient(tower) for tower in towers]


def _tower(name: str, architecture: Any, tokens: int, engine: EngineConfig, *, checkpoint: bool) -> Tower:
    return Tower(
        name=name,
        tokens=tokens,
        hidden=int(architecture.hidden_size),
        layers=int(architecture.num_hidden_layers),
        vocabulary=int(architecture.vocab_size) if checkpoint else 0,
        keeps="inputs" if checkpoint and engine.gradient_checkpointing else "all",
    )


def _without_gradient(tower: Tower) -> Tower:
    return Tower(**{**vars(tower), "keeps": "nothing"})
