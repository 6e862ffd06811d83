from trrg_core.training.tokenization import decode_ids, encode_texts, pad_ids


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
