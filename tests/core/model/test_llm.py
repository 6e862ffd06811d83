import re
import warnings

import pytest
import torch
from torch import nn

from tests.core.toy_corpus import OBSERVATIONS, toy_config
from trrg_core.config.settings import EncoderConfig, GenerateConfig, LoraSettings
from trrg_core.errors import ConfigError
from trrg_core.generation.drafts import write_drafts
from trrg_core.model.adapters import FoldedLinear, add_adapters
from trrg_core.model.backbones import build_backbone
from trrg_core.model.compiling import compile_layers
from trrg_core.model.generator import build_generator
from trrg_core.model.llm import (
    attention_cost,
    can_pack,
    has_cache,
    has_plain_head,
    is_causal,
    read_tokens,
    recompute_activations,
)
from trrg_core.model.packing import pack_tokens, place_apart, place_together
from trrg_core.training.collate import collate_finetune

_SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
FAMILIES = {
    "llama": {**_SHAPE, "num_key_value_heads": 2},
    "qwen2": {**_SHAPE, "num_key_value_heads": 2},
    # softcapped logits, and layers that see 4 tokens only
    "gemma2": {**_SHAPE, "num_key_value_heads": 2, "head_dim": 8, "sliding_window": 4, "final_logit_softcapping": 3.0},
    "granite": {**_SHAPE, "num_key_value_heads": 2, "logits_scaling": 4.0},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "gpt_neox": _SHAPE,
}
# with further layers before its output
DECODER = {**_SHAPE, "is_decoder": True}
LENGTHS = (9, 3, 6, 2, 1, 4)


def build(model_type: str, *, folds: bool = False, rank: int = 4, attention: str = "auto", **values):
    torch.manual_seed(0)
    config = {"model_type": model_type, **FAMILIES.get(model_type, {}), **values}
    llm = build_backbone(EncoderConfig(config=config, attention=attention), role="causal", vocabulary_size=50)
    wrapped = add_adapters(llm, LoraSettings(rank=rank, alpha=8, dropout=0.0), folds=folds)
    for name, parameter in wrapped.named_parameters():
        if "lora_" in name:  # else the second factor is zero, and the first has no gradient
            nn.init.normal_(parameter, std=0.1)
    return wrapped


def sequences():
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    return torch.randn(*mask.shape, 32, generator=torch.Generator().manual_seed(1)), mask


def read(llm, tokens, mask, placement):
    """States and logits of the unmasked tokens."""
    packed = pack_tokens(tokens, mask, placement)
    reading = read_tokens(llm, packed)
    own = torch.cat([torch.arange(n) + first for n, first in zip(mask.sum(1).tolist(), packed.first_B, strict=True)])
    reading = reading.at(own)
    return reading.states, reading.head(reading.before_head)


PACKED_ATTENTION = ("llama", "qwen2", "granite", "gpt_neox")


@pytest.mark.parametrize(
    ("model_type", "attention"),
    [*((name, "auto") for name in FAMILIES), *((name, "packed") for name in PACKED_ATTENTION)],
)
def test_packed_sequences_do_not_see_each_other(model_type, attention):
    llm = build(model_type, attention=attention).eval()
    assert can_pack(llm)
    tokens, mask = sequences()
    for placement in (place_together(LENGTHS, attention_cost=0), place_together(LENGTHS, attention_cost=1)):
        assert placement.num_rows < len(LENGTHS)
        states, logits = read(llm, tokens, mask, placement)
        alone = [
            llm(inputs_embeds=one[own][None], output_hidden_states=True) for one, own in zip(tokens, mask, strict=True)
        ]
        torch.testing.assert_close(logits, torch.cat([one.logits[0] for one in alone]))
        torch.testing.assert_close(states, torch.cat([one.hidden_states[-1][0] for one in alone]))


def test_packed_attention_refuses_what_it_would_leave_out():
    llm = build("gemma2", attention="packed")
    tokens, mask = sequences()
    with pytest.raises(ConfigError, match=r"windows, capped scores.*set finetune\.llm\.attention=sdpa"):
        read(llm, tokens, mask, place_together(LENGTHS, attention_cost=0))


def test_packed_attention_leaves_no_padding_and_has_the_gradient_of_masked_attention():
    tokens, mask = sequences()
    results = []
    for attention in ("auto", "packed"):
        llm = build("qwen2", attention=attention).train()
        assert (attention_cost(llm) == 0) == (attention == "packed")
        _, logits = read(llm, tokens, mask, place_together(LENGTHS, attention_cost=0))
        logits.square().mean().backward()
        results.append((logits, [one.grad for one in llm.parameters() if one.requires_grad]))
    torch.testing.assert_close(*results)


def test_heads_that_change_logits_are_known():
    assert [name for name in FAMILIES if not has_plain_head(build(name))] == ["gemma2", "granite"]
    assert not has_plain_head(build("bert", **DECODER))
    assert not has_plain_head(build("minicpm3", **_SHAPE, q_lora_rank=8, kv_lora_rank=8, dim_model_base=16))


@pytest.mark.parametrize("model_type", [*FAMILIES, "bert", "electra", "xlnet", "gpt_neox_japanese"])
def test_an_llm_that_sees_the_words_after_its_own_is_told_from_others(model_type):
    small = {**FAMILIES.get(model_type, _SHAPE), "pad_token_id": 0}
    if model_type == "xlnet":
        small = {"d_model": 32, "n_layer": 1, "n_head": 4, "d_head": 8, "d_inner": 48}
    llm = build_backbone(
        EncoderConfig(config={"model_type": model_type, **small}), role="causal", vocabulary_size=50
    ).eval()
    ids = torch.tensor([[5, 6, 7, 8], [5, 6, 7, 9]])
    with torch.no_grad():
        first, second = llm(input_ids=ids).logits[:, :3]
    sees_only_before = torch.allclose(first, second, atol=1e-6)
    assert is_causal(llm) == sees_only_before == (model_type not in ("bert", "electra", "xlnet"))


def test_a_bidirectional_llm_is_refused(stage1, llm_tokenizer):
    config = toy_config("finetune.llm.config={model_type: bert, hidden_size: 48, num_attention_heads: 4}")
    with pytest.raises(ConfigError, match=r"'bert' \(BertLMHeadModel\) reads in both directions.*is_decoder=true"):
        build_generator(config, stage1.model, stage1.perception, llm_tokenizer, OBSERVATIONS)


def test_an_llm_without_a_cache_to_write_with_is_refused(stage1, llm_tokenizer):
    values = "finetune.llm.config={model_type: openai-gpt, n_embd: 48, n_layer: 1, n_head: 4}"
    with pytest.raises(ConfigError, match=r"'openai-gpt' \(OpenAIGPTLMHeadModel\) has no cache of keys and values"):
        built(values, stage1, llm_tokenizer, "finetune.packing=false")
    llms = {name: build(name, **UNPACKABLE.get(name, {})).get_base_model() for name in (*FAMILIES, *UNPACKABLE)}
    assert [name for name, llm in llms.items() if not has_cache(llm)] == ["recurrent_gemma"]


def test_an_llm_with_too_few_positions_for_a_study_is_refused_when_it_is_built(stage1, llm_tokenizer):
    # 5 visual tokens of each of two views and 1 of the study, 3 clues, and the instruction
    values = "finetune.llm.config={model_type: gpt2, n_embd: 48, n_layer: 1, n_head: 4, n_positions: %d}"
    needed = r"GPT2LMHeadModel has 64 positions .* needs up to (\d+): (\d+) for images.* and 160 for its report"
    with pytest.raises(ConfigError, match=needed + r" \(finetune.max_report_tokens\); set .* at most") as caught:
        built(values % 64, stage1, llm_tokenizer)
    total, prefix = map(int, re.search(needed, str(caught.value)).groups())
    assert total == prefix + 160
    generator = built(values % total, stage1, llm_tokenizer)
    with pytest.raises(ConfigError, match=r"161 for its report \(generate.max_new_tokens\)"):
        next(write_drafts(generator, [], GenerateConfig(max_new_tokens=161)), None)
    with pytest.raises(
        ConfigError, match=r"max_views\), tell less of the study \(finetune\.max_context_tokens\), or take"
    ):
        built(values % total, stage1, llm_tokenizer, "finetune.context=[prior]")


def test_the_longest_study_and_report_fill_the_positions_of_the_llm(stage1, llm_tokenizer, rows):
    report = {"report": " ".join(["No pneumothorax."] * 100)}
    values = "finetune.llm.config={model_type: gpt2, n_embd: 48, n_layer: 1, n_head: 4}"
    model = built(values, stage1, llm_tokenizer)
    config = toy_config(values)
    longest = [{**row, **report, "sentences": []} for row in rows if len(row["views"]) == 2]
    batch = collate_finetune(longest, tokenizer=llm_tokenizer, observations=OBSERVATIONS, config=config, seed=0)
    assert model.prefix(batch).mask_BL.sum(1).max() == model.max_prefix_tokens
    assert batch.reports.mask_BT.sum(1).max() <= config.finetune.max_report_tokens


def built(values, stage1, llm_tokenizer, *more):
    config = toy_config(values, "finetune.hidden_share=0.0", *more)
    return build_generator(config, stage1.model, stage1.perception, llm_tokenizer, OBSERVATIONS).eval()


UNPACKABLE = {
    "recurrent_gemma": {**_SHAPE, "num_key_value_heads": 2, "lru_width": 32, "block_types": ["recurrent", "attention"]},
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
    "bert": DECODER,
    "opt": {**_SHAPE, "ffn_dim": 48, "word_embed_proj_dim": 32},
}


@pytest.mark.parametrize("model_type", UNPACKABLE)
def test_an_llm_that_is_not_all_attention_is_read_in_rows_of_its_own(model_type):
    llm = build(model_type, **UNPACKABLE[model_type]).eval()
    assert not can_pack(llm)
    tokens, mask = sequences()
    _, logits = read(llm, tokens, mask, place_apart(LENGTHS))
    alone = [llm(inputs_embeds=one[own][None]).logits[0] for one, own in zip(tokens, mask, strict=True)]
    torch.testing.assert_close(logits, torch.cat(alone))


def test_packing_is_refused_where_reports_would_mix(stage1, llm_tokenizer):
    config = toy_config("finetune.llm.config={model_type: bloom, hidden_size: 48, n_layer: 1, n_head: 4}")
    with pytest.raises(ConfigError, match=r"BloomForCausalLM.*set finetune\.packing=false"):
        build_generator(config, stage1.model, stage1.perception, llm_tokenizer, OBSERVATIONS)


def losses_and_gradients(stage1, llm_tokenizer, rows, *overrides):
    torch.manual_seed(0)
    config = toy_config("finetune.clue_dropout=0.3", "finetune.hidden_share=0.3", *overrides)
    model = build_generator(config, stage1.model, stage1.perception, llm_tokenizer, OBSERVATIONS).train()
    batch = collate_finetune(rows, tokenizer=llm_tokenizer, observations=OBSERVATIONS, config=config, seed=0)
    torch.manual_seed(1)
    output = model(batch)
    output.loss.backward()
    return output, {name: one.grad for name, one in model.named_parameters() if one.grad is not None}


def test_a_packed_step_has_the_loss_and_the_gradient_of_a_padded_one(stage1, llm_tokenizer, rows):
    # reports of one to three sentences; some studies without clues
    rows = [{**row, "report": row["report"] if n % 2 else row["sentences"][0]["text"]} for n, row in enumerate(rows)]
    packed, packed_grads = losses_and_gradients(stage1, llm_tokenizer, rows)
    padded, padded_grads = losses_and_gradients(stage1, llm_tokenizer, rows, "finetune.packing=false")
    assert packed.parts["padding"] < padded.parts["padding"] / 2
    torch.testing.assert_close(packed.loss, padded.loss)
    assert packed_grads.keys() == padded_grads.keys()
    for name, grad in packed_grads.items():
        torch.testing.assert_close(
            grad, padded_grads[name], rtol=1e-4, atol=1e-6, msg=lambda text, at=name: f"{at}: {text}"
        )


@pytest.mark.parametrize("train_mode", [True, False])
def test_folded_adapters_compute_what_adapters_compute(train_mode):
    plain, folded = (build("llama", rank=32, folds=folds).train(train_mode) for folds in (False, True))
    assert sum(isinstance(one, FoldedLinear) for one in folded.modules()) == 14
    assert not any(isinstance(one, FoldedLinear) for one in plain.modules())
    tokens, mask = sequences()
    results = []
    for llm in (plain, folded):
        states, logits = read(llm, tokens, mask, place_apart(LENGTHS))
        logits.square().mean().backward()
        results.append((states, [one.grad for one in llm.parameters() if one.requires_grad]))
    torch.testing.assert_close(results[0], results[1])


def test_adapters_of_a_low_rank_are_not_folded():
    assert not any(isinstance(one, FoldedLinear) for one in build("llama", rank=2, folds=True).modules())


def test_compiled_layers_compute_what_layers_compute():
    tokens, mask = sequences()
    results = []
    for compiles in (False, True):
        llm = build("qwen2").train()
        if compiles:
            torch._dynamo.reset()
            torch._dynamo.utils.counters.clear()
            assert compile_layers(llm, "aot_eager", has_fixed_sizes=False) == 2
        _, logits = read(llm, tokens, mask, place_together(LENGTHS, attention_cost=0))
        logits.square().mean().backward()
        results.append((logits, [one.grad for one in llm.parameters() if one.requires_grad]))
    torch.testing.assert_close(*results)
    counters = torch._dynamo.utils.counters
    assert counters["frames"]["ok"] == counters["frames"]["total"] > 0
    assert not counters["graph_break"]


def test_activations_are_computed_again_without_a_warning():
    config = EncoderConfig(config={"model_type": "llama", **FAMILIES["llama"]})
    llm = build_backbone(config, role="causal", vocabulary_size=50)
    layers = llm.model.layers
    assert not any(layer.gradient_checkpointing for layer in layers)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recompute_activations(llm)
    assert all(layer.gradient_checkpointing for layer in layers)


def test_an_llm_without_layers_to_adapt_and_an_unknown_compiler_are_errors_of_the_configuration() -> None:
    with pytest.raises(ConfigError, match="LlamaForCausalLM takes no adapters"):
        build("llama", num_hidden_layers=0)
    with pytest.raises(ConfigError, match=r"unknown engine\.compile_backend='indictor'; torch has .*inductor"):
        compile_layers(nn.Linear(2, 2), "indictor")


@pytest.mark.parametrize("model_type", ["llama", "gpt2"])
def test_a_rank_that_no_weight_can_use_is_refused_before_it_takes_memory(model_type):
    # the largest weights are 32 wide on one side
    assert build(model_type, rank=32)
    with pytest.raises(ConfigError, match=r"finetune\.lora\.rank=1000000000 is more than .*: set at most 32"):
        build(model_type, rank=10**9)
