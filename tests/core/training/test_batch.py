from tests.core.toy_corpus import OBSERVATIONS, toy_config
from trrg_core.training.collate import collate_finetune


def test_a_batch_moves_as_a_whole(rows, llm_tokenizer):
    batch = collate_finetune(rows[:1], tokenizer=llm_tokenizer, observations=OBSERVATIONS, config=toy_config(), seed=0)
    moved = batch.to("meta")
    assert moved.pixels_BVHW.is_meta
    assert moved.reports.ids_BT.is_meta
    assert moved.study_ids == batch.study_ids
