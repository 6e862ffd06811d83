import json
from dataclasses import replace

import pytest
import torch

from tests.core.toy_corpus import OBSERVATIONS, toy_config, toy_texts
from trrg_core.config.load import load_config
from trrg_core.config.settings import GenerateConfig
from trrg_core.errors import ConfigError
from trrg_core.generation.decoding import generate_reports
from trrg_core.model.generator import build_generator
from trrg_core.model.instruction import context_texts, encode_instruction, instruction_text
from trrg_core.model.model_folder import load_model_folder, save_model_folder
from trrg_core.training.collate import collate_finetune, collate_images
from trrg_core.training.tokenization import train_tokenizer

CHAT = (
    "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}]{{ m['content'] | trim }}{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


@pytest.fixture
def chat_tokenizer():
    tokenizer = train_tokenizer(toy_texts(), vocabulary_size=600)
    tokenizer.chat_template = CHAT
    return tokenizer


def texts_of(tokenizer, instruction):
    return [tokenizer.decode(ids).strip() for ids in instruction]


def test_the_template_surrounds_what_the_llm_sees(chat_tokenizer):
    instruction = encode_instruction(chat_tokenizer, "Write.", chat_template=True)
    assert texts_of(chat_tokenizer, instruction) == ["<s> [user]", "Write.", "[assistant]"]
    assert instruction.before[0] == chat_tokenizer.bos_token_id


def test_without_a_template_only_the_instruction_comes_after_the_clues(chat_tokenizer):
    off = encode_instruction(chat_tokenizer, "Write.", chat_template=False)
    chat_tokenizer.chat_template = None
    none = encode_instruction(chat_tokenizer, "Write.", chat_template=True)
    assert off == none
    assert texts_of(chat_tokenizer, none) == ["", "<s> Write.", ""]


@pytest.mark.parametrize(
    ("template", "found"),
    [("hello", "it showed that 0 times"), ("{{ messages[0]['content'] * 2 }}", "2 times"), ("{{ f( }}", "SyntaxError")],
)
def test_a_template_that_cannot_hold_the_visual_tokens_is_refused(chat_tokenizer, template, found):
    chat_tokenizer.chat_template = template
    with pytest.raises(ConfigError, match=rf"{found}.*set finetune\.chat_template=false"):
        encode_instruction(chat_tokenizer, "Write.", chat_template=True)


def test_the_instruction_names_the_section():
    texts = [instruction_text(toy_config(f"shard.section={name}")) for name in ("findings", "findings+impression")]
    assert texts == [
        "Write the findings of this chest radiograph.",
        "Write the findings and impression of this chest radiograph.",
    ]
    assert instruction_text(toy_config("finetune.prompt=Describe it.")) == "Describe it."


def test_clue_words_stand_inside_the_message(stage1, chat_tokenizer, rows):
    config = toy_config("finetune.clue_text=true")
    model = build_generator(config, stage1.model, stage1.perception, chat_tokenizer, OBSERVATIONS).eval()
    batch = collate_finetune(rows[:2], tokenizer=chat_tokenizer, observations=OBSERVATIONS, config=config, seed=0)
    with torch.no_grad():
        prefix = model.prefix(batch)
        embed = model.llm.get_input_embeddings()
        torch.testing.assert_close(
            prefix.embeddings_BLH[:, -len(model.after_ids) :], embed(model.after_ids).expand(2, -1, -1)
        )
    longest = int(prefix.mask_BL.sum(1).argmax())
    torch.testing.assert_close(prefix.embeddings_BLH[longest, : len(model.before_ids)], embed(model.before_ids))


def test_the_instruction_tells_what_is_known_of_a_study(stage1, chat_tokenizer, rows):
    config = toy_config("finetune.context=[indication,prior]")
    model = build_generator(config, stage1.model, stage1.perception, chat_tokenizer, OBSERVATIONS).eval()
    given = [
        rows[0] | {"indication": "Cough.", "prior_report": "Clear lungs."},
        rows[1] | {"indication": "", "prior_report": None},
    ]
    batch = collate_images(given, observations=OBSERVATIONS, config=config.pretrain)
    assert context_texts(batch, ("indication", "prior")) == [" Indication: Cough. Earlier report: Clear lungs.", ""]
    assert context_texts(batch, ("prior",)) == [" Earlier report: Clear lungs.", ""]
    assert context_texts(replace(batch, indications=(), prior_reports=()), ("indication", "prior")) == ["", ""]
    with torch.no_grad():
        plain = model.prefix(replace(batch, indications=(), prior_reports=()))
        prefix = model.prefix(batch)
    words = chat_tokenizer(" Indication: Cough. Earlier report: Clear lungs.", add_special_tokens=False)["input_ids"]
    assert (prefix.mask_BL.sum(1) - plain.mask_BL.sum(1)).tolist() == [len(words), 0]
    # before the end of the message, after the instruction
    end = prefix.embeddings_BLH[0, -len(model.after_ids) - len(words) : -len(model.after_ids)]
    torch.testing.assert_close(end, model.llm.get_input_embeddings()(torch.tensor(words)))
    torch.testing.assert_close(prefix.embeddings_BLH[1, -plain.mask_BL.shape[1] :], plain.embeddings_BLH[1])


def test_training_hides_the_context_of_some_studies(stage1, chat_tokenizer, rows):
    config = toy_config("finetune.context=[indication]", "finetune.context_dropout=1")
    model = build_generator(config, stage1.model, stage1.perception, chat_tokenizer, OBSERVATIONS)
    given = [row | {"indication": "Cough."} for row in rows[:4]]
    batch = collate_images(given, observations=OBSERVATIONS, config=config.pretrain)
    with torch.no_grad():
        hidden, shown = (model.train(mode).prefix(batch).mask_BL.sum(1) for mode in (True, False))
    assert (shown > hidden).all()


def test_a_model_folder_keeps_the_template_and_writes_the_same(stage1, chat_tokenizer, text_tokenizer, rows, tmp_path):
    config = toy_config()
    torch.manual_seed(0)
    model = build_generator(config, stage1.model, stage1.perception, chat_tokenizer, OBSERVATIONS).eval()
    save_model_folder(tmp_path / "model", config=config, generator=model, text_tokenizer=text_tokenizer)
    stored = json.loads((tmp_path / "model" / "llm_tokenizer" / "tokenizer_config.json").read_text())
    assert stored["chat_template"] == CHAT
    loaded = load_model_folder(tmp_path / "model").generator
    assert len(loaded.before_ids) > 0
    batch = collate_finetune(rows[:3], tokenizer=chat_tokenizer, observations=OBSERVATIONS, config=config, seed=0)
    texts = [
        [one.text for one in generate_reports(own, batch, GenerateConfig(max_new_tokens=8))] for own in (model, loaded)
    ]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("preset", ["small", "base"])
def test_presets_with_a_real_llm_have_room_for_long_reports(preset):
    config = load_config(preset)
    assert min(config.finetune.max_report_tokens, config.generate.max_new_tokens) >= 256
