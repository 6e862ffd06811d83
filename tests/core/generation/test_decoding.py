import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from tests.core.toy_corpus import OBSERVATIONS, toy_config
from trrg_core.config.settings import GenerateConfig
from trrg_core.generation.decoding import encode_studies, generate_reports, write_reports
from trrg_core.generation.drafts import _SampleRows, write_drafts
from trrg_core.generation.given_clues import GivenClue
from trrg_core.model.model_folder import LoadedGenerator
from trrg_core.training.batch import Reports
from trrg_core.training.collate import collate_images
from trrg_core.training.tokenization import encode_texts, pad_ids

CONFIG = GenerateConfig(candidates=5, temperature=1.5, min_share=0.0, max_new_tokens=40)


def images_of(rows):
    return collate_images(rows, observations=OBSERVATIONS, config=toy_config().pretrain)


@pytest.fixture(scope="module")
def loaded(stage2) -> LoadedGenerator:
    return LoadedGenerator(config=stage2.config, generator=stage2.model, text_tokenizer=None)


def drafts_of(model, rows, count: int = 4, temperature: float = 1.5):
    batch = images_of(rows)
    with torch.no_grad():
        prefix = model.prefix(batch)
    settings = {"count": count, "temperature": temperature, "min_share": 0.0, "max_new_tokens": 40}
    return write_drafts(model, prefix, batch.study_ids, **settings)


def test_the_first_draft_is_the_greedy_report(stage2, rows):
    greedy = [report.text for report in generate_reports(stage2.model, images_of(rows), max_new_tokens=40)]
    assert [some[0].text for some in drafts_of(stage2.model, rows)] == greedy


def test_a_draft_depends_on_its_study_and_number_alone(stage2, rows):
    together = drafts_of(stage2.model, rows)
    assert together == drafts_of(stage2.model, rows)
    texts = [[draft.text for draft in some] for some in together]
    alone = [[draft.text for draft in drafts_of(stage2.model, [row], count=3)[0]] for row in rows]
    assert alone == [some[:3] for some in texts]
    assert len({text for some in texts for text in some[1:]}) > len(rows)


def test_a_drafts_log_probability_is_that_of_teacher_forcing(stage2, rows):
    # a bold draft may spell a word in other tokens than the tokenizer would, so only greedy ones are read again
    batch = images_of(rows)
    for index, (greedy, *_) in enumerate(drafts_of(stage2.model, rows)):
        assert greedy.log_probability == pytest.approx(_forced(stage2.model, batch, index, greedy.text), abs=1e-4)


def _forced(model, batch, index: int, text: str) -> float:
    """Mean log probability of `text` and its end, read in one pass."""
    encoded = encode_texts(model.tokenizer, [text], max_tokens=99, special_tokens=False)
    ids, mask = pad_ids([[*encoded[0], model.tokenizer.eos_token_id]], pad_id=0)
    one = replace(
        batch,
        study_ids=batch.study_ids[index : index + 1],
        pixels_BVHW=batch.pixels_BVHW[index : index + 1],
        view_ids_BV=batch.view_ids_BV[index : index + 1],
        view_mask_BV=batch.view_mask_BV[index : index + 1],
        facts=batch.facts.map(lambda codes: codes[index : index + 1]),
        reports=Reports(ids_BT=ids, mask_BT=mask, weights_BT=mask.float()),
    )
    with torch.no_grad():
        return -model(one).parts["report"].item()


def test_rows_are_drawn_from_the_softmax_at_their_temperature():
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0])
    num_rows = 4000
    draw = _SampleRows(list(range(num_rows)), temperature=2.0, min_share=0.0, end_id=3, device=torch.device("cpu"))
    chosen = draw(torch.zeros(num_rows, 0), logits.expand(num_rows, -1)).argmax(-1)
    shares = torch.bincount(chosen, minlength=4) / num_rows
    torch.testing.assert_close(shares, (logits / 2).softmax(0), atol=0.03, rtol=0)


def test_the_far_tail_is_never_drawn():
    logits = torch.tensor([0.8, 0.1, 0.07, 0.03]).log()
    draw = _SampleRows(list(range(500)), temperature=9.0, min_share=0.1, end_id=3, device=torch.device("cpu"))
    chosen = draw(torch.zeros(500, 0), logits.expand(500, -1)).argmax(-1)
    assert chosen.unique().tolist() == [0, 1]


def test_a_row_that_has_ended_costs_no_more():
    draw = _SampleRows([None, None], temperature=1.0, min_share=0.0, end_id=0, device=torch.device("cpu"))
    draw(torch.zeros(2, 0), torch.tensor([[2.0, 0.0], [0.0, 2.0]]))
    draw(torch.zeros(2, 1), torch.tensor([[0.0, 3.0], [3.0, 0.0]]))
    first, second = (functional.log_softmax(torch.tensor([x, 0.0]), dim=0)[0].item() for x in (2.0, 3.0))
    assert draw.mean_log_probability() == pytest.approx([first, (first + second) / 2])


def test_the_kept_report_is_the_draft_that_the_clues_speak_for(loaded, rows):
    reports = write_reports(loaded, images_of(rows), CONFIG)
    drafts = drafts_of(loaded.generator, rows, count=5)
    assert [report.study_id for report in reports] == [row["study_id"] for row in rows]
    for report, some in zip(reports, drafts, strict=True):
        assert report.text in [draft.text for draft in some]
        assert report.num_candidates == 5
        assert report.score is not None
        assert math.isfinite(report.score)
    assert write_reports(loaded, images_of(rows), CONFIG) == reports


def test_more_drafts_never_agree_less_with_the_clues(loaded, rows):
    by_clues = CONFIG.model_copy(update={"writer_share": 0.0, "likelihood_weight": 0.0})
    many, few = (
        write_reports(loaded, images_of(rows), by_clues.model_copy(update={"candidates": count})) for count in (5, 2)
    )
    gains = [more.score - less.score for more, less in zip(many, few, strict=True)]
    assert min(gains) >= -1e-6
    assert max(gains) > 0


def test_one_candidate_is_plain_decoding(loaded, rows):
    batch = images_of(rows[:3])
    plain = generate_reports(loaded.generator, batch, max_new_tokens=40)
    assert write_reports(loaded, batch, GenerateConfig(max_new_tokens=40)) == plain
    assert plain[0].num_candidates == 1
    assert plain[0].score is None


@pytest.mark.parametrize("candidates", [1, 2])
def test_images_are_encoded_once_per_study(candidates, loaded, rows, monkeypatch):
    batch = images_of(rows[:2])
    config = GenerateConfig(candidates=candidates, guidance=0.5, max_new_tokens=8)
    effusion = GivenClue(observation="Pleural Effusion", is_present=True)
    encode, calls = loaded.generator.contrastive.encode_images, []

    def counted(batch, **more):
        calls.append(batch.study_ids)
        return encode(batch, **more)

    expected = write_reports(loaded, batch, config, given=[[effusion], []])
    monkeypatch.setattr(loaded.generator.contrastive, "encode_images", counted)
    assert write_reports(loaded, batch, config, given=[[effusion], []]) == expected
    assert calls == [batch.study_ids]
    features = encode_studies(loaded.generator, batch)
    assert write_reports(loaded, batch, config, given=[[effusion], []], features=features) == expected
    assert len(calls) == 2
