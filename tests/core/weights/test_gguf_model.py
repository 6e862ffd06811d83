"""A tiny Llama written as GGUF here, and the folder made of it."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from trrg_core.weights.gguf_model import save_gguf_model

WIDTH, HIDDEN, HEADS, LAYERS = 32, 64, 2, 2
TOKENS = ["<unk>", "<s>", "</s>", *"abcdefgh", "ab", "\u0120"]


def write_gguf(path) -> None:
    gguf = pytest.importorskip("gguf")
    rng = np.random.default_rng(0)
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name("toy")
    writer.add_block_count(LAYERS)
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(TOKENS))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(TOKENS)
    writer.add_token_types([3, 3, 3] + [1] * (len(TOKENS) - 3))
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)

    def add(name: str, *shape: int) -> None:
        values = rng.normal(0, 0.1, shape).astype(np.float32) + (1 if len(shape) == 1 else 0)
        # as in the real file: norms as they are, matrices with four bits
        kind = None if len(shape) == 1 else gguf.GGMLQuantizationType.Q4_1
        writer.add_tensor(name, values if kind is None else gguf.quants.quantize(values, kind), raw_dtype=kind)

    add("token_embd.weight", len(TOKENS), WIDTH)
    add("output_norm.weight", WIDTH)
    for layer in range(LAYERS):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            add(f"blk.{layer}.{name}.weight", WIDTH, WIDTH)
        add(f"blk.{layer}.ffn_gate.weight", HIDDEN, WIDTH)
        add(f"blk.{layer}.ffn_up.weight", HIDDEN, WIDTH)
        add(f"blk.{layer}.ffn_down.weight", WIDTH, HIDDEN)
        add(f"blk.{layer}.attn_norm.weight", WIDTH)
        add(f"blk.{layer}.ffn_norm.weight", WIDTH)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_the_folder_computes_trains_saves_and_reloads(tmp_path):
    write_gguf(tmp_path / "toy.gguf")
    save_gguf_model(tmp_path / "toy.gguf", tmp_path / "model")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="toy.gguf")
    with pytest.raises(ValueError, match="not serializable"):
        loaded.save_pretrained(tmp_path / "refused")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model", use_safetensors=True)
    ids = torch.tensor([[1, 3, 4, 11]])
    with torch.no_grad():
        assert torch.equal(model(ids).logits, loaded(ids).logits)
    assert getattr(model.config, "quantization_config", None) is None

    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = model(ids, labels=ids).loss
    before.backward()
    optimizer.step()
    after = model(ids, labels=ids).loss
    assert after < before
    model.save_pretrained(tmp_path / "trained")
    trained = AutoModelForCausalLM.from_pretrained(tmp_path / "trained")
    assert torch.equal(trained(ids).logits, model(ids).logits)

    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert (
        tokenizer("abc")["input_ids"]
        == AutoTokenizer.from_pretrained(tmp_path, gguf_file="toy.gguf")("abc")["input_ids"]
    )
    assert tokenizer.eos_token == "</s>"
