"""What a generator does with the images of a few studies of an evaluation: drafts of changed images, and heat maps.

Done here, or by one Ray task where there is a cluster or a GPU; the model is loaded once for both.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray

from pipelines.ray_data.cluster import connect
from pipelines.ray_data.loaded_model import ModelSource, load_model
from pipelines.records.progress import track
from trrg_core.config.settings import GenerateConfig, TrrgConfig
from trrg_core.generation.heat_map import HeatMap
from trrg_core.generation.heat_reading import map_studies
from trrg_core.generation.image_conditions import count_drafts, write_with_changed_images
from trrg_core.metrics.systems import System
from trrg_core.storage.store import Store

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ImageWork:
    """Rows of `shards` that are written with changed images, and others with the findings of their heat maps."""

    changed: Sequence[Row] = ()
    mapped: Sequence[Row] = ()
    findings: Sequence[Sequence[str]] = ()


@dataclass(frozen=True, kw_only=True)
class ImageResults:
    """The texts by kind of image, in the order of `changed`, and the heat maps of each of `mapped`."""

    drafts: Mapping[System, list[str]] = field(default_factory=dict)
    heat_maps: Sequence[tuple[HeatMap, ...]] = ()


def choose_changed(study_ids: Sequence[str], limit: int) -> list[int]:
    """The places of at most `limit` studies: the same ones for every model, whatever the order of the ids."""
    drawn = sorted(range(len(study_ids)), key=lambda at: (zlib.crc32(study_ids[at].encode()), study_ids[at]))
    return sorted(drawn[:limit], key=lambda at: study_ids[at])


def do_image_work(config: TrrgConfig, store: Store, run_id: str, work: ImageWork) -> ImageResults:
    """The results of `work` by the model of a generator run, which is not loaded where there is nothing to do."""
    if not (work.changed or work.mapped):
        return ImageResults()
    source = ModelSource(
        store=store,
        run_id=run_id,
        device="cuda" if config.engine.use_gpu else "cpu",
        key_file=config.engine.manifest_key_file,
    )
    if not (config.ray.address or config.engine.use_gpu):
        return _work(source, work, config.generate)  # a local cluster takes longer to start than this
    connect(config.ray)
    task = ray.remote(num_cpus=1, num_gpus=float(config.engine.use_gpu), max_retries=3)(_work)
    results: ImageResults = ray.get(task.remote(source, work, config.generate))
    return results


def _work(source: ModelSource, work: ImageWork, config: GenerateConfig) -> ImageResults:
    loaded = load_model(source)
    drafts: dict[System, list[str]] = {}
    if work.changed:
        with track("reports with changed images", count_drafts(work.changed)) as written_one:
            drafts = write_with_changed_images(loaded, work.changed, config, written_one)
    return ImageResults(drafts=drafts, heat_maps=map_studies(loaded, work.mapped, work.findings))
