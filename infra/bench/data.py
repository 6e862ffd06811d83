"""Image ingest against a plain Pillow loop and against the bare strict decoder, in CPU-seconds.

`python -m infra.bench.data` draws noisy films of MIMIC-CXR's size, runs the three in turn for several rounds, and
prints a table with the median ratios; exits 1 when ours is not ahead of the Pillow loop by the floor.
"""

import io
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import simplejpeg
from PIL import Image

from trrg_core.image import decode, encode_jpeg, resize_long_side

SIDE_PX = 512
ROUNDS = 5
FLOOR_OVER_PILLOW = 1.3
GOAL_OF_BARE_DECODE = 0.85


def draw_films(count: int = 4, rows: int = 3056, columns: int = 2544) -> list[bytes]:
    """JPEGs (quality 95) of a slope with detector noise, which decodes about as slowly as a real film."""
    random = np.random.default_rng(0)
    slope = np.add.outer(np.arange(rows), np.arange(columns)) * 180 / (rows + columns) + 30
    films = (np.clip(slope + random.normal(0, 3, slope.shape), 0, 255).astype(np.uint8) for _ in range(count))
    return [encode_jpeg(film, 95) for film in films]


def ours(data: bytes) -> None:
    """Strict decode, resize, encode: what `read_image` does to a file it has read."""
    encode_jpeg(resize_long_side(decode(data, min_side_px=SIDE_PX).pixels, SIDE_PX), 90)


def pillow(data: bytes) -> None:
    """The loop one would write: open, grey, resize, save."""
    image = Image.open(io.BytesIO(data)).convert("L")
    image.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR, reducing_gap=None)
    image.save(io.BytesIO(), "JPEG", quality=90)


def bare(data: bytes) -> None:
    """Only the decoder, at full size."""
    simplejpeg.decode_jpeg(data, "GRAY")


def cpu_s(work: Callable[[bytes], None], films: list[bytes]) -> float:
    """CPU-seconds of this process per film."""
    start = time.process_time()
    for film in films:
        work(film)
    return (time.process_time() - start) / len(films)


def main() -> int:
    """Run the rounds, print the table and the verdict; 0 when the floor is kept."""
    films = draw_films()
    works = {"ours": ours, "Pillow loop": pillow, "bare decode": bare}
    rounds = [{name: cpu_s(work, films) for name, work in works.items()} for _ in range(ROUNDS)]
    print(f"{'':14}{'ms CPU per film':>16}{'films per CPU-s':>17}")
    for name in works:
        median = statistics.median(each[name] for each in rounds)
        print(f"{name:14}{1000 * median:16.1f}{1 / median:17.1f}")
    over_pillow = statistics.median(each["Pillow loop"] / each["ours"] for each in rounds)
    of_bare = statistics.median(each["bare decode"] / each["ours"] for each in rounds)
    passed = over_pillow >= FLOOR_OVER_PILLOW
    print(
        f"{'PASS' if passed else 'FAIL'}: {over_pillow:.2f}x the Pillow loop (floor {FLOOR_OVER_PILLOW}), "
        f"{of_bare:.0%} of bare decode speed (goal {GOAL_OF_BARE_DECODE:.0%})"
    )
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
