"""Reports from radiographs: greedy by default, no forced length, no repetition penalty.

A forced minimum length pads a normal report with invented findings, and a repetition penalty punishes the
repeated "no ..." of a truthful one. With more than one candidate, drafts are sampled and the one that agrees best with
the study's clues is kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch
from transformers import GenerationConfig, LogitsProcessorList

from trrg_core.clue import Clue
from trrg_core.config.settings import GenerateConfig
from trrg_core.generation.drafts import Draft, write_drafts
from trrg_core.generation.given_clues import GivenClue, with_given
from trrg_core.generation.guidance import ClueGuidance
from trrg_core.generation.reranking import choose_draft
from trrg_core.generation.revision import ReportReviser
from trrg_core.labels import LabelSet, load_label_set
from trrg_core.model.clues import Clues, clues_of, read_clues
from trrg_core.model.encoders import ImageFeatures
from trrg_core.model.generator import Prefix, ReportGenerator
from trrg_core.model.model_folder import LoadedGenerator
from trrg_core.report.parser import ReportParser
from trrg_core.training.batch import Batch
from trrg_core.training.tokenization import decode_ids


@dataclass(frozen=True, kw_only=True)
class GeneratedReport:
    """A hypothesis, and the clues that it was written from.

    `score` is its agreement with them, the best of `num_candidates` drafts; None for a single draft.
    """

    study_id: str
    text: str
    clues: tuple[Clue, ...] = ()
    num_candidates: int = 1
    score: float | None = None


def write_reports(
    loaded: LoadedGenerator,
    batch: Batch,
    config: GenerateConfig,
    *,
    given: Sequence[Sequence[GivenClue]] = (),
    features: ImageFeatures | None = None,
) -> list[GeneratedReport]:
    """One report per study, in the batch's order, decoded as `config` says.

    `given` are the clues of each study that a person gives; without any, all are perceived. With `config.revise` the
    report of the perceived clues is then kept, but for what it says of the given findings. `features` are those of the
    batch's images if they are encoded already (`encode_studies`).
    """
    features = encode_studies(loaded.generator, batch) if features is None else features
    if not any(given):
        return _write(loaded, batch, config, None, features)
    reports = _write(loaded, batch, config, _given_clues(loaded.generator, batch, features, given), features)
    if not config.revise:
        return reports
    drafts = _write(loaded, batch, config, None, features)
    reviser = _reviser(load_label_set(loaded.config.parse.label_set))
    return [
        replace(report, text=reviser.revise(draft.text, report.text, own)) if own else draft
        for report, draft, own in zip(reports, drafts, given, strict=True)
    ]


def _write(
    loaded: LoadedGenerator, batch: Batch, config: GenerateConfig, clues: Clues | None, features: ImageFeatures
) -> list[GeneratedReport]:
    if config.candidates == 1:
        return generate_reports(
            loaded.generator,
            batch,
            max_new_tokens=config.max_new_tokens,
            num_beams=config.num_beams,
            guidance=config.guidance,
            clue_shift=config.clue_shift,
            clues=clues,
            features=features,
        )
    parser = _parser(load_label_set(loaded.config.parse.label_set))
    return _choose_reports(loaded.generator, batch, config, parser, clues, features)


@torch.no_grad()
def encode_studies(generator: ReportGenerator, batch: Batch) -> ImageFeatures:
    """The features of the batch's images, without gradient; the generator is put into eval mode."""
    return generator.eval().contrastive.encode_images(batch)


@torch.no_grad()
def _given_clues(
    generator: ReportGenerator, batch: Batch, features: ImageFeatures, given: Sequence[Sequence[GivenClue]]
) -> Clues:
    clues = clues_of(generator.perception(features), batch, source=generator.config.clues)
    return with_given(clues, given, generator.perception.observations)


@torch.no_grad()
def generate_reports(
    generator: ReportGenerator,
    batch: Batch,
    *,
    max_new_tokens: int,
    num_beams: int = 1,
    guidance: float = 0.0,
    clue_shift: float = 0.0,
    clues: Clues | None = None,
    features: ImageFeatures | None = None,
) -> list[GeneratedReport]:
    """One report per study, in the batch's order; the generator is put into eval mode.

    A study's report does not depend on the other studies of the batch. `clues` replaces those that the generator
    perceives, for instance with some given by a person. `guidance` needs `num_beams` 1 (see `ClueGuidance`);
    `clue_shift` and `features` are explained in `ReportGenerator.prefix`.
    """
    features = encode_studies(generator, batch) if features is None else features
    prefix = generator.prefix(batch, clues, clue_shift=clue_shift, features=features)
    tokenizer = generator.tokenizer
    ids_BT = generator.llm.generate(
        inputs_embeds=prefix.embeddings_BLH,
        attention_mask=prefix.mask_BL.long(),
        logits_processor=LogitsProcessorList(_guides(generator, batch, prefix, features, guidance)),
        generation_config=GenerationConfig(
            do_sample=False,
            num_beams=num_beams,
            max_new_tokens=max_new_tokens,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        ),
    )
    read = read_clues(prefix.clues, generator.perception)
    return [
        GeneratedReport(study_id=study_id, text=decode_ids(tokenizer, ids), clues=own)
        for study_id, ids, own in zip(batch.study_ids, ids_BT.tolist(), read, strict=True)
    ]


def _guides(
    generator: ReportGenerator,
    batch: Batch,
    prefix: Prefix,
    features: ImageFeatures,
    strength: float,
    *,
    count: int = 1,
) -> list[ClueGuidance]:
    if not strength:
        return []
    hidden = prefix.clues._replace(mask_BK=torch.zeros_like(prefix.clues.mask_BK))
    prefixes = generator.prefix(batch, hidden, features=features)
    return [ClueGuidance(generator, prefixes, strength=strength, count=count)]


@torch.no_grad()
def _choose_reports(
    generator: ReportGenerator,
    batch: Batch,
    config: GenerateConfig,
    parser: ReportParser,
    clues: Clues | None,
    features: ImageFeatures,
) -> list[GeneratedReport]:
    prefix = generator.prefix(batch, clues, clue_shift=config.clue_shift, features=features)
    drafts = write_drafts(
        generator,
        prefix,
        batch.study_ids,
        count=config.candidates,
        temperature=config.temperature,
        min_share=config.min_share,
        max_new_tokens=config.max_new_tokens,
        guides=_guides(generator, batch, prefix, features, config.guidance, count=config.candidates),
    )
    read = read_clues(prefix.clues, generator.perception)
    return [
        _choose_report(*study, config=config, parser=parser)
        for study in zip(batch.study_ids, drafts, read, batch.has_prior, strict=True)
    ]


def _choose_report(
    study_id: str,
    drafts: Sequence[Draft],
    clues: Sequence[Clue],
    has_prior: bool | None,
    *,
    config: GenerateConfig,
    parser: ReportParser,
) -> GeneratedReport:
    choice = choose_draft(
        [parser.parse(draft.text) for draft in drafts],
        [draft.log_probability for draft in drafts],
        clues=clues,
        has_prior=has_prior,
        label_set=parser.label_set,
        writer_share=config.writer_share,
        likelihood_weight=config.likelihood_weight,
    )
    return GeneratedReport(
        study_id=study_id,
        text=drafts[choice.index].text,
        clues=tuple(clues),
        num_candidates=len(drafts),
        score=choice.score,
    )


@cache
def _parser(label_set: LabelSet) -> ReportParser:
    return ReportParser(label_set)


@cache
def _reviser(label_set: LabelSet) -> ReportReviser:
    return ReportReviser(_parser(label_set))
