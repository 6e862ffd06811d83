"""Changed radiographs: does a model still write the same without what the image shows?

Batches or rows of studies in, the same with other pixels out. B studies, V views, H W pixels.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from trrg_core.config.settings import GenerateConfig
from trrg_core.generation.decoding import EncodedStudies, encode_studies, stream_reports
from trrg_core.metrics.systems import System
from trrg_core.model.model_folder import LoadedGenerator
from trrg_core.training.batch import Batch
from trrg_core.training.collate import collate_images

Row = Mapping[str, Any]

_GREY = 128
_IMAGES_AT_ONCE = 32


def blank(batch: Batch) -> Batch:
    """Every pixel grey."""
    return replace(batch, pixels_BVHW=torch.full_like(batch.pixels_BVHW, _GREY))


def noise(batch: Batch) -> Batch:
    """Every pixel drawn at random, seeded by the ids of the studies."""
    generator = torch.Generator().manual_seed(zlib.crc32("/".join(batch.study_ids).encode()))
    pixels = torch.randint(0, 256, batch.pixels_BVHW.shape, dtype=torch.uint8, generator=generator)
    return replace(batch, pixels_BVHW=pixels.to(batch.pixels_BVHW.device))


def half_masked(batch: Batch) -> Batch:
    """The lower half grey."""
    pixels = batch.pixels_BVHW.clone()
    pixels[..., pixels.shape[-2] // 2 :, :] = _GREY
    return replace(batch, pixels_BVHW=pixels)


def exchange_views(rows: Sequence[Row]) -> list[dict[str, Any]] | None:
    """Each row with the views of the next one of another patient, in a circle; None if all are of one patient."""
    if not _has_two_patients(rows):
        return None
    return [{**row, "views": _next_of_another(rows, at)["views"]} for at, row in enumerate(rows)]


def write_with_changed_images(
    loaded: LoadedGenerator,
    rows: Sequence[Row],
    config: GenerateConfig,
    written_one: Callable[[int], None] = lambda count: None,
) -> dict[System, list[str]]:
    """One greedy draft of each study from its own image, and from each changed one: texts in the order of the rows.

    Args:
        loaded: the generator.
        rows: studies with `study_id`, `subject_id`, `has_prior` and `views`.
        config: decoding; beams, candidates and abstention are left out.
        written_one: called with 1 after each draft, of which there are `count_drafts(rows)`.
    """
    single = config.model_copy(update={"num_beams": 1, "candidates": 1, "abstain_below": 0.0})
    changes: dict[System, Callable[[Batch], Batch]] = {
        System.OWN_IMAGE: lambda batch: batch,
        System.GREY_IMAGE: blank,
        System.NOISE_IMAGE: noise,
        System.HALF_IMAGE: half_masked,
    }
    write = partial(_write, loaded, config=single, written_one=written_one)
    written = {system: write(rows, change) for system, change in changes.items()}
    exchanged = exchange_views(rows)
    if exchanged is not None:
        written[System.OTHER_IMAGE] = write(exchanged, changes[System.OWN_IMAGE])
    return written


def count_drafts(rows: Sequence[Row]) -> int:
    """The number of drafts that `write_with_changed_images` writes."""
    return len(rows) * (5 if _has_two_patients(rows) else 4)


def _write(
    loaded: LoadedGenerator,
    rows: Sequence[Row],
    change: Callable[[Batch], Batch],
    *,
    config: GenerateConfig,
    written_one: Callable[[int], None],
) -> list[str]:
    device = next(loaded.generator.parameters()).device

    def encoded() -> Iterator[EncodedStudies]:
        for at in range(0, len(rows), _IMAGES_AT_ONCE):
            group = rows[at : at + _IMAGES_AT_ONCE]
            own = collate_images(group, observations=loaded.observations, config=loaded.config.pretrain)
            batch = change(own).to(device)
            yield EncodedStudies(batch=batch, features=encode_studies(loaded.generator, batch))

    texts = []
    for report in stream_reports(loaded, encoded(), config):
        texts.append(report.text)
        written_one(1)
    return texts


def _has_two_patients(rows: Sequence[Row]) -> bool:
    return len({row["subject_id"] for row in rows}) > 1


def _next_of_another(rows: Sequence[Row], at: int) -> Row:
    later = (rows[(at + step) % len(rows)] for step in range(1, len(rows)))
    return next(row for row in later if row["subject_id"] != rows[at]["subject_id"])
