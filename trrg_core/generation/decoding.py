"""Reports from radiographs: greedy by default, no forced length, no repetition penalty.

A forced minimum length pads a normal report with invented findings, and a repetition penalty punishes the
repeated "no ..." of a truthful one. With more than one candidate, drafts are sampled and the one that agrees best with
the study's clues is kept.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import islice

import torch

from trrg_core.clue import Clue
from trrg_core.config.settings import GenerateConfig
from trrg_core.generation.abstention import abstain_from, undecided_findings
from trrg_core.generation.clue_check import contradicted_clues, follow_given, overrule, settle_contradictions
from trrg_core.generation.continuous import Prompt
from trrg_core.generation.drafts import Draft, write_drafts
from trrg_core.generation.given_clues import GivenClue, with_given
from trrg_core.generation.reranking import choose_draft
from trrg_core.generation.revision import ReportReviser
from trrg_core.labels import LabelSet, load_label_set
from trrg_core.model.clues import Clues, clues_of, read_clues
from trrg_core.model.encoders import ImageFeatures
from trrg_core.model.generator import ReportGenerator
from trrg_core.model.model_folder import LoadedGenerator
from trrg_core.model.operating_points import with_clue_shift
from trrg_core.report.parser import ReportParser
from trrg_core.training.batch import Batch


@dataclass(frozen=True, kw_only=True)
class GeneratedReport:
    """A hypothesis, and the clues that it was written from.

    `score` is its agreement with them, the best of `num_candidates` drafts; None for a single draft. `overruled` are
    the findings of which the draft contradicted its clues, `abstained` those that the report says cannot be assessed.
    """

    study_id: str
    text: str
    clues: tuple[Clue, ...] = ()
    num_candidates: int = 1
    score: float | None = None
    overruled: tuple[str, ...] = ()
    abstained: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class EncodedStudies:
    """Studies with the features of their images.

    `clues` replaces those that the generator perceives; `chosen` are the studies that are written, all by default.
    """

    batch: Batch
    features: ImageFeatures
    clues: Clues | None = None
    chosen: Sequence[int] | None = None

    @property
    def places(self) -> Sequence[int]:
        """Those of the studies that are written, in the batch."""
        return range(len(self.batch)) if self.chosen is None else self.chosen

    def narrowed(self) -> "EncodedStudies":
        """The studies that are written, without the others of their batch."""
        if self.chosen is None:
            return self
        index = torch.tensor(self.chosen, dtype=torch.int64, device=self.features.study_BD.device)
        return EncodedStudies(
            batch=self.batch.at(self.chosen),
            features=self.features.at(index),
            clues=None if self.clues is None else Clues(*(part[index] for part in self.clues)),
        )


@dataclass(frozen=True, kw_only=True)
class _Text:
    """A report to write."""

    prompt: Prompt
    clues: tuple[Clue, ...]
    has_prior: bool | None


@torch.no_grad()
def encode_studies(generator: ReportGenerator, batch: Batch) -> ImageFeatures:
    """The features of the batch's images, without gradient; the generator is put into eval mode."""
    return generator.eval().contrastive.encode_images(batch)


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
    report of the perceived clues is then kept, but for what it says of the given findings. What the LLM does not write
    of a given clue, a plain sentence says. `features` are those of the batch's images if they are encoded already
    (`encode_studies`).
    """
    features = encode_studies(loaded.generator, batch) if features is None else features
    own = EncodedStudies(batch=batch, features=features)
    if not any(given):
        return list(stream_reports(loaded, [own], config))
    config = with_clue_shift(config, loaded.generator.perception.operating_points)
    label_set = load_label_set(loaded.config.parse.label_set)
    stated, reports = _write_given(loaded.generator, own, config, given, label_set)
    checked = _check(loaded.generator, stated, reports, config, label_set)
    follow = partial(follow_given, parser=_parser(label_set), reviser=_reviser(label_set))
    followed = [replace(one, text=follow(one.text, of_study)) for one, of_study in zip(checked, given, strict=True)]
    return [_abstain(report, config, label_set) for report in followed]


def _write_given(
    generator: ReportGenerator,
    own: EncodedStudies,
    config: GenerateConfig,
    given: Sequence[Sequence[GivenClue]],
    label_set: LabelSet,
) -> tuple[EncodedStudies, list[GeneratedReport]]:
    """The studies with the given clues, and their reports."""
    stated, rewritten = _rewrite(generator, own, config, given, label_set)
    if not config.revise:
        silent = replace(own, chosen=[at for at in range(len(given)) if at not in rewritten])
        written = rewritten | dict(zip(silent.places, _stream(generator, [silent], config, label_set), strict=True))
        return stated, [written[at] for at in range(len(given))]
    reviser = _reviser(label_set)
    return stated, [
        replace(rewritten[at], text=reviser.revise(draft.text, rewritten[at].text, given[at]))
        if at in rewritten
        else draft
        for at, draft in enumerate(_stream(generator, [own], config, label_set))
    ]


def _rewrite(
    generator: ReportGenerator,
    studies: EncodedStudies,
    config: GenerateConfig,
    given: Sequence[Sequence[GivenClue]],
    label_set: LabelSet,
) -> tuple[EncodedStudies, dict[int, GeneratedReport]]:
    """The studies with the given clues, and the reports of those that have any, by their place in the batch."""
    clues = studies.clues
    if clues is None:
        clues = clues_of(generator.perception(studies.features), studies.batch, source=generator.config.clues)
    stated = replace(studies, clues=with_given(clues, given, generator.perception.observations))
    denying = [at for at, of_study in enumerate(given) if any(not clue.is_present for clue in of_study)]
    affirming = [at for at, of_study in enumerate(given) if of_study and at not in denying]
    rewritten: dict[int, GeneratedReport] = {}
    for places, decoding in ((denying, config.for_denied_findings()), (affirming, config)):
        reports = _stream(generator, [replace(stated, chosen=places)], decoding, label_set)
        rewritten |= dict(zip(places, reports, strict=True))
    return stated, rewritten


def _check(
    generator: ReportGenerator,
    studies: EncodedStudies,
    reports: Sequence[GeneratedReport],
    config: GenerateConfig,
    label_set: LabelSet,
) -> list[GeneratedReport]:
    """The reports of `studies`, revised where they contradict themselves or a clear clue (`config.check_margin`)."""
    if config.check_margin is None:
        return list(reports)
    parser, reviser = _parser(label_set), _reviser(label_set)
    shift = config.clue_shift / config.clue_sharpness
    contradicted = partial(contradicted_clues, margin=config.check_margin, shift=shift, parser=parser)
    given: list[tuple[GivenClue, ...]] = [()] * len(studies.batch)
    for at, report in zip(studies.places, reports, strict=True):
        given[at] = contradicted(report.text, report.clues)
    _, rewritten = _rewrite(generator, studies, config, given, label_set)

    def checked(report: GeneratedReport, at: int) -> GeneratedReport:
        text, overruled = report.text, set(given[at])
        if at in rewritten:
            text = overrule(text, rewritten[at].text, given[at], parser=parser, reviser=reviser)
        text = settle_contradictions(text, report.clues, shift=shift, parser=parser, reviser=reviser)
        if at in rewritten:
            overruled.difference_update(contradicted(text, report.clues))
        names = tuple(clue.observation for clue in given[at] if clue in overruled)
        return replace(report, text=text, overruled=names)

    return [checked(report, at) for at, report in zip(studies.places, reports, strict=True)]


def stream_reports(
    loaded: LoadedGenerator, studies: Iterable[EncodedStudies], config: GenerateConfig
) -> Iterator[GeneratedReport]:
    """As `write_reports`, of any number of batches: `config.batch_size` studies are written at once.

    Where a report ends, the next study takes its place; further batches are taken from `studies` as they are needed.

    Raises:
        ConfigError: if the model does not reach a target of `config`.
    """
    config = with_clue_shift(config, loaded.generator.perception.operating_points)
    label_set = load_label_set(loaded.config.parse.label_set)
    if config.check_margin is None:
        for report in _stream(loaded.generator, studies, config, label_set):
            yield _abstain(report, config, label_set)
        return
    started: deque[EncodedStudies] = deque()

    def noted() -> Iterator[EncodedStudies]:
        for encoded in studies:
            if encoded.places:
                started.append(encoded)
                yield encoded

    reports = _stream(loaded.generator, noted(), config, label_set)
    for first in reports:
        encoded = started.popleft()
        of_batch = [first, *islice(reports, len(encoded.places) - 1)]
        for report in _check(loaded.generator, encoded, of_batch, config, label_set):
            yield _abstain(report, config, label_set)


def generate_reports(
    generator: ReportGenerator,
    batch: Batch,
    config: GenerateConfig,
    *,
    clues: Clues | None = None,
    features: ImageFeatures | None = None,
    label_set: LabelSet | None = None,
) -> list[GeneratedReport]:
    """One report per study, in the batch's order, of a single draft; the generator is put into eval mode.

    All studies are written at once, and a study's report does not depend on the others. Of `config` the search, the
    length, the guidance and what is done to the clues count, and with a label set the check against them. `clues`
    replaces those that the generator perceives, for instance with some given by a person; `features` are those of the
    batch's images if they are encoded already.
    """
    features = encode_studies(generator, batch) if features is None else features
    single = config.model_copy(update={"batch_size": len(batch.study_ids), "candidates": 1})
    studies = EncodedStudies(batch=batch, features=features, clues=clues)
    reports = list(_stream(generator, [studies], single, None))
    return reports if label_set is None else _check(generator, studies, reports, single, label_set)


def _stream(
    generator: ReportGenerator,
    studies: Iterable[EncodedStudies],
    config: GenerateConfig,
    label_set: LabelSet | None,
) -> Iterator[GeneratedReport]:
    """The report of each study; a label set is needed for several candidates."""
    started: deque[_Text] = deque()

    def prompts() -> Iterator[Prompt]:
        for encoded in studies:
            for text in _texts(generator, encoded, config):
                started.append(text)
                yield text.prompt

    for drafts in write_drafts(generator, prompts(), config):
        yield _choose_report(started.popleft(), drafts, config, label_set)


@torch.no_grad()
def _texts(generator: ReportGenerator, encoded: EncodedStudies, config: GenerateConfig) -> list[_Text]:
    """The reports to write, one per chosen study; with guidance the LLM also reads each without its clues."""
    if not encoded.places:
        return []
    encoded = encoded.narrowed()
    batch, features = encoded.batch, encoded.features
    shown = generator.prefix(
        batch, encoded.clues, clue_shift=config.clue_shift, clue_sharpness=config.clue_sharpness, features=features
    )
    prefixes = [shown]
    if config.guidance:
        hidden = shown.clues._replace(mask_BK=torch.zeros_like(shown.clues.mask_BK))
        prefixes.append(generator.prefix(batch, hidden, features=features))
    rows = [
        [own_LH[mask_L] for own_LH, mask_L in zip(prefix.embeddings_BLH, prefix.mask_BL, strict=True)]
        for prefix in prefixes
    ]
    read = read_clues(shown.clues, generator.perception)
    return [
        _Text(prompt=Prompt(study_id=study_id, streams=streams), clues=own, has_prior=has_prior)
        for study_id, streams, own, has_prior in zip(
            batch.study_ids, zip(*rows, strict=True), read, batch.has_prior, strict=True
        )
    ]


def _choose_report(
    text: _Text, drafts: Sequence[Draft], config: GenerateConfig, label_set: LabelSet | None
) -> GeneratedReport:
    report = GeneratedReport(study_id=text.prompt.study_id, text=drafts[0].text, clues=text.clues)
    if len(drafts) == 1 or label_set is None:
        return report
    parser = _parser(label_set)
    choice = choose_draft(
        [parser.parse(draft.text) for draft in drafts],
        [draft.log_probability for draft in drafts],
        clues=text.clues,
        has_prior=text.has_prior,
        label_set=label_set,
        writer_share=config.writer_share,
        likelihood_weight=config.likelihood_weight,
    )
    return replace(report, text=drafts[choice.index].text, num_candidates=len(drafts), score=choice.score)


def _abstain(report: GeneratedReport, config: GenerateConfig, label_set: LabelSet) -> GeneratedReport:
    if not config.abstain_below:
        return report
    findings = undecided_findings(report.clues, below=config.abstain_below, no_finding=label_set.no_finding)
    return replace(report, text=abstain_from(report.text, findings, _reviser(label_set)), abstained=findings)


@cache
def _parser(label_set: LabelSet) -> ReportParser:
    return ReportParser(label_set)


@cache
def _reviser(label_set: LabelSet) -> ReportReviser:
    return ReportReviser(_parser(label_set))
