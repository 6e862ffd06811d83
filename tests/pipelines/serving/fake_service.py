"""A `ReportService` without a model: it writes one sentence, at once, after a while, or not at all."""

import asyncio

from pipelines.serving.app import ServedStudy
from pipelines.serving.model_choice import ModelStatus
from trrg_core.clue import Clue, KnownFindings
from trrg_core.config.settings import IngestConfig
from trrg_core.evidence import gather_evidence
from trrg_core.generation.film_reading import FilmFormat
from trrg_core.generation.report_writer import StudyRequest, WrittenStudy
from trrg_core.labels import load_label_set
from trrg_core.report.parser import ReportParser

REPORT = "Left pleural effusion. No pneumothorax."
CLUES = (Clue(observation="Pleural Effusion", probability=0.9, threshold=0.4, left=0.8, right=0.1),)
FINDINGS = KnownFindings(observations=("Pleural Effusion", "Edema"), sided=("Pleural Effusion",), graded=("Edema",))
LABEL_SET = load_label_set("chexpert14")


class FakeService:
    """Writes `REPORT`; `waits` holds the studies until it is set, `failure` is raised instead."""

    def __init__(self, *, waits: asyncio.Event | None = None, failure: Exception | None = None) -> None:
        self.waits, self.failure = waits, failure
        self.context: tuple[str, ...] = ()
        self.studies: list[StudyRequest] = []

    async def write(self, study: StudyRequest, *, with_heat_maps: bool) -> ServedStudy:
        self.studies.append(study)
        if self.waits is not None:
            await self.waits.wait()
        if self.failure is not None:
            raise self.failure
        parsed = ReportParser(LABEL_SET).parse(REPORT)
        written = WrittenStudy(
            study_id=study.study_id,
            films=study.films,
            report=REPORT,
            parsed=parsed,
            clues=CLUES,
            evidence=gather_evidence(parsed, clues=CLUES, label_set=LABEL_SET, has_prior=None),
            given=study.given,
        )
        return ServedStudy(written=written, model="models:/m/1", batch_size=3)

    async def status(self) -> ModelStatus:
        return ModelStatus(
            name="models:/m/1",
            loaded_at=1.0,
            form=FilmFormat(ingest=IngestConfig(max_side_px=80), max_side_px=64),
            findings=FINDINGS,
            context=self.context,
        )
