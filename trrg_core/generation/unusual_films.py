"""Films that are unlike the images that a model was trained on, and the sentence that stands for a report of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from trrg_core.generation.film_reading import ReadFilm
from trrg_core.imaging.usual_images import UsualImages


@dataclass(frozen=True, kw_only=True)
class UnusualFilm:
    """A film that is unlike those of training: its deviation, above 1, and what it looks like, empty if unknown."""

    name: str
    deviation: float
    looks: str

    @property
    def message(self) -> str:
        """What a person should know of it, without its name."""
        unlike = f"unlike the images that the model was trained on (deviation {self.deviation:.1f}, usual up to 1)"
        return f"{unlike}; it looks {self.looks}" if self.looks else unlike


def find_unusual(films: Sequence[ReadFilm], usual: UsualImages | None) -> tuple[UnusualFilm, ...]:
    """The films that are unlike the images of training; none where these are not known."""
    if usual is None:
        return ()
    judged = ((film, usual.judge(film.jpeg)) for film in films)
    return tuple(
        UnusualFilm(name=film.name, deviation=judgment.deviation, looks=judgment.looks)
        for film, judgment in judged
        if judgment.is_unusual
    )


def are_withheld(unusual: Sequence[UnusualFilm], *, above: float | None) -> bool:
    """Whether a study with these films gets no report: one is far from usual, or would be usual if it were turned."""
    return above is not None and any(film.deviation > above or film.looks for film in unusual)


def withheld_sentence(unusual: Sequence[UnusualFilm]) -> str:
    """What stands in place of the report; it states no finding."""
    looks = next((film.looks for film in unusual if film.looks), "")
    reason = f", and looks {looks}" if looks else ""
    return f"No report was written: an image is unlike those that the model was trained on{reason}."
