"""A trained model in use: the films of studies -> report, clues, the evidence for each sentence, and heat maps.

No store, no cluster and no reference report.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from trrg_core.clue import Clue, KnownFindings
from trrg_core.config.settings import TrrgConfig
from trrg_core.evidence import ReportEvidence, gather_evidence
from trrg_core.generation.decoding import GeneratedReport, encode_studies, write_reports
from trrg_core.generation.film_reading import ReadFilm
from trrg_core.generation.given_clues import GivenClue, check_given_clues, parse_given_clues
from trrg_core.generation.heat_map import HeatMap, located_findings
from trrg_core.generation.heat_reading import cut_to_views, read_heat_maps
from trrg_core.generation.study_context import NO_CONTEXT, StudyContext, check_context
from trrg_core.generation.unusual_films import UnusualFilm, are_withheld, find_unusual, withheld_sentence
from trrg_core.labels import load_label_set
from trrg_core.model.instruction import context_text
from trrg_core.model.model_folder import LoadedGenerator
from trrg_core.model.operating_points import with_clue_shift
from trrg_core.report.parsed import ParsedReport
from trrg_core.report.parser import ReportParser
from trrg_core.training.batch import Batch
from trrg_core.training.collate import collate_images
from trrg_core.training.tokenization import encode_texts
from trrg_core.training.views import choose_views, is_frontal


@dataclass(frozen=True, kw_only=True)
class StudyRequest:
    """A study to write a report for: its id, its films (at least one), the clues that a person gives, its context."""

    study_id: str
    films: tuple[ReadFilm, ...]
    given: tuple[GivenClue, ...] = ()
    context: StudyContext = NO_CONTEXT


@dataclass(frozen=True, kw_only=True)
class WrittenStudy:
    """What the model wrote for one study.

    `films` are those that it read, in its order; `unread` are further ones, for which it has no room.
    `given` are the clues that a person gave. `overruled` are the findings of which the draft contradicted its clues, so
    that it was revised, `abstained` those that the report says cannot be assessed.
    `unusual` are films unlike those of training; if one is so by far, the report was `withheld`: a sentence says so in
    its place, and there are no clues.
    `unread_tokens` is the number of tokens at the end of the context for which it has no room.
    `heat_maps` are of the findings that the clues show, of the likeliest finding if they show none.
    """

    study_id: str
    films: tuple[ReadFilm, ...]
    report: str
    parsed: ParsedReport
    clues: tuple[Clue, ...]
    evidence: ReportEvidence
    unread: tuple[ReadFilm, ...] = ()
    given: tuple[GivenClue, ...] = ()
    overruled: tuple[str, ...] = ()
    abstained: tuple[str, ...] = ()
    unusual: tuple[UnusualFilm, ...] = ()
    withheld: bool = False
    unread_tokens: int = 0
    heat_maps: tuple[HeatMap, ...] = ()

    @property
    def given_findings(self) -> frozenset[str]:
        """The findings whose clues a person gave."""
        return frozenset(clue.observation for clue in self.given)

    @property
    def has_frontal(self) -> bool:
        """Whether a film may show which side a finding is on."""
        return any(is_frontal(film.view_position) for film in self.films)


class ReportWriter:
    """Writes reports with a loaded generator, on the device that holds it.

    Args:
        loaded: the model.
        config: its settings, those of its folder by default; the sections `generate` and `parse` are read.

    `findings` are those that a person may give clues of.

    Raises:
        ConfigError: if the model does not reach a target of `generate`.
    """

    def __init__(self, loaded: LoadedGenerator, config: TrrgConfig | None = None) -> None:
        chosen = config or loaded.config
        decoding = with_clue_shift(chosen.generate, loaded.generator.perception.operating_points)
        self.config = chosen.model_copy(update={"generate": decoding})
        self._loaded = loaded
        self._parser = ReportParser(load_label_set(self.config.parse.label_set))
        self.findings = _known_findings(loaded, self._parser.label_set.no_finding)

    def parse_clues(self, texts: Sequence[str]) -> tuple[GivenClue, ...]:
        """The clues that a person gives of one study, as texts `FINDING=WORDS`.

        Raises:
            ConfigError: if one cannot be read, or the model has no place for a word of it.
        """
        return parse_given_clues(texts, self.findings)

    @property
    def context(self) -> tuple[str, ...]:
        """What the model reads beside films, of "indication" and "prior"."""
        return self._loaded.config.finetune.context

    def num_unread_tokens(self, context: StudyContext) -> int:
        """The number of tokens at the end of `context` that the model has no room for."""
        text = context_text(self.context, indication=context.indication, prior=context.prior_report)
        # a token has at least one byte
        (ids,) = encode_texts(
            self._loaded.generator.tokenizer, [text], max_tokens=len(text.encode()) + 1, special_tokens=False
        )
        return max(0, len(ids) - self._loaded.config.finetune.max_context_tokens)

    def write(self, studies: Sequence[StudyRequest], *, with_heat_maps: bool = False) -> list[WrittenStudy]:
        """What the model writes for each study, in their order.

        It depends on the films, their view positions, the given clues and the context alone: not on ids, names or other
        studies.

        Raises:
            ConfigError: if a study has a context that the model does not read, or a clue that it cannot be given.
            ValueError: if a study has no film.
        """
        for study in studies:
            check_context(study.context, self.context)
            check_given_clues(study.given, self.findings)
        size = self.config.generate.batch_size
        groups = (studies[at : at + size] for at in range(0, len(studies), size))
        return [written for group in groups for written in self._write_group(group, with_heat_maps)]

    def _write_group(self, studies: Sequence[StudyRequest], with_heat_maps: bool) -> Iterator[WrittenStudy]:
        if not all(study.films for study in studies):
            raise ValueError("a study without films")
        batch = self._batch(studies)
        given = [study.given for study in studies]
        features = encode_studies(self._loaded.generator, batch)
        reports = write_reports(self._loaded, batch, self.config.generate, given=given, features=features)
        no_finding = self._parser.label_set.no_finding
        located = [located_findings(report.clues, no_finding=no_finding) for report in reports]
        heat = read_heat_maps(self._loaded, features, located) if with_heat_maps else [()] * len(studies)
        for study, report, heat_maps in zip(studies, reports, heat, strict=True):
            yield self._describe(study, report, heat_maps)

    def _batch(self, studies: Sequence[StudyRequest]) -> Batch:
        # drafts are seeded by the id in the batch: the films give it, so that the same films give the same report
        rows = [
            {
                "study_id": digest_of(study.films),
                "views": _views(study.films),
                "indication": study.context.indication,
                "prior_report": study.context.prior_report,
            }
            for study in studies
        ]
        model = self._loaded
        batch = collate_images(rows, observations=model.observations, config=model.config.pretrain)
        return batch.to(next(model.generator.parameters()).device)

    def _describe(self, study: StudyRequest, report: GeneratedReport, heat_maps: tuple[HeatMap, ...]) -> WrittenStudy:
        chosen = choose_views(_views(study.films), num_views=self._loaded.config.pretrain.max_views)
        read = tuple(view["film"] for view in chosen)
        unusual = find_unusual(read, self._loaded.generator.perception.usual_images)
        withheld = are_withheld(unusual, above=self.config.generate.withhold_above)
        if withheld:
            report = GeneratedReport(study_id=report.study_id, text=withheld_sentence(unusual))
            heat_maps = ()
        parsed = self._parser.parse(report.text)
        has_prior = True if study.context.prior_report else None
        evidence = gather_evidence(parsed, clues=report.clues, label_set=self._parser.label_set, has_prior=has_prior)
        return WrittenStudy(
            study_id=study.study_id,
            films=read,
            report=report.text,
            parsed=parsed,
            clues=report.clues,
            evidence=evidence,
            unread=tuple(film for film in study.films if not any(film is other for other in read)),
            given=study.given,
            overruled=report.overruled,
            abstained=report.abstained,
            unusual=unusual,
            withheld=withheld,
            unread_tokens=self.num_unread_tokens(study.context) if study.context.known else 0,
            heat_maps=cut_to_views(heat_maps, len(read)),
        )


def _known_findings(loaded: LoadedGenerator, no_finding: str | None) -> KnownFindings:
    """The findings that a person may give clues of."""
    if loaded.config.finetune.clues == "off":
        return KnownFindings()
    perception = loaded.generator.perception
    sided, graded = (
        tuple(name for name, has in zip(loaded.observations, flags.tolist(), strict=True) if has)
        for flags in (perception.sided_O, perception.graded_O)
    )
    return KnownFindings(observations=loaded.observations, sided=sided, graded=graded, no_finding=no_finding)


def digest_of(films: Sequence[ReadFilm]) -> str:
    """An id of a study made from its films and their view positions: 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for film in films:
        digest.update(f"{film.view_position}/{len(film.jpeg)}/".encode() + film.jpeg)
    return digest.hexdigest()[:16]


def _views(films: Sequence[ReadFilm]) -> list[dict[str, Any]]:
    return [{"view_position": film.view_position, "jpeg": film.jpeg, "film": film} for film in films]
