"""Image ingest against `ray.data.read_images`: the same files, both by Ray Data on two CPUs.

CPU seconds are those of the whole process tree: driver, processes of Ray, workers. Ray is started and its workers are
warm before the measurement.
"""

import io
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import ray
import ray.data
from numpy.typing import NDArray
from PIL import Image

from infra.bench.process_tree import watch_tree
from pipelines.jobs import ingest
from pipelines.ray_data.cluster import connect
from trrg_core.config.load import load_config
from trrg_core.config.settings import TrrgConfig
from trrg_core.imaging.decode import decode, resize_long_side
from trrg_core.storage.store import open_store

NUM_CPUS = 2
FILMS, WARM_FILMS = 264, 8  # more than one batch of studies, so that ingest goes through Ray
FLOOR_OVER_READ_IMAGES = 2.0


@dataclass(frozen=True, kw_only=True)
class Films:
    """An export with one radiograph per study, all of the same size, and the long side to which they are resized."""

    root: Path
    num: int
    side_px: int
    small_size: tuple[int, int]

    @property
    def config(self) -> TrrgConfig:
        """The configuration to ingest these images as a plain source."""
        words = [
            "source.kind=plain",
            f"source.root={self.root}",
            "source.plain.table=table.csv",
            f"ingest.max_side_px={self.side_px}",
            f"ray.local_cpus={NUM_CPUS}",
        ]
        return load_config("tiny", words)


def write_films(root: Path, films: list[bytes], num: int, side_px: int) -> Films:
    """Writes `num` files, cycling through `films`, and the table that lists them."""
    (root / "images").mkdir(parents=True)
    lines = ["image,patient,report"]
    for at in range(num):
        name = f"images/{at:05d}.jpg"
        (root / name).write_bytes(films[at % len(films)])
        lines.append(f"{name},p{at},Study {at}: the lungs are clear.")
    (root / "table.csv").write_text("\n".join(lines) + "\n")
    with Image.open(io.BytesIO(films[0])) as image:
        columns, rows = image.size
    scale = side_px / max(rows, columns)
    return Films(root=root, num=num, side_px=side_px, small_size=(round(rows * scale), round(columns * scale)))


def whole_ingest(films: Films) -> int:
    """The job: listing, SHA-256, strict decode, resize, encode, near-duplicates, Parquet with checksums, commit."""
    with TemporaryDirectory(prefix="trrg-bench-") as folder:
        result = ingest.run(films.config, open_store(folder), {})
    return int(result.counts["studies"])


def our_pixels(films: Films) -> int:
    """Strict decode and resize only, as a map over paths; returns pixels as `read_images` does."""
    paths = [{"path": str(films.root / f"images/{at:05d}.jpg")} for at in range(films.num)]
    data = ray.data.from_items(paths, override_num_blocks=-(-films.num // 32))
    decoded = data.map_batches(
        _decode_films,  # type: ignore[arg-type]  # Ray's type has no room for fn_kwargs
        batch_format="numpy",
        fn_kwargs={"side_px": films.side_px},
    )
    return _count(decoded.materialize())


def read_images_resized(films: Films) -> int:
    """`read_images(size=, mode="L")`: its own reader decodes with Pillow and resizes to a fixed size."""
    resized = ray.data.read_images(str(films.root / "images"), size=films.small_size, mode="L")
    return _count(resized.materialize())


def read_images_written(films: Films) -> int:
    """`read_images`, a map that resizes and encodes, `write_parquet`: the same table as of ingest."""
    data = ray.data.read_images(str(films.root / "images"), mode="L", include_paths=True)
    with TemporaryDirectory(prefix="trrg-bench-") as folder:
        shrunk = data.map(
            _shrink,  # type: ignore[arg-type]  # Ray's type has no room for fn_kwargs
            fn_kwargs={"side_px": films.side_px},
        )
        shrunk.write_parquet(folder)
        return _count(ray.data.read_parquet(folder))


def bench_read_images(images: list[bytes], side_px: int, num_rounds: int) -> bool:
    """Median CPU seconds of `num_rounds` interleaved rounds, after a warm-up on a few images."""
    works: dict[str, Callable[[Films], int]] = {
        "ours: the whole ingest job": whole_ingest,
        "ours: decode, resize": our_pixels,
        "read_images(size, mode)": read_images_resized,
        "read_images, map, Parquet": read_images_written,
    }
    with TemporaryDirectory(prefix="trrg-bench-") as folder:
        films = write_films(Path(folder) / "films", images, FILMS, side_px)
        few = write_films(Path(folder) / "few", images, WARM_FILMS, side_px)
        connect(films.config.ray)
        for work in works.values():
            work(few)
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
        for _ in range(num_rounds):
            for name, work in works.items():
                times[name].append(_measure(work, films))
        ray.shutdown()
    cpu = {name: statistics.median(cpu_s for cpu_s, _ in rounds) for name, rounds in times.items()}
    wall = {name: statistics.median(wall_s for _, wall_s in rounds) for name, rounds in times.items()}
    print(f"{f'{FILMS} films, Ray on {NUM_CPUS} CPUs':28}{'ms CPU per film':>16}{'ms wall':>9}")
    for name in works:
        print(f"{name:28}{1000 * cpu[name] / FILMS:16.1f}{1000 * wall[name] / FILMS:9.1f}")
    job, pixels, resized, written = cpu.values()
    ratio = resized / pixels
    passed = ratio >= FLOOR_OVER_READ_IMAGES
    print(
        f"{'PASS' if passed else 'FAIL'}: {ratio:.2f}x read_images for pixels (floor {FLOOR_OVER_READ_IMAGES}), "
        f"{written / job:.2f}x for tables, {resized / job:.2f}x for the whole job against pixels"
    )
    return passed


def _measure(work: Callable[[Films], int], films: Films) -> tuple[float, float]:
    began = time.perf_counter()
    with watch_tree() as use:
        num = work(films)
    assert num == films.num, f"{num} of {films.num} images were returned"
    return use.cpu_s, time.perf_counter() - began


def _count(data: ray.data.Dataset) -> int:
    num_rows: int = data.count()  # typed as Any in Ray
    return num_rows


def _decode_films(batch: dict[str, NDArray[Any]], side_px: int) -> dict[str, NDArray[Any]]:
    films = [decode(Path(path).read_bytes(), min_side_px=side_px).pixels for path in batch["path"]]
    return {"image": np.stack([resize_long_side(film, side_px) for film in films])}


def _shrink(row: dict[str, Any], side_px: int) -> dict[str, Any]:
    image = Image.fromarray(row["image"])
    image.thumbnail((side_px, side_px), Image.Resampling.BILINEAR, reducing_gap=None)
    with io.BytesIO() as data:
        image.save(data, "JPEG", quality=90)
        return {"path": row["path"], "jpeg": data.getvalue()}
