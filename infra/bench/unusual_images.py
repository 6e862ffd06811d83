"""How well images unlike those of training are recognized, and how many others are taken for such.

    python -m infra.bench.unusual_images FOLDER [--other FOLDER ...]

Learns from three fifths of the images of a folder, sets the limits on a fifth, and judges the last fifth as it is and
changed in several ways, and the images of other folders. Prints the share that is marked as unusual (deviation above
1), the share of which no report is written by default, and how often it is said rightly what was done.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from trrg_core.config.settings import GenerateConfig
from trrg_core.generation.unusual_films import UnusualFilm, are_withheld
from trrg_core.imaging.decode import decode_image, encode_jpeg
from trrg_core.imaging.usual_images import ImageJudgment, UsualImages, learn_usual_images, thumbnail_of

Grey = NDArray[np.uint8]

_MOST_IMAGES = 2_000
_SUFFIXES = (".png", ".jpg", ".jpeg", ".dcm")
_NOISE = np.random.default_rng(0)
# each change, and what should be said of it
_CHANGES: Mapping[str, tuple[Callable[[Grey], Grey], str]] = {
    "as it is": (lambda pixels: pixels, ""),
    "rotated by 180 degrees": (lambda pixels: np.rot90(pixels, 2), "rotated by 180 degrees"),
    "rotated clockwise by 90 degrees": (lambda pixels: np.rot90(pixels, -1), "rotated clockwise by 90 degrees"),
    "upside down": (lambda pixels: pixels[::-1], "upside down"),
    "inverted": (lambda pixels: ~pixels, "inverted, white where others are black"),
    "left half black": (lambda pixels: _without_left(pixels), ""),
    "noise": (lambda pixels: _NOISE.integers(0, 256, pixels.shape, dtype=np.uint8), ""),
    "left and right exchanged": (lambda pixels: pixels[:, ::-1], ""),
}


def main() -> None:
    """Prints the table."""
    arguments = argparse.ArgumentParser(prog="python -m infra.bench.unusual_images", description=__doc__)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--other", nargs="*", type=Path, default=[], help="folders of other images")
    options = arguments.parse_args()
    images = _read(options.folder)
    train, limits, test = images[0::5] + images[1::5] + images[2::5], images[3::5], images[4::5]
    usual = learn_usual_images(*([thumbnail_of(encode_jpeg(one)) for one in part] for part in (train, limits)))
    if usual is None:
        raise SystemExit(f"{options.folder}: {len(images)} images are too few")
    table = Table("images", "number", "marked", "no report", "rightly said")
    for name, (change, looks) in _CHANGES.items():
        _add(table, name, [_judge(usual, change(one)) for one in test], looks)
    for folder in options.other:
        _add(table, f"of {folder.parent.name}/{folder.name}", [_judge(usual, one) for one in _read(folder)], "")
    Console(highlight=False).print(table)


def _read(folder: Path) -> list[Grey]:
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
    return [decode_image(path.read_bytes()) for path in paths[:: -(-len(paths) // _MOST_IMAGES) or 1]]


def _judge(usual: UsualImages, pixels: Grey) -> ImageJudgment:
    return usual.judge(encode_jpeg(np.ascontiguousarray(pixels)))


def _without_left(pixels: Grey) -> Grey:
    cut = pixels.copy()
    cut[:, : pixels.shape[1] // 2] = 0
    return cut


def _add(table: Table, name: str, judged: Sequence[ImageJudgment], looks: str) -> None:
    above = GenerateConfig().withhold_above
    shares = [
        np.mean([one.is_unusual for one in judged]),
        np.mean([are_withheld(_as_films(one), above=above) for one in judged]),
        np.mean([one.looks == looks for one in judged]),
    ]
    table.add_row(
        name, str(len(judged)), *(f"{share:.1%}" for share in shares[:2]), f"{shares[2]:.1%}" if looks else ""
    )


def _as_films(one: ImageJudgment) -> list[UnusualFilm]:
    return [UnusualFilm(name="", deviation=one.deviation, looks=one.looks)] if one.is_unusual else []


if __name__ == "__main__":
    main()
