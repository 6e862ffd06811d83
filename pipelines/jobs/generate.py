"""`shards` + generator run -> `predictions`: every study of the split exactly once, through Ray Data.

Besides the hypothesis and its clues, each row names the training study whose film is nearest by its pixels: the report
of that study is one of the floors of the evaluation, and the same whichever model is judged.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import ray
from numpy.typing import NDArray

from pipelines.ray_data.cluster import connect
from pipelines.ray_data.loaded_model import ModelSource, load_model
from pipelines.ray_data.map_tables import map_tables
from pipelines.ray_data.read import stream_table
from pipelines.ray_data.write import BatchResult, write_parts
from pipelines.records.commit import TableWork, check_writable, commit_output, find_existing
from pipelines.records.fingerprint import job_fingerprint
from pipelines.records.job_result import JobResult
from pipelines.registry.mlflow_model import DECODING, decoding_of, settings_of
from trrg_core.config.settings import GenerateConfig, TrrgConfig
from trrg_core.errors import DataError
from trrg_core.generation.abstention import abstains
from trrg_core.generation.decoding import EncodedStudies, encode_studies, stream_reports
from trrg_core.generation.film_space import FILM_SIZE, FilmSpace, fit_film_space, read_film
from trrg_core.metrics.floors import nearest_neighbour
from trrg_core.model.model_folder import LoadedGenerator
from trrg_core.model.operating_points import operating_points_from_json, with_clue_shift
from trrg_core.runs.stored_model import model_path
from trrg_core.storage.store import Store
from trrg_core.storage.withdrawal_lock import withdrawal_state
from trrg_core.tables.arrow_numpy import whole
from trrg_core.tables.delta import read_schema, read_table
from trrg_core.tables.parquet import Part, read_part
from trrg_core.tables.rows.prediction_row import prediction_row
from trrg_core.tables.schema import PREDICTIONS
from trrg_core.tables.table_ref import TableRef
from trrg_core.training.batch import Batch
from trrg_core.training.collate import collate_images

COLUMNS = ["subject_id", "study_id", "split", "has_prior", "views"]
_CONTEXT = ("indication", "prior_report")  # for a model that reads them; older versions of shards have none
ROWS_PER_TASK = 2048
IMAGES_AT_ONCE = 32

Row = dict[str, Any]
Vectors = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class TrainFilms:
    """Ids of the training studies, the space of their films, and their vectors [N,K] in the same order."""

    study_ids: tuple[str, ...]
    space: FilmSpace
    vectors: Vectors

    def nearest(self, rows: Sequence[Row]) -> list[str]:
        """The training study whose film is nearest to that of each row of `shards`."""
        films = np.stack([read_film(row["views"]) for row in rows])
        return [self.study_ids[index] for index in nearest_neighbour(self.space.place(films), self.vectors)]


@dataclass(frozen=True, kw_only=True)
class GenerateSettings:
    """What every generating task receives; the training films are in the object store."""

    model: ModelSource
    config: GenerateConfig
    train: ray.ObjectRef[TrainFilms]


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
        withdrawals=withdrawal_state(store),
        parents=(str(shards), inputs["generator"]),
    )
    if existing := find_existing(work):
        return existing
    check_writable(work)
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
    train = ray.put(_place_train(store, shards, config))
    share = _rows_per_task(len(wanted), config)
    output = write_parts(
        work,
        # a task maps whole blocks: without this one task would generate for a whole file
        stream_table(store, shards, columns_read(store, shards), split=split).repartition(
            target_num_rows_per_block=share
        ),
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
    return commit_output(work, output, counts=counts, notes={DECODING: settings_of(decoding_of(config.generate))})


def columns_read(store: Store, shards: TableRef) -> list[str]:
    """The columns of a version of `shards` that are read of the studies to generate for."""
    present = read_schema(store, shards).names
    return [*COLUMNS, *(name for name in _CONTEXT if name in present)]


def generate_batch(shards: pa.Table, settings: GenerateSettings) -> BatchResult:
    """Predictions for a batch of shard rows."""
    loaded, train = load_model(settings.model), ray.get(settings.train)
    rows: list[Row] = shards.to_pylist()

    def encoded() -> Iterator[EncodedStudies]:
        for group in _groups(rows, IMAGES_AT_ONCE):
            images = _images(group, loaded)
            yield EncodedStudies(batch=images, features=encode_studies(loaded.generator, images))

    reports = list(stream_reports(loaded, encoded(), settings.config))
    predictions = [
        prediction_row(row, hypothesis=report.text, clues=report.clues, neighbour_study_id=neighbour)
        for row, report, neighbour in zip(rows, reports, train.nearest(rows), strict=True)
    ]
    return BatchResult(rows=pa.Table.from_pylist(predictions, schema=PREDICTIONS))


def read_films(shards: pa.Table) -> pa.Table:
    """Study ids and the pixels [N,P] of the films of a batch of shard rows."""
    films = np.stack([read_film(row["views"]) for row in shards.select(["views"]).to_pylist()])
    column = pa.FixedSizeListArray.from_arrays(pa.array(films.ravel()), FILM_SIZE)
    return pa.table({"study_id": shards["study_id"], "film": column})


def _place_train(store: Store, shards: TableRef, config: TrrgConfig) -> TrainFilms:
    """The films of the training studies, in id order."""
    num_train = read_table(store, shards, columns=["split"], split="train").num_rows
    read: Any = map_tables(
        stream_table(store, shards, ["study_id", "views"], split="train"),
        read_films,
        {},
        batch_size=_rows_per_task(num_train, config),
    )
    rows = pa.concat_tables(read.iter_batches(batch_size=None, batch_format="pyarrow")).sort_by("study_id")
    films: Vectors = whole(rows["film"]).flatten().to_numpy().reshape(rows.num_rows, -1)
    space = fit_film_space(films)
    study_ids: list[Any] = rows["study_id"].to_pylist()
    return TrainFilms(study_ids=tuple(study_ids), space=space, vectors=space.place(films))


def _rows_per_task(num_rows: int, config: TrrgConfig) -> int:
    """An equal share for each worker, so that each loads the model once, but no more than `ROWS_PER_TASK`."""
    share = -(-num_rows // config.engine.num_workers)
    return max(config.generate.batch_size, min(ROWS_PER_TASK, share))


def _images(rows: list[Row], loaded: LoadedGenerator) -> Batch:
    batch = collate_images(rows, observations=loaded.observations, config=loaded.config.pretrain)
    return batch.to(next(loaded.generator.parameters()).device)


def _groups(rows: list[Row], size: int) -> list[list[Row]]:
    return [rows[at : at + size] for at in range(0, len(rows), size)]


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
