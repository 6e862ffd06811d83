"""A model folder of both stages, untrained: what it writes means nothing, but it is written as by a trained one."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from tests.core.toy_corpus import OBSERVATIONS, toy_config, toy_texts
from trrg_core.config.load import validate_config
from trrg_core.config.settings import TrrgConfig
from trrg_core.model.contrastive import build_contrastive
from trrg_core.model.generator import ReportGenerator, build_generator
from trrg_core.model.model_folder import save_model_folder
from trrg_core.model.perception import build_perception
from trrg_core.training.prompts import load_prompts
from trrg_core.training.tokenization import train_tokenizer


def write_toy_model(folder: Path, *, seed: int = 0, max_new_tokens: int = 12) -> Path:
    """`folder`, with a generator whose weights `seed` draws."""
    torch.manual_seed(seed)
    config = toy_config(f"generate.max_new_tokens={max_new_tokens}", "generate.candidates=2")
    prompts = [text for prompt in load_prompts(OBSERVATIONS) for text in prompt.present + prompt.absent]
    text_tokenizer = train_tokenizer([*toy_texts(), *prompts], vocabulary_size=600, lowercase=True)
    contrastive = build_contrastive(config, text_tokenizer, OBSERVATIONS).eval()
    perception = build_perception(contrastive, text_tokenizer, OBSERVATIONS)
    tokenizer = train_tokenizer(toy_texts(), vocabulary_size=600)
    generator = build_generator(config, contrastive, perception, tokenizer, OBSERVATIONS).eval()
    save_model_folder(folder, config=config, generator=generator, text_tokenizer=text_tokenizer)
    return folder


def named_llm_model(folder: Path, stage1, llm_tokenizer) -> tuple[TrrgConfig, ReportGenerator]:
    """A generator around an LLM that is saved in `folder` and named in the settings; its adapters are those of LoRA."""
    torch.manual_seed(0)
    shape = {"hidden_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 96}
    base = AutoModelForCausalLM.from_config(LlamaConfig(vocab_size=len(llm_tokenizer), **shape))
    base.save_pretrained(folder)
    values = toy_config("finetune.lora.train_embeddings=false").model_dump(mode="json")
    values["finetune"]["llm"] = {"pretrained": str(folder)}
    config = validate_config(values)
    return config, build_generator(config, stage1.model, stage1.perception, llm_tokenizer, OBSERVATIONS)


def draw_adapters(model: ReportGenerator) -> None:
    """Draw the adapters, which change nothing before they are trained."""
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
