"""The weights that `trrg weights` made on this machine, on sentences and a photograph; skipped without them."""

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForImageClassification, AutoTokenizer

from trrg_core.config.weights_cache import weights_cache

pytestmark = pytest.mark.slow

PALACE = 698  # of ImageNet-1k


def folder_of(name: str) -> str:
    folder = weights_cache() / name
    if not folder.is_dir():
        pytest.skip(f"no weights {name} on this machine: run `make weights`")
    return str(folder)


def test_the_image_encoder_knows_a_palace():
    from PIL import Image
    from sklearn.datasets import load_sample_image

    model = AutoModelForImageClassification.from_pretrained(folder_of("efficientnet-lite0")).eval()
    photograph = Image.fromarray(load_sample_image("china.jpg")).crop((106, 0, 533, 427)).resize((224, 224))
    pixels = torch.from_numpy((np.asarray(photograph, dtype=np.float32) - 127) / 128).permute(2, 0, 1)[None]
    with torch.no_grad():
        assert model(pixels).logits.argmax().item() == PALACE


def test_the_sentence_encoder_has_its_published_similarities():
    # the example on the model's page: sentence-transformers/all-MiniLM-L6-v2
    texts = ["That is a happy person", "That is a happy dog", "That is a very happy person", "Today is a sunny day"]
    folder = folder_of("all-minilm-l6-v2")
    encoded = AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        states = AutoModel.from_pretrained(folder).eval()(**encoded).last_hidden_state
    weight = encoded["attention_mask"][..., None]
    vectors = torch.nn.functional.normalize((states * weight).sum(1) / weight.sum(1), dim=-1)
    torch.testing.assert_close((vectors @ vectors.T)[0, 1:], torch.tensor([0.695, 0.943, 0.257]), atol=1e-3, rtol=0)


def test_the_language_model_knows_english():
    folder = folder_of("smollm2-135m")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    text = "The heart is a muscle that pumps blood through the body, and the lungs take oxygen from the air."
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        assert model(ids, labels=ids).loss.exp().item() < 20
        prompt = tokenizer("The capital of France is", return_tensors="pt")
        assert "Paris" in tokenizer.decode(model.generate(**prompt, max_new_tokens=3, do_sample=False)[0])
