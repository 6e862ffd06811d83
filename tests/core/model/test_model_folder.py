import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.core.toy_corpus import OBSERVATIONS
from tests.core.toy_model import draw_adapters, named_llm_model
from trrg_core.errors import ConfigError
from trrg_core.imaging.usual_images import learn_usual_images
from trrg_core.model.generator import build_generator
from trrg_core.model.manifest import write_manifest
from trrg_core.model.model_folder import (
    load_contrastive_folder,
    load_model_folder,
    save_contrastive_folder,
    save_model_folder,
    take_weights,
)
from trrg_core.model.perception import perceive
from trrg_core.training.collate import collate_finetune, collate_images

FRESH = """
import sys, torch
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from tests.core.toy_corpus import OBSERVATIONS, toy_rows
from trrg_core.training.collate import collate_finetune
from trrg_core.model.model_folder import load_model_folder
torch.set_num_threads(1)
loaded = load_model_folder(Path(sys.argv[1]))
model = loaded.generator
batch = collate_finetune(toy_rows(3), tokenizer=model.tokenizer, observations=loaded.observations,
                         config=loaded.config, seed=0)
with torch.no_grad():
    reading, _ = model._read(model.prefix(batch), batch.reports)
    logits = reading.head(reading.before_head)
torch.save(logits, sys.argv[3])
"""


@pytest.fixture(scope="module")
def folder(stage2, text_tokenizer, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "model"
    save_model_folder(path, config=stage2.config, generator=stage2.model, text_tokenizer=text_tokenizer)
    return path


@torch.no_grad()
def logits_of(model, rows, config):
    batch = collate_finetune(rows, tokenizer=model.tokenizer, observations=OBSERVATIONS, config=config, seed=0)
    reading, _ = model.eval()._read(model.prefix(batch), batch.reports)
    return reading.head(reading.before_head)


def test_a_fresh_process_gives_identical_logits(folder, stage2, rows, tmp_path):
    out = tmp_path / "logits.pt"
    here = str(__import__("pathlib").Path(__file__).parents[3])
    subprocess.run([sys.executable, "-c", FRESH, str(folder), here, str(out)], check=True, timeout=120)
    assert torch.equal(torch.load(out, weights_only=True), logits_of(stage2.model, rows[:3], stage2.config))


def test_the_folder_holds_plain_files_only(folder):
    assert {path.suffix for path in folder.rglob("*") if path.is_file()} == {".json", ".safetensors"}
    assert json.loads((folder / "perception.json").read_text())["observations"].keys() == set(OBSERVATIONS)


def copy_of(folder, tmp_path):
    import shutil

    return shutil.copytree(folder, tmp_path / "copy")


def test_a_pickle_is_refused_even_when_the_manifest_names_it(folder, tmp_path):
    copy = copy_of(folder, tmp_path)
    (copy / "model.safetensors").unlink()
    (copy / "pytorch_model.bin").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ConfigError, match=r"pytorch_model\.bin is refused"):
        load_model_folder(copy)


def test_a_changed_file_is_refused(folder, tmp_path):
    copy = copy_of(folder, tmp_path)
    with (copy / "config.json").open("a") as file:
        file.write(" ")
    with pytest.raises(ConfigError, match=r"config\.json was changed"):
        load_model_folder(copy)


def test_a_missing_or_added_file_is_refused(folder, tmp_path):
    copy = copy_of(folder, tmp_path)
    (copy / "more.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"more\.json is not in the manifest"):
        load_model_folder(copy)
    (copy / "more.json").unlink()
    (copy / "perception.json").unlink()
    with pytest.raises(ConfigError, match=r"perception\.json is missing"):
        load_model_folder(copy)


def test_a_folder_without_a_manifest_is_unfinished(folder, tmp_path):
    copy = copy_of(folder, tmp_path)
    (copy / "manifest.json").unlink()
    with pytest.raises(ConfigError, match="not a finished model folder"):
        load_model_folder(copy)


@pytest.mark.parametrize(
    ("file", "keys", "value", "message"),
    [
        ("config.json", ["architectures"], None, r"config\.json: architectures: field required"),
        ("config.json", ["architectures", "image_encoder"], None, r"architectures\.image_encoder: field required"),
        ("config.json", ["observations"], None, "observations: field required"),
        ("config.json", ["observations"], [], "observations: list should have at least 1 item"),
        ("config.json", ["trrg"], None, "trrg: field required"),
        ("config.json", ["origins"], [], "origins: input should be a valid dictionary"),
        ("config.json", ["architectures", "text_encoder", "hidden_act"], "no", "'bert' cannot be built"),
        ("config.json", ["architectures", "text_encoder", "hidden_size"], 16, "weights do not fit .* size mismatch"),
        ("perception.json", ["observations"], None, r"perception\.json cannot be read as calibrations: KeyError"),
        ("perception.json", ["operating_points"], [1], r"perception\.json cannot be read as calibrations: TypeError"),
    ],
)
def test_a_part_that_is_missing_or_of_another_kind_is_named(folder, tmp_path, file, keys, value, message):
    copy = copy_of(folder, tmp_path)
    values = json.loads((copy / file).read_text())
    place = values
    for key in keys[:-1]:
        place = place[key]
    place.pop(keys[-1])
    if value is not None:
        place[keys[-1]] = value
    (copy / file).write_text(json.dumps(values))
    write_manifest(copy)
    with pytest.raises(ConfigError, match=message):
        load_model_folder(copy)


def test_how_images_usually_look_comes_back_and_is_named_where_it_is_damaged(stage2, text_tokenizer, tmp_path):
    images = np.random.default_rng(0).normal(size=(120, 256)).astype(np.float32)
    perception = stage2.model.perception
    perception.usual_images = learn_usual_images(images, images)
    try:
        save_model_folder(
            tmp_path / "model", config=stage2.config, generator=stage2.model, text_tokenizer=text_tokenizer
        )
        expected = perception.usual_images.tensors()
    finally:
        perception.usual_images = None
    loaded = load_model_folder(tmp_path / "model").generator.perception.usual_images
    for name, array in loaded.tensors().items():
        assert np.array_equal(array, expected[name])
    path = tmp_path / "model" / "usual_images.safetensors"
    path.write_bytes(path.read_bytes().replace(b"spread_K", b"spread_X"))
    write_manifest(tmp_path / "model")
    with pytest.raises(ConfigError, match=r"usual_images\.safetensors cannot be read .*spread_K is missing"):
        load_model_folder(tmp_path / "model")


def test_stage_one_comes_back_as_it_went(stage1, text_tokenizer, rows, tmp_path):
    save_contrastive_folder(
        tmp_path / "one",
        config=stage1.config,
        contrastive=stage1.model,
        perception=stage1.perception,
        tokenizer=text_tokenizer,
    )
    loaded = load_contrastive_folder(tmp_path / "one")
    batch = collate_images(rows, observations=OBSERVATIONS, config=stage1.config.pretrain)
    before = perceive(stage1.model, stage1.perception, batch)
    after = perceive(loaded.contrastive, loaded.perception, batch)
    assert torch.equal(before.logit_BO, after.logit_BO)
    assert loaded.perception.calibrations == stage1.perception.calibrations
    with pytest.raises(ConfigError, match="expected a generator of format 2, found 'contrastive' of format 2"):
        load_model_folder(tmp_path / "one")


def test_a_gathered_state_is_saved_by_an_untrained_copy(stage1, stage2, text_tokenizer, llm_tokenizer, rows, tmp_path):
    state = {**stage2.model.state_dict(), "a.cache": torch.zeros(1)}
    with torch.device("meta"):
        untrained = build_generator(stage2.config, stage1.model, stage1.perception, llm_tokenizer, OBSERVATIONS)
    folder = tmp_path / "model"
    save_model_folder(folder, config=stage2.config, generator=untrained, text_tokenizer=text_tokenizer, state=state)
    loaded = load_model_folder(folder).generator
    assert torch.equal(logits_of(loaded, rows[:2], stage2.config), logits_of(stage2.model, rows[:2], stage2.config))


def test_missing_weights_are_named(stage1):
    state = dict(stage1.model.state_dict())
    del state["log_scale"]
    with pytest.raises(ConfigError, match="log_scale"):
        take_weights(stage1.model, state)


def test_a_named_llm_is_saved_as_adapters_only(stage1, text_tokenizer, llm_tokenizer, rows, tmp_path):
    config, model = named_llm_model(tmp_path / "base", stage1, llm_tokenizer)
    draw_adapters(model)
    save_model_folder(tmp_path / "model", config=config, generator=model, text_tokenizer=text_tokenizer)
    assert (tmp_path / "model/adapter/adapter_model.safetensors").is_file()
    from safetensors import safe_open

    with safe_open(tmp_path / "model/model.safetensors", "pt") as file:
        assert not [name for name in file.keys() if name.startswith("llm.")]  # noqa: SIM118
    loaded = load_model_folder(tmp_path / "model").generator
    assert torch.equal(logits_of(loaded, rows[:2], config), logits_of(model, rows[:2], config))
    AutoModelForCausalLM.from_config(model.llm.get_base_model().config).save_pretrained(tmp_path / "base")
    with pytest.raises(ConfigError, match="not those that the adapters were trained on"):
        load_model_folder(tmp_path / "model")


def test_a_named_llm_is_saved_without_its_base_by_a_copy_without_weights(
    stage1, text_tokenizer, llm_tokenizer, rows, tmp_path
):
    config, model = named_llm_model(tmp_path / "base", stage1, llm_tokenizer)
    state = {
        name: value for name, value in model.state_dict().items() if not name.startswith("llm.") or "lora_" in name
    }
    with torch.device("meta"):
        empty = build_generator(config, stage1.model, stage1.perception, llm_tokenizer, OBSERVATIONS, weights="random")
    parts = {"config": config, "generator": empty, "text_tokenizer": text_tokenizer}
    save_model_folder(tmp_path / "model", **parts, state=state)
    loaded = load_model_folder(tmp_path / "model").generator
    assert torch.equal(logits_of(loaded, rows[:2], config), logits_of(model, rows[:2], config))
    (lora, *_) = [name for name in state if "lora_A" in name]
    del state[lora]
    with pytest.raises(ConfigError, match="weights are missing: 1"):
        save_model_folder(tmp_path / "other", **parts, state=state)


def test_a_pretrained_backbone_keeps_what_was_not_trained(stage1):
    linear = torch.nn.Linear(2, 2)
    linear.name_or_path = "somewhere"
    module = torch.nn.Sequential(linear, torch.nn.Linear(2, 1))
    linear.weight.requires_grad_(False)
    before = linear.weight.clone()
    state = {name: value + 1 for name, value in module.state_dict().items()}
    del state["0.weight"]
    take_weights(module, state)
    assert torch.equal(linear.weight, before)
    assert torch.equal(module[1].weight, state["1.weight"])
    del state["0.bias"]
    with pytest.raises(ConfigError, match=r"0\.bias"):
        take_weights(module, state)


def test_files_that_are_never_read_do_not_stay(tmp_path):
    (tmp_path / "README.md").write_text("left behind by a library")
    (tmp_path / "config.json").write_text("{}")
    write_manifest(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "manifest.json"]
