"""Drafts of a few studies with changed images, written here, or by one Ray task where there is a cluster or a GPU."""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import ray

from pipelines.ray_data.cluster import connect
from pipelines.ray_data.loaded_model import ModelSource, load_model
from trrg_core.config.settings import GenerateConfig, TrrgConfig
from trrg_core.generation.image_conditions import write_with_changed_images
from trrg_core.metrics.systems import System
from trrg_core.storage.store import Store

Row = Mapping[str, Any]


def choose_changed(study_ids: Sequence[str], limit: int) -> list[int]:
    """The places of at most `limit` studies: the same ones for every model, whatever the order of the ids."""
    drawn = sorted(range(len(study_ids)), key=lambda at: (zlib.crc32(study_ids[at].encode()), study_ids[at]))
    return sorted(drawn[:limit], key=lambda at: study_ids[at])


def write_changed(config: TrrgConfig, store: Store, run_id: str, rows: Sequence[Row]) -> dict[System, list[str]]:
    """What the model of a generator run writes of `rows` with each image; texts in the order of the rows."""
    source = ModelSource(
        store=store,
        run_id=run_id,
        device="cuda" if config.engine.use_gpu else "cpu",
        key_file=config.engine.manifest_key_file,
    )
    if not (config.ray.address or config.engine.use_gpu):
        return _write(source, rows, config.generate)  # a local cluster takes longer to start than this
    connect(config.ray)
    task = ray.remote(num_cpus=1, num_gpus=float(config.engine.use_gpu), max_retries=3)(_write)
    written: dict[System, list[str]] = ray.get(task.remote(source, list(rows), config.generate))
    return written


def _write(source: ModelSource, rows: Sequence[Row], config: GenerateConfig) -> dict[System, list[str]]:
    return write_with_changed_images(load_model(source), rows, config)
