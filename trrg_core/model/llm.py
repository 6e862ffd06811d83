"""The causal language model of stage 2 and its adapters (peft)."""

from typing import Any

import torch
from transformers import GenerationConfig

from trrg_core.config.settings import LoraSettings, TrrgConfig
from trrg_core.model.backbones import Weights, build_backbone


def build_llm(config: TrrgConfig, tokenizer: Any, *, weights: Weights = "pretrained") -> Any:
    """The LLM of `config` with LoRA on all its linear layers but the output, ready for training and generation."""
    dtype = torch.bfloat16 if config.engine.precision == "bf16" else torch.float32
    llm = build_backbone(
        config.finetune.llm,
        role="causal",
        vocabulary_size=len(tokenizer),
        weights=weights,
        dtype=dtype,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    # A named model has its own sampling, length and repetition settings; ours are plain (see decoding).
    llm.generation_config = GenerationConfig(
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    if config.engine.gradient_checkpointing:
        llm.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        llm.enable_input_require_grads()
    return add_adapters(llm, config.finetune.lora)


def add_adapters(llm: Any, settings: LoraSettings) -> Any:
    """`llm` wrapped by peft: its own weights frozen, but for the embeddings and norms when those are trained too."""
    from peft import LoraConfig, get_peft_model  # takes seconds to import and only stage 2 needs it

    adapters = LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules="all-linear",
    )
    wrapped = get_peft_model(llm, adapters, autocast_adapter_dtype=False)
    if settings.train_embeddings:
        for module in wrapped.modules():
            if isinstance(module, torch.nn.Embedding) or type(module).__name__.endswith("Norm"):
                module.requires_grad_(True)
        wrapped.get_output_embeddings().requires_grad_(True)
    return wrapped
