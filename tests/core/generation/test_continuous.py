"""Continuous batching against `generate` of transformers, and what it reads on the way."""

from types import SimpleNamespace

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

from tests.core.toy_corpus import OBSERVATIONS, toy_config, toy_rows
from trrg_core.generation.continuous import DecodingLimits, Prompt, continue_prompts
from trrg_core.generation.next_token import TokenChoice
from trrg_core.training.collate import collate_images

MAX_TOKENS = 40


class RecordingLlm:
    """An LLM that notes the number of rows and columns of each call."""

    def __init__(self, llm):
        self.llm, self.calls = llm, []

    def __call__(self, **inputs):
        given = inputs.get("inputs_embeds", inputs.get("input_ids"))
        self.calls.append(
            SimpleNamespace(rows=given.shape[0], columns=given.shape[1], of_prefix="inputs_embeds" in inputs)
        )
        return self.llm(**inputs)


@pytest.fixture(scope="module")
def study_prompts(stage2):
    rows = toy_rows(9)
    batch = collate_images(rows, observations=OBSERVATIONS, config=toy_config().pretrain)
    with torch.no_grad():
        prefix = stage2.model.prefix(batch)
    streams = [own[mask] for own, mask in zip(prefix.embeddings_BLH, prefix.mask_BL, strict=True)]
    return [Prompt(study_id=row["study_id"], streams=(own,)) for row, own in zip(rows, streams, strict=True)]


@pytest.fixture(scope="module")
def llm(stage2):
    return stage2.model.llm


@pytest.fixture(scope="module")
def end_id(stage2):
    return stage2.model.tokenizer.eos_token_id


@torch.no_grad()
def generated(llm, prompt, end_id, max_tokens=MAX_TOKENS):
    """The tokens of the library, with their end token."""
    settings = GenerationConfig(
        do_sample=False, max_new_tokens=max_tokens, pad_token_id=0, bos_token_id=1, eos_token_id=end_id
    )
    return tuple(llm.generate(inputs_embeds=prompt.streams[0][None], generation_config=settings)[0].tolist())


def continued(llm, prompts, end_id, *, places, drafts=1, max_tokens=MAX_TOKENS, choice=None):
    limits = DecodingLimits(num_places=places, num_drafts=drafts, max_new_tokens=max_tokens, end_id=end_id)
    found = list(continue_prompts(llm, prompts, choice or TokenChoice(), limits))
    return {(one.index, one.draft): one for one in found}


@pytest.mark.parametrize("places", [1, 4, 64])
def test_greedy_texts_have_the_tokens_of_the_library_study_by_study(places, llm, study_prompts, end_id):
    found = continued(llm, study_prompts, end_id, places=places)
    expected = {(index, 0): generated(llm, prompt, end_id) for index, prompt in enumerate(study_prompts)}
    assert {key: one.ids for key, one in found.items()} == expected
    assert len({len(ids) for ids in expected.values()}) > 1


def test_texts_are_cut_at_the_limit(llm, study_prompts, end_id):
    found = continued(llm, study_prompts, end_id, places=4, max_tokens=3)
    assert [found[index, 0].ids for index in range(9)] == [
        generated(llm, prompt, end_id, 3) for prompt in study_prompts
    ]


def test_a_text_that_has_ended_is_not_read_any_more(llm, study_prompts, end_id):
    recording = RecordingLlm(llm)
    found = continued(recording, study_prompts, end_id, places=64)
    (prefill, *steps) = recording.calls
    assert (prefill.rows, prefill.of_prefix) == (9, True)
    # the last token of a text is never read
    assert sum(call.rows for call in steps) == sum(len(one.ids) - 1 for one in found.values())
    assert steps[0].rows > steps[-1].rows


def test_waiting_prompts_take_the_places_of_ended_texts(llm, study_prompts, end_id):
    recording, taken = RecordingLlm(llm), []

    def noted():
        for prompt in study_prompts:
            taken.append(len(recording.calls))
            yield prompt

    continued(recording, noted(), end_id, places=4)
    assert [at for at in taken if at == 0] == [0] * 4
    assert len(taken) == 9
    assert max(call.rows for call in recording.calls) == 4
    refills = [at for at, call in enumerate(recording.calls) if call.of_prefix]
    assert len(refills) > 1
    # texts of the first study_prompts went on beside the new ones
    assert recording.calls[refills[1] + 1].rows > recording.calls[refills[1]].rows


def test_the_drafts_of_a_study_share_one_prefix(llm, study_prompts, end_id):
    recording = RecordingLlm(llm)
    found = continued(recording, study_prompts[:3], end_id, places=64, drafts=5)
    (prefill, *steps) = recording.calls
    assert (prefill.rows, steps[0].rows) == (3, 15)
    for index, prompt in enumerate(study_prompts[:3]):
        assert found[index, 0].ids == generated(llm, prompt, end_id)


@pytest.mark.parametrize("places", [5, 64])
def test_a_sampled_draft_does_not_depend_on_its_neighbours(places, llm, study_prompts, end_id):
    bold = TokenChoice(temperature=1.5)
    together = continued(llm, study_prompts, end_id, places=places, drafts=4, choice=bold)
    for index, prompt in enumerate(study_prompts):
        alone = continued(llm, [prompt], end_id, places=1, drafts=4, choice=bold)
        assert [alone[0, draft].ids for draft in range(4)] == [together[index, draft].ids for draft in range(4)]
    assert len({one.ids for one in together.values()}) > 2 * len(study_prompts)


LAYOUTS = {
    "sliding windows": {"model_type": "mistral", "sliding_window": 6, "num_attention_heads": 4},
    "recurrent": {"model_type": "lfm2", "layer_types": ["conv", "full_attention"], "num_attention_heads": 4},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_other_caches_are_filled_anew_when_all_texts_have_ended(layout):
    values = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_key_value_heads": 4}
    torch.manual_seed(3)
    config = AutoConfig.for_model(**LAYOUTS[layout], **values, vocab_size=40, pad_token_id=0)
    llm = AutoModelForCausalLM.from_config(config).eval()
    prompts = [Prompt(study_id=str(n), streams=(torch.randn(length, 32),)) for n, length in enumerate((9, 9, 9, 9, 9))]
    end_id = generated(llm, prompts[0], 99, 9)[4]
    recording = RecordingLlm(llm)
    found = continued(recording, prompts, end_id, places=2, drafts=1, max_tokens=12)
    expected = [generated(llm, prompt, end_id, 12) for prompt in prompts]
    assert [found[index, 0].ids for index in range(5)] == expected
    prefills = [call.rows for call in recording.calls if call.of_prefix]
    assert prefills == [2, 2, 1]
    two = continued(llm, prompts[:1], end_id, places=2, drafts=2, max_tokens=12)
    assert two[0, 0].ids == expected[0]


def test_no_prompt_gives_no_text(llm, end_id):
    assert continued(llm, [], end_id, places=4) == {}
