"""Radiographs with the heat maps over them, as every page prints them."""

import io
from base64 import b64encode
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from PIL import Image

from trrg_core.generation.heat_map import HeatMap
from trrg_core.pages.heat_overlay import draw_heat
from trrg_core.pages.shown_film import Film, data_uri


@dataclass(frozen=True, kw_only=True)
class HeatLayer:
    """The heat map of one finding over one film, as the source of an `img` tag; `number` is that of its choice."""

    number: int
    uri: str


@dataclass(frozen=True, kw_only=True)
class FilmView:
    """A film and its heat maps; `uri` is empty where there is no image."""

    view_position: str
    uri: str
    layers: tuple[HeatLayer, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FilmsView:
    """The films of a study. `choices` are the findings of its heat maps, with what to know of each.

    `is_heat_shown` is whether the first heat map is shown at first: not that of a finding that the clues do not show.
    """

    films: tuple[FilmView, ...]
    choices: tuple[tuple[str, str], ...] = ()
    is_heat_shown: bool = False


def view_films(
    films: Sequence[Film], heat_maps: Sequence[HeatMap] = (), *, shown: Collection[str] = (), heat_at_first: bool = True
) -> FilmsView:
    """The films in their order, each with its heat maps.

    Args:
        films: first those that the model reads, in its order; further ones have no heat map.
        heat_maps: of the films that the model reads.
        shown: the findings that the clues show.
        heat_at_first: whether a heat map may be shown before a reader chooses one.
    """
    return FilmsView(
        films=tuple(_view_film(film, at, heat_maps) for at, film in enumerate(films)),
        choices=tuple((heat.finding, _note(heat, shown)) for heat in heat_maps),
        is_heat_shown=heat_at_first and any(heat.finding in shown for heat in heat_maps),
    )


def _view_film(film: Film, at: int, heat_maps: Sequence[HeatMap]) -> FilmView:
    uri = data_uri(film)
    of_film = [heat for heat in heat_maps if uri and at < len(heat.values_VHW)]
    if not of_film:
        return FilmView(view_position=film.view_position, uri=uri)
    with Image.open(io.BytesIO(film.jpeg)) as image:
        size = image.size
    pngs = [draw_heat(heat.values_VHW[at], value_max=heat.value_max, film_size=size) for heat in of_film]
    return FilmView(
        view_position=film.view_position,
        uri=uri,
        layers=tuple(
            HeatLayer(number=number, uri=f"data:image/png;base64,{b64encode(png).decode()}")
            for number, png in enumerate(pngs)
        ),
    )


def _note(heat: HeatMap, shown: Collection[str]) -> str:
    notes = ["" if heat.finding in shown else "below its threshold", "" if heat.value_max > 0 else "no patch agrees"]
    return ", ".join(note for note in notes if note)
