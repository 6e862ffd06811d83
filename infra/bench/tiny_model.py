"""A model folder of the preset `tiny` with random weights: its texts mean nothing and cost as much as real ones."""

from collections.abc import Sequence
from pathlib import Path

import torch

from trrg_core.config.load import load_config
from trrg_core.labels import load_label_set
from trrg_core.model.contrastive import build_contrastive
from trrg_core.model.generator import build_generator
from trrg_core.model.model_folder import save_model_folder
from trrg_core.model.perception import build_perception
from trrg_core.sources.sample.layout import generate_studies
from trrg_core.training.tokenization import train_tokenizer


def write_tiny_model(folder: Path, settings: Sequence[str] = (), *, seed: int) -> Path:
    """`folder`, with the model of these settings; its tokenizers are trained on invented reports."""
    config = load_config("tiny", settings)
    torch.manual_seed(seed)
    observations = load_label_set(config.parse.label_set).observations
    texts = [study.report.text for study in generate_studies(200, seed)]
    tokenizer = train_tokenizer(texts, vocabulary_size=1000)
    text_tokenizer = train_tokenizer(texts, vocabulary_size=1000, lowercase=True)
    contrastive = build_contrastive(config, text_tokenizer, observations).eval()
    perception = build_perception(contrastive, text_tokenizer, observations)
    generator = build_generator(config, contrastive, perception, tokenizer, observations).eval()
    save_model_folder(folder, config=config, generator=generator, text_tokenizer=text_tokenizer)
    return folder
