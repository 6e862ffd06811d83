"""`shards` + generator run -> `predictions`: every study of the split exactly once, through Ray Data.

Besides the hypothesis and its clues, each row names the training study whose image is nearest in the joint space:
the report of that study is one of the floors of the evaluation.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import ray
from numpy.typing import NDArray

from pipelines.ray_data.cluster import connect
from pipelines.ray_data.map_tables import map_tables
from pipelines.ray_data.read import stream_table
from pipelines.ray_data.write import BatchResult, write_parts
from pipelines.records.commit import TableWork, commit_output, find_existing
from pipelines.records.fingerprint import job_fingerprint
from pipelines.records.job_result import JobResult
from trrg_core.config.settings import GenerateConfig, TrrgConfig
from trrg_core.errors import DataError
from trrg_core.generation.abstention import abstains
from trrg_core.generation.decoding import EncodedStudies, encode_studies, stream_reports
from trrg_core.metrics.floors import nearest_neighbour
from trrg_core.model.encoders import ImageFeatures
from trrg_core.model.model_folder import LoadedGenerator, load_model_folder
from trrg_core.model.operating_points import operating_points_from_json, with_clue_shift
from trrg_core.runs.stored_model import fetched_model, model_path
from trrg_core.signing.manifest_key import read_manifest_key
from trrg_core.storage.store import Store
from trrg_core.tables.arrow_numpy import whole
from trrg_core.tables.delta import read_table
from trrg_core.tables.parquet import Part, read_part
from trrg_core.tables.rows.prediction_row import prediction_row
from trrg_core.tables.schema import PREDICTIONS
from trrg_core.tables.table_ref import TableRef
from trrg_core.training.batch import Batch
from trrg_core.training.collate import collate_images

COLUMNS = ["subject_id", "study_id", "split", "has_prior", "views"]
ROWS_PER_TASK = 2048
IMAGES_AT_ONCE = 32

Row = dict[str, Any]
Vectors = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """The generator run whose model a task loads, the device it runs on, and the file of the key of manifests."""

    store: Store
    run_id: str
    device: str
    key_file: str = ""


@dataclass(frozen=True, kw_only=True)
class TrainEmbeddings:
    """Ids of the training studies, and their joint-space vectors [N,D] in the same order."""

    study_ids: tuple[str, ...]
    vectors: Vectors


@dataclass(frozen=True, kw_only=True)
class GenerateSettings:
    """What every generating task receives; the embeddings are in the object store."""

    model: ModelSource
    config: GenerateConfig
    train: ray.ObjectRef[TrainEmbeddings]


def run(config: TrrgConfig, store: Store, inputs: Mapping[str, str]) -> JobResult:
    """Generate a report for every study of the split into a version of `predictions`.

    Raises:
        ConfigError: if the model does not reach a target of `config.generate`.
    """
    shards, split = TableRef.parse(inputs["shards"]), config.generate.split
    work = TableWork(
        job="generate",
        store=store,
        table="predictions",
        schema=PREDICTIONS,
        fingerprint=job_fingerprint("generate", config.generate, store, inputs),
        parents=(str(shards), inputs["generator"]),
    )
    if existing := find_existing(work):
        return existing
    points = operating_points_from_json(
        json.loads(store.read_bytes(f"{model_path(inputs['generator'])}/perception.json"))
    )
    decoding = with_clue_shift(config.generate, points)
    connect(config.ray)
    wanted: list[Any] = read_table(store, shards, columns=["split", "study_id"], split=split)["study_id"].to_pylist()
    if not wanted:
        raise DataError("no_studies", f"{shards} has no studies of split {split!r} to generate for")
    device = "cuda" if config.engine.use_gpu else "cpu"
    model = ModelSource(
        store=store, run_id=inputs["generator"], device=device, key_file=config.engine.manifest_key_file
    )
    train = ray.put(_embed_train(store, shards, model, config))
    share = _rows_per_task(len(wanted), config)
    output = write_parts(
        work,
        # a task maps whole blocks: without this one task would generate for a whole file
        stream_table(store, shards, COLUMNS, split=split).repartition(target_num_rows_per_block=share),
        generate_batch,
        GenerateSettings(model=model, config=decoding, train=train),
        batch_rows=share,
        total=len(wanted),
        num_gpus=float(config.engine.use_gpu),
        watched=False,  # a task of 2048 reports may take an hour on a CPU
    )
    _check_once([study_id for _, study_id, _ in output.ids], wanted)
    counts = {"studies_in": len(wanted), "predictions": output.num_out}
    if decoding.abstain_below:
        counts["abstained"] = _count_abstaining(store, output.parts)
    return commit_output(work, output, counts=counts)


def generate_batch(shards: pa.Table, settings: GenerateSettings) -> BatchResult:
    """Predictions for a batch of shard rows."""
    loaded, train = _load_model(settings.model), ray.get(settings.train)
    rows: list[Row] = shards.to_pylist()
    nearest: list[str] = []

    def encoded() -> Iterator[EncodedStudies]:
        for group in _groups(rows, IMAGES_AT_ONCE):
            images = _images(group, loaded)
            features = encode_studies(loaded.generator, images)
            indices = nearest_neighbour(_vectors(features), train.vectors)
            nearest.extend(train.study_ids[index] for index in indices)
            yield EncodedStudies(batch=images, features=features)

    reports = list(stream_reports(loaded, encoded(), settings.config))
    predictions = [
        prediction_row(row, hypothesis=report.text, clues=report.clues, neighbour_study_id=neighbour)
        for row, report, neighbour in zip(rows, reports, nearest, strict=True)
    ]
    return BatchResult(rows=pa.Table.from_pylist(predictions, schema=PREDICTIONS))


def embed_batch(shards: pa.Table, *, model: ModelSource) -> pa.Table:
    """Study ids and joint-space vectors [N,D] of a batch of shard rows."""
    loaded = _load_model(model)
    groups = _groups(shards.to_pylist(), IMAGES_AT_ONCE)
    vectors = np.concatenate([_vectors(encode_studies(loaded.generator, _images(rows, loaded))) for rows in groups])
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    return pa.table({"study_id": shards["study_id"], "vector": column})


def _embed_train(store: Store, shards: TableRef, model: ModelSource, config: TrrgConfig) -> TrainEmbeddings:
    """The embeddings of the training studies, in id order."""
    num_train = read_table(store, shards, columns=["split"], split="train").num_rows
    embedded: Any = map_tables(
        stream_table(store, shards, COLUMNS, split="train"),
        embed_batch,
        {"model": model},
        batch_size=_rows_per_task(num_train, config),
        num_gpus=float(config.engine.use_gpu) or None,
    )
    rows = pa.concat_tables(embedded.iter_batches(batch_size=None, batch_format="pyarrow")).sort_by("study_id")
    vectors: Vectors = whole(rows["vector"]).flatten().to_numpy()
    study_ids: list[Any] = rows["study_id"].to_pylist()
    return TrainEmbeddings(study_ids=tuple(study_ids), vectors=vectors.reshape(rows.num_rows, -1))


def _rows_per_task(num_rows: int, config: TrrgConfig) -> int:
    """An equal share for each worker, so that each loads the model once, but no more than `ROWS_PER_TASK`."""
    share = -(-num_rows // config.engine.num_workers)
    return max(config.generate.batch_size, min(ROWS_PER_TASK, share))


def _images(rows: list[Row], loaded: LoadedGenerator) -> Batch:
    batch = collate_images(rows, observations=loaded.observations, config=loaded.config.pretrain)
    return batch.to(next(loaded.generator.parameters()).device)


def _vectors(features: ImageFeatures) -> Vectors:
    vectors: Vectors = features.study_BD.float().cpu().numpy()
    return vectors


def _groups(rows: list[Row], size: int) -> list[list[Row]]:
    return [rows[at : at + size] for at in range(0, len(rows), size)]


@lru_cache(maxsize=1)
def _load_model(source: ModelSource) -> LoadedGenerator:
    """The model of a generator run, loaded once per worker process."""
    _load_model.cache_clear()  # memory may not hold two: the model of another run is released first
    key = read_manifest_key(source.key_file, source.store.uri)
    with fetched_model(source.store, source.run_id, key=key) as folder:
        loaded = load_model_folder(folder, merge_adapter=True)
    loaded.generator.to(source.device)
    return loaded


def _count_abstaining(store: Store, parts: Sequence[Part]) -> int:
    """The number of reports that say of some finding that it cannot be assessed."""
    tables = (read_part(store, "predictions", part, columns=["hypothesis"]) for part in parts)
    reports: list[Any] = [report for table in tables for report in table["hypothesis"].to_pylist()]
    return sum(abstains(report) for report in reports)


def _check_once(written: Sequence[str], wanted: Sequence[str]) -> None:
    if sorted(written) != sorted(wanted):
        missing, extra = sorted(set(wanted) - set(written))[:3], len(written) - len(set(written))
        raise DataError(
            "predictions_incomplete",
            f"{len(wanted)} studies to predict, {len(written)} rows found; missing e.g. {missing}, {extra} duplicates",
        )
