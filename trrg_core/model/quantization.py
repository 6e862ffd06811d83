"""QLoRA: the frozen weights of the LLM in 4 bits (NF4 with quantised scales; Dettmers et al. 2023), by bitsandbytes."""

from importlib.util import find_spec
from typing import Any

import torch
from transformers import BitsAndBytesConfig

from trrg_core.config.settings import TrrgConfig
from trrg_core.errors import ConfigError

_SETTING = "finetune.lora.base=nf4"


def quantization_of(config: TrrgConfig) -> Any:
    """How the LLM of `config` is quantised as it is loaded, in transformers' terms; None if it is not.

    Raises:
        ConfigError: if bitsandbytes is not installed, or the rest of the configuration excludes 4 bits.
    """
    lora, engine = config.finetune.lora, config.engine
    if lora.base == "full":
        return None
    excluded = {
        "needs a pretrained LLM: set finetune.llm.pretrained": not config.finetune.llm.pretrained,
        "needs a GPU: set engine.use_gpu=true": not engine.use_gpu,
        "excludes ZeRO-3, which cuts weights in pieces: set engine.zero_stage to 2 or less": engine.zero_stage == 3,
        "keeps the embeddings as they are: set finetune.lora.train_embeddings=false": lora.train_embeddings,
        "needs bitsandbytes: pip install 'bitsandbytes>=0.46'": find_spec("bitsandbytes") is None,
    }
    for reason, is_wrong in excluded.items():
        if is_wrong:
            raise ConfigError(f"{_SETTING} {reason}")
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16 if engine.precision == "bf16" else torch.float32,
    )
