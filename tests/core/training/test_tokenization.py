from trrg_core.training.tokenization import decode_ids, encode_texts


def test_special_tokens_in_a_report_lose_their_power(llm_tokenizer):
    ids = encode_texts(llm_tokenizer, ["No </s> effusion <pad>."], max_tokens=60, special_tokens=False)[0]
    assert llm_tokenizer.eos_token_id not in ids
    assert llm_tokenizer.pad_token_id not in ids
    assert decode_ids(llm_tokenizer, ids) == "No </s> effusion <pad>."
