"""Precision and recall of the detector of burned-in text, on drawn films with and without text.

`python -m infra.bench.burned_in_text`: films of the sample corpus, half of them with an invented name, date or number
near a border, every other one along a side, in letters of 1 to 3 % of the film and of several contrasts; the others
with what is no text: side markers, wires, clips, edges of collimation. Exits 1 if precision or recall falls below its
floor.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFont

from trrg_core.imaging.burned_in_text import count_text_rows
from trrg_core.imaging.intensity import Grey
from trrg_core.sources.sample.layout import generate_studies
from trrg_core.sources.sample.radiograph import render_radiograph

NUM_FILMS = 400
SIDE_PX = 1024
FLOOR_PRECISION, FLOOR_RECALL = 0.95, 0.8
TEXTS = ("DOE, JANE 12/03/1961", "ID 0012-4471", "14.02.2019 09:41", "WARD 7 BED 12", "Room 204 Smith")
VIEWS = ("PA", "LATERAL", "AP")
SIZES = (0.01, 0.015, 0.02, 0.03)  # height of the letters, share of the film's long side


@dataclass(frozen=True, kw_only=True)
class DrawnFilm:
    """A film `[H, W]`; `size` is that of its letters, 0 for no text, which `is_vertical` if it runs up a side."""

    pixels: Grey
    size: float
    is_vertical: bool


def draw_films(count: int, seed: int = 0) -> Iterator[DrawnFilm]:
    """`count` films, every other one with text."""
    rng = np.random.default_rng(seed)
    studies = generate_studies(count, seed=seed)
    for number, study in enumerate(studies):
        film = render_radiograph(study.patient, study.truth, VIEWS[number % 3], seed)
        film = film.resize(
            (round(SIDE_PX * film.width / max(film.size)), round(SIDE_PX * film.height / max(film.size)))
        )
        size = SIZES[number // 2 % len(SIZES)] if number % 2 else 0.0
        _draw_no_text(film, rng)
        is_vertical = bool(size) and number % 16 >= 8
        if size:
            film = film.rotate(-90, expand=True) if is_vertical else film
            _draw_text(film, size, rng)
            film = film.rotate(90, expand=True) if is_vertical else film
        noise = rng.normal(0, 3, (film.height, film.width))
        yield DrawnFilm(
            pixels=np.clip(np.asarray(film) + noise, 0, 255).astype(np.uint8), size=size, is_vertical=is_vertical
        )


def _draw_no_text(film: Image.Image, rng: Generator) -> None:
    """A side marker, wires, clips and an edge of collimation."""
    pen = ImageDraw.Draw(film)
    width, height = film.size
    font = ImageFont.load_default(size=int(rng.integers(20, 60)))
    pen.text((0.1 * width, 0.08 * height), str(rng.choice(["L", "R", "AP"])), fill=255, font=font)
    for _ in range(rng.integers(0, 5)):
        points = [(float(rng.uniform(0, width)), float(rng.uniform(0, height))) for _ in range(3)]
        pen.line(points, fill=int(rng.integers(180, 255)), width=int(rng.integers(1, 5)))
    for _ in range(rng.integers(0, 12)):  # clips and electrodes
        x, y, side = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(4, 24)
        pen.ellipse((x, y, x + side, y + side), fill=int(rng.integers(180, 255)))
    if rng.random() < 0.5:
        pen.rectangle((0, 0, int(rng.integers(5, 60)), height), fill=0)


def _draw_text(film: Image.Image, size: float, rng: Generator) -> None:
    pen = ImageDraw.Draw(film)
    # the capital letters of the font are about 0.73 of its size
    font = ImageFont.load_default(size=round(size * SIDE_PX / 0.73))
    text = str(rng.choice(TEXTS))
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    x = rng.uniform(4, max(5, film.width - (right - left) - 4))
    y = rng.choice([rng.uniform(4, 0.12 * film.height), rng.uniform(0.88, 0.95) * film.height - (bottom - top)])
    pen.text((x, y), text, fill=int(rng.integers(220, 256)), font=font)


def measure(count: int = NUM_FILMS) -> tuple[float, float, dict[tuple[float, bool], tuple[int, int]]]:
    """Precision, recall, and the numbers of films flagged and drawn by size of the letters and `is_vertical`."""
    by_size: dict[tuple[float, bool], list[bool]] = defaultdict(list)
    for film in draw_films(count):
        by_size[film.size, film.is_vertical].append(count_text_rows(film.pixels) > 0)
    flagged = sum(sum(found) for (size, _), found in by_size.items() if size)
    false = sum(by_size[0.0, False])
    with_text = sum(len(found) for (size, _), found in by_size.items() if size)
    counts = {size: (sum(found), len(found)) for size, found in sorted(by_size.items())}
    return flagged / max(1, flagged + false), flagged / with_text, counts


def main() -> int:
    """Print a table and a verdict."""
    argparse.ArgumentParser(prog="python -m infra.bench.burned_in_text", description=__doc__).parse_args()
    precision, recall, counts = measure()
    for (size, is_vertical), (flagged, drawn) in counts.items():
        name = f"letters of {size:.1%}{', vertical' if is_vertical else ''}" if size else "no text"
        print(f"{name:26} {flagged:4} of {drawn:4} flagged")
    passed = precision >= FLOOR_PRECISION and recall >= FLOOR_RECALL
    scores = f"precision {precision:.3f} (floor {FLOOR_PRECISION}), recall {recall:.3f} (floor {FLOOR_RECALL})"
    print(f"{'PASS' if passed else 'FAIL'}: {scores}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
