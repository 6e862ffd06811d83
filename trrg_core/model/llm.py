"""The causal language model of stage 2, and how it reads packed tokens.

R rows, C columns, M = R * C, H LLM width, Y vocabulary.
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import GenerationConfig

from trrg_core.config.settings import TrrgConfig
from trrg_core.errors import ConfigError
from trrg_core.model.backbones import Weights, build_backbone
from trrg_core.model.packed_attention import PACKED, packed_inputs
from trrg_core.model.packing import PackedTokens
from trrg_core.model.quantization import quantization_of

# beginnings and ends of settings that change logits beside the output layer: of Gemma 2, Granite, Cohere, Falcon H1,
# MiniCPM3, xLSTM
_LOGIT_SETTINGS = (
    "logit_",
    "logits_",
    "_logit_softcapping",
    "output_multiplier",
    "lm_head_multiplier",
    "dim_model_base",
    "output_logit_soft_cap",
)
# models of `AutoModelForCausalLM` that read in both directions and have nothing to say so, and one that says so wrongly
_BOTH_WAYS, _CAUSAL = ("cpmant", "xlm", "xlnet"), ("gpt_neox_japanese",)
# models that take a cache and do not give it back
_GIVE_NONE = ("recurrent_gemma",)
# models that say they keep sequences apart, and do not: found by changing the first of two sequences in a row
_ONE_MASK = ("afmoe", "gpt_oss", "lfm3", "minimax", "opt")
# of attention per column of a row, times the width of the LLM; on a CPU
_ATTENTION_COST = 0.5


class Reading(NamedTuple):
    """What an LLM makes of tokens: its last states, and what its `head` takes to make logits."""

    states: Tensor
    before_head: Tensor
    head: Callable[[Tensor], Tensor]

    def at(self, index: Tensor) -> "Reading":
        """That of the tokens at `index`."""
        states = self.states[index]
        is_same = self.before_head is self.states
        return self._replace(states=states, before_head=states if is_same else self.before_head[index])


def build_llm(config: TrrgConfig, tokenizer: Any, *, weights: Weights = "pretrained") -> Any:
    """The LLM of `config` with LoRA on all its linear layers but the output, ready for training and generation.

    Raises:
        ConfigError: if it cannot be built, reads in both directions, writes without a cache of keys and values, or does
            not keep packed reports apart.
    """
    dtype = torch.bfloat16 if config.engine.precision == "bf16" else torch.float32
    llm = build_backbone(
        config.finetune.llm,
        role="causal",
        vocabulary_size=len(tokenizer),
        weights=weights,
        dtype=dtype,
        quantization=quantization_of(config) if weights == "pretrained" else None,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    if not is_causal(llm):
        name = config.finetune.llm.pretrained or llm.config.model_type
        raise ConfigError(
            f"finetune.llm: {name!r} ({type(llm).__name__}) reads in both directions, so that it sees the words that "
            "it is to write: expected a causal language model, e.g. llama, qwen2 or gpt2; one of the family of BERT "
            "that is built from values is one with finetune.llm.config.is_decoder=true"
        )
    if not has_cache(llm):
        raise ConfigError(
            f"finetune.llm: {config.finetune.llm.pretrained or llm.config.model_type!r} ({type(llm).__name__}) has no "
            "cache of keys and values, which reports are written with: take another model, e.g. llama, qwen2 or gpt2"
        )
    # A named model has its own sampling, length and repetition settings; ours are plain (see decoding).
    llm.generation_config = GenerationConfig(
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    if config.engine.gradient_checkpointing:
        recompute_activations(llm)
        llm.enable_input_require_grads()
    if config.finetune.packing and not can_pack(llm):
        raise ConfigError(f"{type(llm).__name__} does not keep packed reports apart: set finetune.packing=false")
    from trrg_core.model.adapters import add_adapters  # peft takes seconds to import and only stage 2 needs it

    # under ZeRO-3 the weights of a layer are there only while the layer itself runs; those of 4 bits are no matrix
    folds = config.engine.zero_stage < 3 and config.finetune.lora.base == "full"
    return add_adapters(llm, config.finetune.lora, folds=folds)


def recompute_activations(llm: Any) -> None:
    """Makes the layers of `llm` compute their activations again in the backward pass instead of keeping them."""
    # older versions of transformers have the second name only, of which newer ones warn
    enable = getattr(llm, "activation_checkpointing_enable", None) or llm.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def is_causal(llm: Any) -> bool:
    """Whether the tokens of `llm` see those before them only; those of BERT do so if it is a decoder."""
    if llm.config.model_type in _BOTH_WAYS + _CAUSAL:
        return llm.config.model_type in _CAUSAL
    has_causal_layer = any(getattr(module, "is_causal", False) for module in llm.modules())
    return has_causal_layer or getattr(llm.config, "is_decoder", None) is not False


def has_cache(llm: Any) -> bool:
    """Whether `llm` takes and gives a cache of keys and values, with which a text is written token by token."""
    takes_one = "past_key_values" in inspect.signature(llm.forward).parameters
    return takes_one and llm.config.model_type not in _GIVE_NONE


def can_pack(llm: Any) -> bool:
    """Whether several sequences in a row do not see each other: all layers that mix tokens are masked attention.

    Their mask must be made from the positions, too: that of encoders which became decoders is not.
    """
    if llm.config.model_type in _ONE_MASK or getattr(llm.config, "is_decoder", False):
        return False
    return bool(llm._supports_attention_backend and not llm._is_stateful)


def attention_cost(llm: Any) -> float:
    """The cost of attention per token and column of a row, that of all other layers per token being 1."""
    if str(llm.config._attn_implementation).startswith((PACKED, "flash")):
        return 0.0  # it leaves out pairs of different sequences, which it tells apart in a single row only
    return _ATTENTION_COST / int(llm.config.hidden_size)


def read_tokens(llm: Any, packed: PackedTokens) -> Reading:
    """The reading of all `M` positions of the rows, one row after the other."""
    inputs = {"inputs_embeds": packed.token_RCH, "position_ids": packed.position_RC, "use_cache": False}
    if packed.bounds is not None and llm.config._attn_implementation == PACKED:
        inputs |= packed_inputs(packed.bounds, packed.token_RCH.device)
    if has_plain_head(llm):
        states = llm.get_base_model().base_model(**inputs).last_hidden_state.flatten(0, 1)
        return Reading(states, states, llm.get_output_embeddings())
    output = llm(**inputs, output_hidden_states=True)
    return Reading(output.hidden_states[-1].flatten(0, 1), output.logits.flatten(0, 1), nn.Identity())


def has_plain_head(llm: Any) -> bool:
    """Whether logits are the output layer of the last states and nothing else, so that it can be applied to a few."""
    model, output = llm.get_base_model(), llm.get_output_embeddings()
    known = {id(one) for part in (model.base_model, output) for one in part.parameters()}
    if any(id(one) not in known for one in model.parameters()):  # further layers, as in BERT and ModernBERT decoders
        return False
    values = llm.config.to_dict()
    names = [name for name in values if name.startswith(_LOGIT_SETTINGS) or name.endswith(_LOGIT_SETTINGS)]
    return all(values[name] in (None, 1.0) for name in names)
