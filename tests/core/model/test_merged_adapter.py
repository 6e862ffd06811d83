"""An adapter added to the weights of the LLM: the same logits but for rounding, with fewer products."""

import pytest
import torch

from tests.core.toy_corpus import OBSERVATIONS, toy_config
from tests.core.toy_model import draw_adapters, named_llm_model
from trrg_core.config.settings import GenerateConfig
from trrg_core.errors import ConfigError
from trrg_core.generation.decoding import generate_reports
from trrg_core.model.adapters import merge_adapters
from trrg_core.model.generator import build_generator
from trrg_core.model.model_folder import load_model_folder, save_model_folder
from trrg_core.training.collate import collate_images

SHORT = GenerateConfig(max_new_tokens=40)


@torch.no_grad()
def logits_of(model, rows, config):
    batch = collate_images(rows, observations=OBSERVATIONS, config=config.pretrain)
    prefix = model.eval().prefix(batch)
    mask = prefix.mask_BL.long()
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    return model.llm(inputs_embeds=prefix.embeddings_BLH, attention_mask=mask, position_ids=positions).logits[mask > 0]


def adapters_of(model):
    return [name for name, _ in model.named_parameters() if "lora_" in name]


def test_merged_weights_write_the_same_reports(stage2, text_tokenizer, rows, tmp_path):
    save_model_folder(tmp_path / "model", config=stage2.config, generator=stage2.model, text_tokenizer=text_tokenizer)
    apart = load_model_folder(tmp_path / "model").generator
    merged = load_model_folder(tmp_path / "model", merge_adapter=True).generator
    assert adapters_of(apart)
    assert not adapters_of(merged)
    expected = logits_of(apart, rows[:4], stage2.config)
    torch.testing.assert_close(logits_of(merged, rows[:4], stage2.config), expected, atol=1e-4, rtol=1e-4)
    with apart.llm.disable_adapter():  # the adapter matters
        assert (logits_of(apart, rows[:4], stage2.config) - expected).abs().max() > 0.1
    batch = collate_images(rows, observations=OBSERVATIONS, config=stage2.config.pretrain)
    texts = [[one.text for one in generate_reports(model, batch, SHORT)] for model in (apart, merged)]
    assert texts[0] == texts[1]
    for model in (apart, merged):
        with pytest.raises(ConfigError, match=r"LlamaForCausalLM has \d+ positions .*set generate\.max_new_tokens to"):
            generate_reports(model, batch, GenerateConfig(max_new_tokens=100_000))


def test_the_adapter_of_a_named_llm_is_merged(stage1, text_tokenizer, llm_tokenizer, rows, tmp_path):
    config, model = named_llm_model(tmp_path / "base", stage1, llm_tokenizer)
    draw_adapters(model)
    save_model_folder(tmp_path / "model", config=config, generator=model, text_tokenizer=text_tokenizer)
    merged = load_model_folder(tmp_path / "model", merge_adapter=True).generator
    assert not adapters_of(merged)
    torch.testing.assert_close(
        logits_of(merged, rows[:2], config), logits_of(model, rows[:2], config), atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("is_quantized", [True, False])
def test_a_quantised_llm_keeps_its_adapters(is_quantized, stage1, llm_tokenizer):
    model = build_generator(toy_config(), stage1.model, stage1.perception, llm_tokenizer, OBSERVATIONS)
    model.llm.get_base_model().is_quantized = is_quantized
    kept = [name for name, _ in merge_adapters(model.llm).named_parameters() if "lora_" in name]
    assert bool(kept) == is_quantized
