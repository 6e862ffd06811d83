"""`shards` + generator run -> `predictions`: every study of the split exactly once, through Ray Data.

Besides the hypothesis and its clues, each row names the training study whose image is nearest in the joint space:
the report of that study is one of the floors.
"""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import ray
import torch

from pipelines.ray_data.cluster import connect
from pipelines.ray_data.read import stream_table
from pipelines.ray_data.write import Made, write_parts
from pipelines.records.commit import TableWork, commit_output, find_existing
from pipelines.records.fingerprint import job_fingerprint
from pipelines.records.job_result import JobResult
from pipelines.training.runs import fetched_model
from trrg_core.config.settings import GenerateConfig, TrrgConfig
from trrg_core.errors import DataError
from trrg_core.generation.decoding import write_reports
from trrg_core.metrics.floors import nearest_neighbour
from trrg_core.model.model_folder import LoadedGenerator, load_model_folder
from trrg_core.storage.store import Store
from trrg_core.tables.delta import read_table
from trrg_core.tables.schema import PREDICTIONS
from trrg_core.tables.table_ref import TableRef
from trrg_core.training.batch import Batch
from trrg_core.training.collate import collate_images

COLUMNS = ["subject_id", "study_id", "split", "has_prior", "views"]
ROWS_PER_TASK = 2048


def run(config: TrrgConfig, store: Store, inputs: Mapping[str, str]) -> JobResult:
    """Generate a report for every study of the split into a version of `predictions`."""
    shards, split = TableRef.parse(inputs["shards"]), config.generate.split
    work = TableWork(
        job="generate",
        store=store,
        table="predictions",
        schema=PREDICTIONS,
        fingerprint=job_fingerprint("generate", config.generate, store, inputs),
        parents=(str(shards), inputs["generator"]),
    )
    if found := find_existing(work):
        return found
    connect(config.ray)
    wanted = read_table(store, shards, columns=["split", "study_id"], split=split)["study_id"].to_pylist()
    if not wanted:
        raise DataError("no_studies", f"{shards} has no studies of split {split!r} to generate for")
    settings = {"store": store, "run_id": inputs["generator"], "config": config.generate, "gpu": config.engine.use_gpu}
    train_ids, train_embeddings = _embed_train(store, shards, settings, config)
    written = write_parts(
        work,
        stream_table(store, shards, COLUMNS, split=split),
        generate_batch,
        {**settings, "train": ray.put((train_ids, train_embeddings))},
        batch_rows=_share(len(wanted), config),
        total=len(wanted),
        num_gpus=float(config.engine.use_gpu),
    )
    _check_once([study_id for _, study_id, _ in written.ids], wanted)
    return commit_output(work, written, counts={"studies_in": len(wanted), "predictions": written.num_out})


def generate_batch(batch: pa.Table, settings: Mapping[str, object]) -> Made:
    """Predictions for a batch of shard rows."""
    config = settings["config"]
    assert isinstance(config, GenerateConfig)
    loaded = _model(settings)
    train_ids, train_embeddings = ray.get(settings["train"])
    made: list[dict] = []
    for some in _groups(batch.to_pylist(), config.batch_size):
        images = _images(some, loaded)
        reports = write_reports(loaded, images, config)
        nearest = nearest_neighbour(_embed(loaded, images), train_embeddings)
        made += [
            {
                "subject_id": row["subject_id"],
                "study_id": row["study_id"],
                "split": row["split"],
                "hypothesis": report.text,
                "clues": [{"observation": clue.observation, "probability": clue.probability} for clue in report.clues],
                "neighbour_study_id": train_ids[index],
            }
            for row, report, index in zip(some, reports, nearest, strict=True)
        ]
    return Made(rows=pa.Table.from_pylist(made, schema=PREDICTIONS))


def embed_batch(batch: pa.Table, *, settings: Mapping[str, object]) -> pa.Table:
    """Study ids and joint-space vectors [N,D] of a batch of shard rows."""
    loaded = _model(settings)
    vectors = np.concatenate([_embed(loaded, _images(rows, loaded)) for rows in _groups(batch.to_pylist(), 32)])
    column = pa.FixedSizeListArray.from_arrays(vectors.ravel(), vectors.shape[1])
    return pa.table({"study_id": batch["study_id"], "vector": column})


def _embed_train(
    store: Store, shards: TableRef, settings: Mapping[str, object], config: TrrgConfig
) -> tuple[list[str], np.ndarray]:
    """Ids and vectors of the training studies, in id order."""
    num_train = read_table(store, shards, columns=["split"], split="train").num_rows
    embedded = stream_table(store, shards, COLUMNS, split="train").map_batches(
        embed_batch,
        batch_format="pyarrow",
        batch_size=_share(num_train, config),
        fn_kwargs={"settings": settings},
        num_gpus=float(config.engine.use_gpu) or None,
    )
    rows = pa.concat_tables(embedded.iter_batches(batch_size=None, batch_format="pyarrow")).sort_by("study_id")
    vectors = rows["vector"].combine_chunks().flatten().to_numpy()
    return rows["study_id"].to_pylist(), vectors.reshape(rows.num_rows, -1)


def _share(num_rows: int, config: TrrgConfig) -> int:
    """Rows of a task: a worker's share, so that each loads the model once, but no more than a file's worth."""
    share = -(-num_rows // config.engine.num_workers)
    return max(config.generate.batch_size, min(ROWS_PER_TASK, share))


def _images(rows: list[dict], loaded: LoadedGenerator) -> Batch:
    batch = collate_images(rows, observations=loaded.observations, config=loaded.config.pretrain)
    return batch.to(next(loaded.generator.parameters()).device)


@torch.no_grad()
def _embed(loaded: LoadedGenerator, images: Batch) -> np.ndarray:
    vectors: np.ndarray = loaded.generator.contrastive.encode_images(images).study_BD.float().cpu().numpy()
    return vectors


def _groups(rows: list[dict], size: int) -> list[list[dict]]:
    return [rows[at : at + size] for at in range(0, len(rows), size)]


_MODELS: dict[str, LoadedGenerator] = {}


def _model(settings: Mapping[str, object]) -> LoadedGenerator:
    """The model of a generator run, once per worker process."""
    store, run_id = settings["store"], str(settings["run_id"])
    assert isinstance(store, Store)
    if run_id not in _MODELS:
        _MODELS.clear()
        with fetched_model(store, run_id) as folder:
            loaded = load_model_folder(folder)
        loaded.generator.to("cuda" if settings["gpu"] else "cpu")
        _MODELS[run_id] = loaded
    return _MODELS[run_id]


def _check_once(found: list[str], wanted: list[str]) -> None:
    if sorted(found) != sorted(wanted):
        missing, extra = sorted(set(wanted) - set(found))[:3], len(found) - len(set(found))
        raise DataError(
            "predictions_incomplete",
            f"{len(wanted)} studies to predict, {len(found)} rows found; missing e.g. {missing}, {extra} duplicates",
        )
