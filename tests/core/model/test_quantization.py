import pytest
import torch

from tests.core.toy_corpus import toy_config
from trrg_core.errors import ConfigError
from trrg_core.model import llm as llm_module
from trrg_core.model.llm import build_llm
from trrg_core.model.quantization import quantization_of

QLORA = (
    "finetune.lora.base=nf4",
    "finetune.lora.train_embeddings=false",
    "finetune.llm.pretrained=a/b",
    "engine.use_gpu=true",
    "engine.precision=bf16",
)


@pytest.fixture
def bitsandbytes(monkeypatch):
    """As if it were installed; only loading weights would use it."""
    monkeypatch.setattr("trrg_core.model.quantization.find_spec", lambda name: object())


def test_without_the_setting_nothing_is_quantised():
    assert quantization_of(toy_config()) is None


@pytest.mark.usefixtures("bitsandbytes")
def test_four_bits_are_nf4_with_quantised_scales():
    found = quantization_of(toy_config(*QLORA))
    assert (found.load_in_4bit, found.bnb_4bit_quant_type, found.bnb_4bit_use_double_quant) == (True, "nf4", True)
    assert found.bnb_4bit_compute_dtype == torch.bfloat16


@pytest.mark.usefixtures("bitsandbytes")
@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("engine.use_gpu=false", "needs a GPU: set engine.use_gpu=true"),
        ("engine.zero_stage=3", "excludes ZeRO-3"),
        ("finetune.lora.train_embeddings=true", "keeps the embeddings as they are: set finetune.lora.train_embeddings"),
        ("finetune.llm.pretrained=''", "needs a pretrained LLM"),
    ],
)
def test_what_excludes_four_bits_is_named(setting, reason):
    with pytest.raises(ConfigError, match=f"finetune.lora.base=nf4 {reason}"):
        quantization_of(toy_config(*QLORA, setting))


def test_a_missing_bitsandbytes_is_one_line_with_what_installs_it(monkeypatch):
    monkeypatch.setattr("trrg_core.model.quantization.find_spec", lambda name: None)
    expected = r"^finetune\.lora\.base=nf4 needs bitsandbytes: pip install 'bitsandbytes>=0\.46'$"
    with pytest.raises(ConfigError, match=expected):
        quantization_of(toy_config(*QLORA))


@pytest.mark.usefixtures("bitsandbytes")
def test_the_llm_is_loaded_in_four_bits_and_its_adapters_are_not_folded(monkeypatch, llm_tokenizer):
    calls, real = [], llm_module.build_backbone

    def build(encoder, *, quantization, **options):
        calls.append(quantization)
        return real(toy_config().finetune.llm, **options)

    monkeypatch.setattr(llm_module, "build_backbone", build)
    wrapped = build_llm(toy_config(*QLORA), llm_tokenizer)
    build_llm(toy_config(*QLORA), llm_tokenizer, weights="random")  # a copy without weights, to be saved
    assert [None if one is None else one.load_in_4bit for one in calls] == [True, None]
    assert "FoldedLinear" not in {type(one).__name__ for one in wrapped.modules()}
    assert "FoldedLinear" in {type(one).__name__ for one in build_llm(toy_config(), llm_tokenizer).modules()}
