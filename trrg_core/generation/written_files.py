"""Studies in image files -> what the model wrote for each, with the images that were set aside."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trrg_core.generation.film_reading import RejectedFilm, film_format
from trrg_core.generation.given_clues import GivenClue
from trrg_core.generation.report_writer import ReportWriter, StudyRequest, WrittenStudy
from trrg_core.generation.study_context import NO_CONTEXT, StudyContext
from trrg_core.generation.study_files import StudyFiles, read_study


@dataclass(frozen=True, kw_only=True)
class WrittenFiles:
    """One study; `written` is None when all its images were set aside."""

    study_id: str
    written: WrittenStudy | None
    rejected: tuple[RejectedFilm, ...]


def write_files(
    writer: ReportWriter,
    studies: Sequence[StudyFiles],
    *,
    given: Sequence[GivenClue] = (),
    context: StudyContext = NO_CONTEXT,
    with_heat_maps: bool = False,
) -> Iterator[WrittenFiles]:
    """Each study in its order; read and written a batch at a time, so that any number of studies fits in memory.

    `given` are clues that a person gives, and `context` is what is known, of every study.

    Raises:
        ConfigError: if the model does not read such a context.
    """
    size, form = writer.config.generate.batch_size, film_format(writer.config)
    for group in (studies[at : at + size] for at in range(0, len(studies), size)):
        read = [read_study(files, form) for files in group]
        requests = [
            StudyRequest(study_id=files.study_id, films=films, given=tuple(given), context=context)
            for files, (films, _) in zip(group, read, strict=True)
            if films
        ]
        written = iter(writer.write(requests, with_heat_maps=with_heat_maps))
        for files, (films, rejected) in zip(group, read, strict=True):
            yield WrittenFiles(study_id=files.study_id, written=next(written) if films else None, rejected=rejected)
