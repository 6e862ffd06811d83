import pytest

from trrg_core.errors import ConfigError
from trrg_core.training.tokenization import decode_ids, encode_texts, load_tokenizer, pad_ids


def test_a_tokenizer_that_is_not_there_is_an_error_of_the_configuration(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot load the tokenizer of .*/nothing': expected a cached model, or"):
        load_tokenizer(str(tmp_path / "nothing"), [], vocabulary_size=300)


def test_special_tokens_in_a_report_lose_their_power(llm_tokenizer):
    ids = encode_texts(llm_tokenizer, ["No </s> effusion <pad>."], max_tokens=60, special_tokens=False)[0]
    assert llm_tokenizer.eos_token_id not in ids
    assert llm_tokenizer.pad_token_id not in ids
    assert decode_ids(llm_tokenizer, ids) == "No </s> effusion <pad>."


def test_padding_is_on_the_right_and_hidden_by_the_mask():
    ids, mask = pad_ids([[5, 6], [], [7]], pad_id=9)
    assert ids.tolist() == [[5, 6], [9, 9], [7, 9]]
    assert mask.tolist() == [[True, True], [False, False], [True, False]]
    assert pad_ids([[]], pad_id=9)[0].tolist() == [[9]]
    assert pad_ids([], pad_id=9)[0].shape == (0, 1)
