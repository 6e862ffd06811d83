import math
from dataclasses import replace

import pytest
import torch

from tests.core.toy_corpus import OBSERVATIONS, toy_config
from trrg_core.config.settings import GenerateConfig
from trrg_core.generation.continuous import Prompt
from trrg_core.generation.decoding import (
    EncodedStudies,
    encode_studies,
    generate_reports,
    stream_reports,
    write_reports,
)
from trrg_core.generation.drafts import write_drafts
from trrg_core.generation.given_clues import GivenClue
from trrg_core.model.model_folder import LoadedGenerator
from trrg_core.training.batch import Reports
from trrg_core.training.collate import collate_images
from trrg_core.training.tokenization import encode_texts, pad_ids

SHORT = GenerateConfig(max_new_tokens=40)
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
    streams = [own[mask] for own, mask in zip(prefix.embeddings_BLH, prefix.mask_BL, strict=True)]
    prompts = [Prompt(study_id=name, streams=(own,)) for name, own in zip(batch.study_ids, streams, strict=True)]
    config = CONFIG.model_copy(update={"candidates": count, "temperature": temperature})
    return list(write_drafts(model, prompts, config))


def test_the_first_draft_is_the_greedy_report(stage2, rows):
    greedy = [report.text for report in generate_reports(stage2.model, images_of(rows), SHORT)]
    assert [some[0].text for some in drafts_of(stage2.model, rows)] == greedy


def test_a_draft_depends_on_its_study_and_number_alone(stage2, rows):
    together = drafts_of(stage2.model, rows)
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
    plain = generate_reports(loaded.generator, batch, SHORT)
    assert write_reports(loaded, batch, SHORT) == plain
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


def test_reports_of_a_stream_of_batches_are_those_of_each_batch(loaded, rows):
    config = GenerateConfig(batch_size=3, max_new_tokens=40)
    expected = write_reports(loaded, images_of(rows), config)
    taken = []

    def batches():
        for at in range(0, len(rows), 2):
            taken.append(at)
            batch = images_of(rows[at : at + 2])
            yield EncodedStudies(batch=batch, features=encode_studies(loaded.generator, batch))

    stream = stream_reports(loaded, batches(), config)
    first = next(stream)
    assert len(taken) < len(rows) / 2  # batches are taken when there is room for them
    found = [first, *stream]
    assert [(one.study_id, one.text) for one in found] == [(one.study_id, one.text) for one in expected]


def test_chosen_studies_have_the_reports_that_they_have_among_all(loaded, rows):
    batch = images_of(rows[:5])
    own = EncodedStudies(batch=batch, features=encode_studies(loaded.generator, batch))
    given = toy_config("generate.guidance=0.5", "generate.max_new_tokens=20", "generate.check_margin=null").generate
    every = list(stream_reports(loaded, [own], given))
    some = list(stream_reports(loaded, [replace(own, chosen=[4, 1]), replace(own, chosen=[])], given))
    assert [(one.study_id, one.text) for one in some] == [(every[at].study_id, every[at].text) for at in (4, 1)]
