"""The body of an HTTP request -> the study to write a report for; limits, time-out, form and images are checked."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from pipelines.serving.api_error import ApiError, error_of_film
from pipelines.serving.limits import ServingLimits
from pipelines.serving.model_choice import ModelStatus
from pipelines.serving.multipart import Part, parse_multipart
from trrg_core.clue import KnownFindings
from trrg_core.errors import ConfigError, DataError
from trrg_core.generation.film_reading import FilmFormat, ReadFilm, read_film
from trrg_core.generation.given_clues import GivenClue, check_given_clues, parse_given_clues
from trrg_core.generation.report_writer import StudyRequest, digest_of
from trrg_core.generation.study_context import MOST_BYTES, StudyContext, check_context
from trrg_core.training.views import VIEW_POSITIONS

_MOST_ID_CHARACTERS = 200
_UNKNOWN_NAME = "film"
_FIELDS = ("view", "clue", "id", "indication", "prior")
_REPEATED = ("view", "clue")


def read_study_request(body: bytes, content_type: str, model: ModelStatus, limits: ServingLimits) -> StudyRequest:
    """The study in a form with files `film`, and, if given, fields `view` (one for all or for each film) and `id`.

    Fields `clue` are what a person says of findings, each as `parse_given_clues` reads it. Fields `indication` and
    `prior` are for models that read them. Without `id` the films give it: the same films have the same id.

    Raises:
        ApiError: 4xx, with the name of the image that is to blame.
    """
    parts = parse_multipart(body, content_type)
    files = [part for part in parts if part.name == "film"]
    if not files:
        raise ApiError(400, "no_film", "the form has no file named film")
    if len(files) > limits.max_films:
        raise ApiError(413, "too_many_films", f"{len(files)} films, the limit is {limits.max_films}")
    _check_fields([part.name for part in parts if part.name != "film"])
    given = _given_clues([part.text for part in parts if part.name == "clue"], model.findings)
    context = _context(parts, model)
    views = _views([part.text for part in parts if part.name == "view"], len(files))
    films = tuple(_read_film(part, view, model.form, limits) for part, view in zip(files, views, strict=True))
    study_id = next((part.text for part in parts if part.name == "id"), "")
    if len(study_id) > _MOST_ID_CHARACTERS:
        raise ApiError(400, "id_too_long", f"an id has at most {_MOST_ID_CHARACTERS} characters")
    return StudyRequest(study_id=study_id or digest_of(films), films=films, given=given, context=context)


def check_for_model(study: StudyRequest, *, context: Sequence[str], findings: KnownFindings) -> None:
    """Check that a model reads what came with a study: one that was read for another model may hold more.

    Args:
        study: with its context and the clues that a person gives.
        context: what the model reads beside films.
        findings: those that it can be given clues of.

    Raises:
        ApiError: 400 `context_not_read` or `wrong_clue`.
    """
    with _refused_as("context_not_read"):
        check_context(study.context, context)
    with _refused_as("wrong_clue"):
        check_given_clues(study.given, findings)


def _check_fields(names: Sequence[str]) -> None:
    """A field that is not read would be left out without a word: a misspelt view or clue."""
    for name in names:
        if name not in _FIELDS:
            raise ApiError(400, "unknown_field", f"field {name[:20]!r}: expected film, {', '.join(_FIELDS)}")
        if name not in _REPEATED and names.count(name) > 1:
            raise ApiError(400, "field_given_twice", f"field {name}: expected at most once")


def _context(parts: Sequence[Part], model: ModelStatus) -> StudyContext:
    given = {part.name: part.text for part in parts if part.name in ("indication", "prior")}
    for name, text in given.items():
        if len(text.encode()) > MOST_BYTES:
            raise ApiError(413, f"{name}_too_long", f"the limit is {MOST_BYTES} bytes")
    context = StudyContext(indication=given.get("indication", ""), prior_report=given.get("prior", ""))
    with _refused_as("context_not_read"):
        check_context(context, model.context)
    return context


def _given_clues(texts: Sequence[str], findings: KnownFindings) -> tuple[GivenClue, ...]:
    with _refused_as("wrong_clue"):
        return parse_given_clues(texts, findings)


@contextmanager
def _refused_as(code: str) -> Iterator[None]:
    """What a model cannot be given is a wrong request."""
    try:
        yield
    except ConfigError as error:
        raise ApiError(400, code, str(error)) from error


def _read_film(part: Part, view_position: str, form: FilmFormat, limits: ServingLimits) -> ReadFilm:
    name = part.filename or _UNKNOWN_NAME
    # the model's own size and quality, the server's own limits
    bounds = {"max_pixels": limits.max_pixels, "max_file_bytes": limits.max_film_bytes}
    limited = replace(form, ingest=form.ingest.model_copy(update=bounds))
    try:
        return read_film(part.data, name=name, view_position=view_position, form=limited)
    except DataError as error:
        raise error_of_film(error, name) from error


def _views(given: list[str], num_films: int) -> list[str]:
    views = [view.upper() for view in given]
    if unknown := [view for view in views if view not in VIEW_POSITIONS]:
        known = ", ".join(name for name in VIEW_POSITIONS if name)
        raise ApiError(400, "unknown_view", f"view {unknown[0][:20]!r}: expected one of {known}, or empty")
    if len(views) not in (0, 1, num_films):
        raise ApiError(
            400, "views_do_not_match", f"{len(views)} views for {num_films} films: give one, or one for each"
        )
    return views * num_films if len(views) == 1 else views or [""] * num_films
