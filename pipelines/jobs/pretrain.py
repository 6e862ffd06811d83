"""`shards` -> a contrastive run: stage 1 trained, its disease perception calibrated on `validate`."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from pipelines.ray_data.map_split import map_split
from pipelines.records.job_result import JobResult
from pipelines.training.gpu_memory import check_memory_of_stage
from pipelines.training.runs import check_label_set, corpus_tokenizer, find_or_train, observations_of
from pipelines.training.stage import UNSCORED, Collate, Stage, TrainingTask
from pipelines.training.usual_images import learn_from_shards
from trrg_core.config.settings import TrrgConfig
from trrg_core.errors import TrainingError
from trrg_core.labels import STATED_PRESENT, load_label_set
from trrg_core.metrics.perception_scores import (
    Floats,
    PerceptionScores,
    SplitScores,
    headline_metrics,
    score_perception,
    scores_to_json,
    split_scores,
)
from trrg_core.model.backbones import check_values
from trrg_core.model.calibration import fit_calibration, fit_degree_calibration, fit_side_calibration
from trrg_core.model.contrastive import build_contrastive
from trrg_core.model.folder_content import by_content, check_folder_exists
from trrg_core.model.model_folder import (
    LoadedContrastive,
    load_contrastive_folder,
    save_contrastive_folder,
    take_weights,
)
from trrg_core.model.model_size import pretrain_size
from trrg_core.model.operating_points import measure_operating_points
from trrg_core.model.perception import DiseasePerception, build_perception
from trrg_core.model.study_scores import score_studies
from trrg_core.model.weight_origin import warn_of_moving_weights
from trrg_core.pages.perception_page import PerceptionPage, render_perception
from trrg_core.pages.seen_studies import choose_varied, see_studies
from trrg_core.registry.perception_gate import failed_bounds, not_judged
from trrg_core.runs.results import run_path
from trrg_core.runs.stored_model import fetched_model, uploaded_model
from trrg_core.signing.manifest_key import read_manifest_key
from trrg_core.storage.store import Store
from trrg_core.tables.delta import read_schema, read_table
from trrg_core.tables.lookup import read_studies
from trrg_core.tables.schema import STUDY_SCORES
from trrg_core.training.collate import collate_pretrain
from trrg_core.training.prompts import load_prompts
from trrg_core.training.statement_pairs import PairMaker

logger = logging.getLogger(__name__)

SCORES = "perception_scores.json"
PAGE = "perception.html"
GATE_NOTE = "perception_gate"  # of the job's result, not of the run's: other bounds judge the same run again
_PAGE_STUDIES = 8


@dataclass(frozen=True, kw_only=True)
class ScoredModel:
    """The run whose uncalibrated model a task loads, the device it runs on, and the file of the key of manifests."""

    store: Store
    run_id: str
    device: str
    key_file: str


def run(config: TrrgConfig, store: Store, inputs: Mapping[str, str]) -> JobResult:
    """Train stage 1 on a version of `shards`.

    Raises:
        TrainingError: if its perception fails a bound of `perception_gate`; the run is kept, and is judged again, not
            trained again, under other bounds.
        ConfigError: if `shards` has the labels of another label set, or a backbone does not know a value or is missing.
    """
    encoders = {name: getattr(config.pretrain, name) for name in ("image_encoder", "text_encoder")}
    for name, encoder in encoders.items():
        check_values(encoder, f"pretrain.{name}")
        if not config.ray.address:  # the workers are on this machine
            check_folder_exists(encoder, f"pretrain.{name}")
        warn_of_moving_weights(encoder, f"pretrain.{name}")
    check_label_set(config, store, inputs["shards"])
    stage = Stage(
        name="pretrain",
        schedule=config.pretrain,
        build=build,
        collate=collate,
        save=save,
        score=score,
        joins_micro_batches=True,
        page=PAGE,
    )
    identity = config.pretrain.model_copy(update={name: by_content(encoder) for name, encoder in encoders.items()})
    result, reused = find_or_train(stage, config, [identity, config.parse.label_set], store, inputs)
    if failed := failed_bounds(result.metrics, config.perception_gate):
        raise TrainingError(
            f"the perception of {result.run_id} is too weak for stage 2: {'; '.join(failed)}. Train longer, look at "
            f"{result.path}/{SCORES}, or lower the bound"
        )
    if verdict := not_judged(result.metrics, config.perception_gate):
        logger.warning("the perception of %s is %s", result.run_id, verdict)
    job = JobResult.of_run(result, reused=reused)
    return replace(job, notes={**job.notes, GATE_NOTE: verdict or "passed"})


def build(task: TrainingTask) -> nn.Module:
    """The contrastive model, with a tokenizer that is the same on every rank."""
    check_memory_of_stage(task.config, pretrain_size, task.config.pretrain.optimizer)
    return build_contrastive(task.config, _tokenizer(task), observations_of(task.config))


def collate(task: TrainingTask) -> Collate:
    """Makes a step's batch: radiographs with drawn sentences, prompts and hard negatives."""
    observations = observations_of(task.config)
    return partial(
        collate_pretrain,
        tokenizer=_tokenizer(task),
        prompts=load_prompts(observations),
        observations=observations,
        config=task.config.pretrain,
    )


def save(task: TrainingTask, state: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """Write the model folder with perception as it is before calibration; no numbers."""
    config, tokenizer, observations = task.config, _tokenizer(task), observations_of(task.config)
    model = build_contrastive(config, tokenizer, observations)
    take_weights(model, state)
    perception = build_perception(model.eval(), tokenizer, observations)
    with uploaded_model(task.store, task.run_id, UNSCORED, key=task.manifest_key) as folder:
        save_contrastive_folder(folder, config=config, contrastive=model, perception=perception, tokenizer=tokenizer)
    return {}


def score(task: TrainingTask) -> dict[str, float]:
    """Calibrate perception on `validate`, score it on `test`, write the final model folder.

    The folder also learns how images of `train` and `validate` usually look.

    Raises:
        TrainingError: if the scores of the model are not finite.
    """
    config, observations = task.config, observations_of(task.config)
    with fetched_model(task.store, task.run_id, UNSCORED, key=task.manifest_key) as folder:
        model = load_contrastive_folder(folder)
    no_finding = load_label_set(config.parse.label_set).no_finding
    validate, test = score_split(task, "validate"), score_split(task, "test")
    for split, scored, lack in (("validate", validate, "calibrated"), ("test", test, "scored")):
        if not scored.study_ids:
            logger.warning("%s has no studies of split %r: perception is not %s", task.shards, split, lack)
        check_scores(scored, split=split, run_id=task.run_id)
    calibrate(model.perception, validate, no_finding=no_finding)
    model.perception.usual_images = learn_from_shards(task.store, task.shards)
    scores = score_perception(
        test, *calibrated_probabilities(model.perception, test), observations=observations, seed=config.seed
    )
    with uploaded_model(task.store, task.run_id, key=task.manifest_key) as folder:
        save_contrastive_folder(
            folder,
            config=config,
            contrastive=model.contrastive,
            perception=model.perception,
            tokenizer=model.tokenizer,
        )
    task.store.write_bytes(f"{task.path}/{SCORES}", json.dumps(scores_to_json(scores)).encode())
    write_page(task, model, scores, test)
    metrics = headline_metrics(scores, is_zero_shot=not config.pretrain.prompt_supervision)
    return metrics | {"test_studies": float(len(test.study_ids))}


def check_scores(scored: SplitScores, *, split: str, run_id: str) -> None:
    """Check that a model gives numbers.

    Raises:
        TrainingError: if a score is not finite: what is made of it would look like a bad model, or like none.
    """
    bad = [
        study
        for study, is_good in zip(scored.study_ids, np.isfinite(scored.score_NO).all(1), strict=True)
        if not is_good
    ]
    if bad:
        raise TrainingError(
            f"the model of {run_id} has no finite scores for {len(bad)} of {len(scored.study_ids)} studies of split "
            f"{split!r}, e.g. {bad[0]}: train with a lower learning rate, and look at {run_path(run_id)}/losses.json"
        )


def write_page(task: TrainingTask, model: LoadedContrastive, scores: PerceptionScores, test: SplitScores) -> None:
    """Write the HTML page of the scores and of a few studies into the run's folder."""
    config = task.config
    chosen = choose_varied(test.stated_NO == STATED_PRESENT, num=_PAGE_STUDIES, seed=config.seed)
    study_ids = [test.study_ids[index] for index in chosen]
    rows = read_studies(task.store, task.shards, study_ids, read_schema(task.store, task.shards).names).to_pylist()
    no_finding = load_label_set(config.parse.label_set).no_finding or ""
    page = PerceptionPage(
        title="What stage 1 sees",
        split="test",
        num_studies=len(test.study_ids),
        num_patients=len(set(test.subject_ids)),
        is_zero_shot=not config.pretrain.prompt_supervision,
        scores=scores,
        studies=see_studies(model.contrastive, model.perception, rows, no_finding=no_finding),
        lineage={"run": task.run_id, **task.inputs, "code version": task.code_version},
    )
    task.store.write_bytes(f"{task.path}/{PAGE}", render_perception(page).encode())


def calibrate(perception: DiseasePerception, validate: SplitScores, *, no_finding: str | None) -> None:
    """Fit the calibration of every finding, side and degree on the scores of `validate`.

    Measures the operating points of the findings, those without `no_finding`, on the same studies.
    """
    perception.set_calibrations(
        fit_calibration(validate.score_NO, validate.stated_NO),
        fit_side_calibration(
            validate.side_score_NO2, validate.stated_NO, validate.side_NO, sided=perception.sided_O.tolist()
        ),
        fit_degree_calibration(
            validate.degree_score_NO3, validate.stated_NO, validate.degree_NO, graded=perception.graded_O.tolist()
        ),
    )
    probability_NO, *_ = calibrated_probabilities(perception, validate)
    perception.operating_points = measure_operating_points(
        probability_NO,
        validate.stated_NO,
        [calibration.threshold for calibration in perception.calibrations],
        counted=[name != no_finding for name in perception.observations],
    )


def calibrated_probabilities(perception: DiseasePerception, scores: SplitScores) -> tuple[Floats, Floats, Floats]:
    """The probability of each finding `[N,O]`, of each of its sides `[N,O,2]` and degrees `[N,O,3]`."""
    probability_ON = [
        calibration.probabilities(scores.score_NO[:, index])
        for index, calibration in enumerate(perception.calibrations)
    ]
    side_probability_O2N = [
        [
            calibration.probabilities(scores.side_score_NO2[:, index, side])
            for side, calibration in enumerate((pair.left, pair.right))
        ]
        for index, pair in enumerate(perception.side_calibrations)
    ]
    degree_probability_ON3 = [
        calibration.probabilities(scores.degree_score_NO3[:, index])
        for index, calibration in enumerate(perception.degree_calibrations)
    ]
    return (
        np.stack(probability_ON, axis=-1),
        np.moveaxis(np.array(side_probability_O2N), -1, 0),
        np.stack(degree_probability_ON3, axis=1),
    )


def score_split(task: TrainingTask, split: str) -> SplitScores:
    """Uncalibrated scores of every study of a split, in order of study ids."""
    engine, observations = task.config.engine, observations_of(task.config)
    rows = read_table(task.store, task.shards, columns=["study_id", "sentences"], split=split).to_pylist()
    maker = PairMaker(rows, prompts=load_prompts(observations), observations=observations)
    source = ScoredModel(
        store=task.store,
        run_id=task.run_id,
        device="cuda" if engine.use_gpu else "cpu",
        key_file=engine.manifest_key_file,
    )
    table = map_split(
        task.store,
        task.shards,
        split,
        score_batch,
        {"source": source, "maker": maker},
        num_workers=engine.num_workers,
        num_gpus=float(engine.use_gpu),
        in_process=task.local,
    )
    return split_scores([] if table is None else table.to_pylist(), len(observations))


def score_batch(shards: pa.Table, *, source: ScoredModel, maker: PairMaker) -> pa.Table:
    """The scores of each study of a table of shard rows."""
    return pa.Table.from_pylist(score_rows(_load_scored(source), shards.to_pylist(), maker), schema=STUDY_SCORES)


def score_rows(model: LoadedContrastive, rows: Sequence[Mapping[str, Any]], maker: PairMaker) -> list[dict[str, Any]]:
    """The uncalibrated scores of each shard row, a micro-batch at a time."""
    size = model.config.pretrain.micro_batch_size
    return [
        row
        for at in range(0, len(rows), size)
        for row in score_studies(model.contrastive, model.perception, model.tokenizer, rows[at : at + size], maker)
    ]


@lru_cache(maxsize=1)
def _load_scored(source: ScoredModel) -> LoadedContrastive:
    """The model that is scored, once per process."""
    key = read_manifest_key(source.key_file, source.store.uri)
    with fetched_model(source.store, source.run_id, UNSCORED, key=key) as folder:
        loaded = load_contrastive_folder(folder)
    loaded.contrastive.to(source.device)
    loaded.perception.to(source.device)
    return loaded


def _tokenizer(task: TrainingTask) -> Any:
    settings = task.config.pretrain
    return corpus_tokenizer(
        task.store,
        task.shards,
        pretrained=settings.text_encoder.pretrained,
        revision=settings.text_encoder.revision,
        vocabulary_size=settings.vocabulary_size,
        lowercase=True,
    )
