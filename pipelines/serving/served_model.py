"""The model of a serving process: loaded once, and replaced when the alias it is named by moves to another version."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.registry.find_model import FoundModel, find_model
from pipelines.serving.api_error import ApiError
from pipelines.serving.load_writer import load_writer
from pipelines.serving.model_choice import ModelChoice, ModelStatus
from pipelines.serving.study_request import check_for_model
from trrg_core.errors import TrrgError
from trrg_core.generation.film_reading import film_format
from trrg_core.generation.report_writer import ReportWriter, StudyRequest, WrittenStudy
from trrg_core.storage.folders import REGISTRY_FOLDER
from trrg_core.storage.store import open_store

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RefusedStudy:
    """A study that is not written, and why, in a short code and in words: the model that writes now does not read what
    came with it.
    """

    code: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class _Loaded:
    found: FoundModel
    writer: ReportWriter
    loaded_at: float


class ServedModel:
    """A loaded model that follows its alias. `write` may run in one thread while `refresh` runs in another.

    Raises:
        ConfigError: if there is no such model.
    """

    def __init__(self, choice: ModelChoice) -> None:
        self._choice, self._store, self._failure = choice, open_store(choice.store), ""
        self._seen = self._registry_state()
        self._loaded = self._load(find_model(self._store, choice.register, choice.reference))

    @property
    def status(self) -> ModelStatus:
        """What writes the reports now."""
        loaded = self._loaded
        return ModelStatus(
            name=loaded.found.name,
            loaded_at=loaded.loaded_at,
            form=film_format(loaded.writer.config),
            findings=loaded.writer.findings,
            context=loaded.writer.context,
            failure=self._failure,
        )

    def write(
        self, studies: Sequence[StudyRequest], *, with_heat_maps: bool
    ) -> tuple[str, list[WrittenStudy | RefusedStudy]]:
        """The name of the model, and what it wrote for each study: all by the same model.

        A study may have been read for the model before, with a context or clues that this one does not read; it is
        refused and the others are written.
        """
        loaded = self._loaded
        refusals = [_refusal(study, loaded.writer) for study in studies]
        accepted = [study for study, refusal in zip(studies, refusals, strict=True) if refusal is None]
        written = iter(loaded.writer.write(accepted, with_heat_maps=with_heat_maps))
        return loaded.found.name, [refusal or next(written) for refusal in refusals]

    def refresh(self) -> bool:
        """Load the model that the alias names now, if it is another one; whether it was replaced.

        Until then the present one goes on, and also if the other cannot be loaded: then `status` has the reason.
        Both are in memory for a moment.
        """
        if "@" not in self._choice.reference:
            return False
        try:
            state = self._registry_state()
            if state and state == self._seen:
                return False
            found = find_model(self._store, self._choice.register, self._choice.reference)
            if found != self._loaded.found:
                self._loaded = self._load(found)
                logger.info("serving %s from now on", found.name)
                self._seen, self._failure = state, ""
                return True
            self._seen, self._failure = state, ""
        except TrrgError as error:
            self._failure = str(error)
            logger.warning("the model stays %s: %s", self._loaded.found.name, error)
        except Exception as error:  # of torch, the registry or the disk: the next look may find it well
            self._failure = f"unexpected {type(error).__name__}"
            logger.warning("the model stays %s: unexpected %s", self._loaded.found.name, type(error).__name__)
        return False

    def _load(self, found: FoundModel) -> _Loaded:
        writer = load_writer(self._store, found, self._choice.settings)
        return _Loaded(found=found, writer=writer, loaded_at=time.time())

    def _registry_state(self) -> dict[str, str]:
        """A mark that differs when the registry inside the store has changed; empty for one on a server."""
        return {} if self._choice.register.tracking_uri else self._store.stamps(REGISTRY_FOLDER)


def _refusal(study: StudyRequest, writer: ReportWriter) -> RefusedStudy | None:
    try:
        check_for_model(study, context=writer.context, findings=writer.findings)
    except ApiError as error:
        return RefusedStudy(code=error.code, reason=error.message)
    return None
