"""`predictions` -> scores of the model and the floors, outcomes study by study for the gate, and the HTML report.

The whole split is scored at once, because corpus scores are no mean over studies.
"""

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from pipelines.ray_data.changed_images import choose_changed, write_changed
from pipelines.records.code_version import code_version
from pipelines.records.fingerprint import job_fingerprint
from pipelines.records.job_result import JobResult
from trrg_core.clue import Clue, clues_from_rows
from trrg_core.config.settings import TrrgConfig
from trrg_core.errors import DataError
from trrg_core.labels import LabelSet, load_label_set
from trrg_core.metrics.floors import clue_template, modal_report
from trrg_core.metrics.image_use import IMAGE_OUTCOMES_FILE, ImageUse, count_image_use, image_losses
from trrg_core.metrics.outcomes import OUTCOMES_FILE, OutcomeTable, outcomes_to_bytes
from trrg_core.metrics.r2gen_text import Corpus, build_vocabulary
from trrg_core.metrics.score import Prediction, Scores, ScoringOptions, score_systems
from trrg_core.metrics.score_file import SCORES_FILE, scores_to_bytes
from trrg_core.metrics.study_outcomes import count_outcomes_of
from trrg_core.metrics.study_slices import (
    SLICES_FILE,
    SliceScores,
    affirmed_by_references,
    built_in_slices,
    score_slices,
    study_columns,
)
from trrg_core.metrics.systems import System, clinical_score, metric_key
from trrg_core.metrics.truth_scores import JudgedReport
from trrg_core.model.calibration import thresholds_from_json
from trrg_core.pages.image_section import ImageSection, view_images
from trrg_core.pages.render import render_report
from trrg_core.pages.report_page import ReportPage, StudyPage, choose_studies, study_page
from trrg_core.pages.shown_film import Film
from trrg_core.pages.study_view import count_issues
from trrg_core.report.parsed import ParsedReport
from trrg_core.report.parser import ReportParser
from trrg_core.runs.results import RunResult, read_result, run_path, write_result
from trrg_core.runs.stored_model import model_path
from trrg_core.slicing.predicate import matching_rows
from trrg_core.storage.store import Store
from trrg_core.tables.delta import read_table
from trrg_core.tables.table_ref import TableRef

REPORT = "report.html"


@dataclass(frozen=True, kw_only=True)
class EvaluationInputs:
    """The predictions of each system, the model first, and the parsed references, all in one order of studies.

    `shards` has the shard row of each study by id, `options` how predictions are scored.
    """

    systems: Mapping[System, list[Prediction]]
    references: list[ParsedReport]
    shards: Mapping[str, dict[str, Any]]
    options: ScoringOptions


def run(config: TrrgConfig, store: Store, inputs: Mapping[str, str]) -> JobResult:
    """Score a version of `predictions` and the floors; write scores, outcomes and the HTML report into a run folder."""
    identity = job_fingerprint(
        "evaluate",
        # decoding counts for what is written with changed images
        [config.evaluate, config.generate, config.parse, config.shard.section, config.source.kind],
        store,
        inputs,
    )
    run_id = f"evaluate-{identity}"
    existing = read_result(store, run_id)
    if existing:
        return JobResult.of_run(existing, reused=True)
    evaluation = _gather(config, store, inputs)
    outcomes = _outcomes(evaluation)
    slices = _slices(evaluation, outcomes, config)
    scores = score_systems(evaluation.systems, evaluation.options)
    images = _image_use(evaluation, config, store, inputs["generator"])
    page = ReportPage(
        title="Generated reports and their evidence",
        systems=scores,
        studies=_study_pages(evaluation, scores[0].judged, config.evaluate.report_studies, config.seed),
        slices=slices,
        images=_image_section(images, config),
        lineage={**inputs, "code version": code_version()},
    )
    folder = run_path(run_id)
    store.write_bytes(f"{folder}/{REPORT}", render_report(page).encode())
    store.write_bytes(f"{folder}/{SCORES_FILE}", scores_to_bytes([item.to_json() for item in scores]))
    store.write_bytes(f"{folder}/{OUTCOMES_FILE}", outcomes_to_bytes(outcomes))
    store.write_bytes(f"{folder}/{SLICES_FILE}", json.dumps([item.to_json() for item in slices]).encode())
    if images:
        store.write_bytes(f"{folder}/{IMAGE_OUTCOMES_FILE}", outcomes_to_bytes(images.table))
    result = RunResult(
        run_id=run_id,
        job="evaluate",
        inputs=inputs,
        code_version=code_version(),
        metrics=_metrics(scores) | (images.values(_score_name(evaluation.options)) if images else {}),
        notes={"report": store.join(folder, REPORT), "scores": store.join(folder, SCORES_FILE)},
        finished_ms=int(time.time() * 1000),
    )
    write_result(store, result)
    return JobResult.of_run(result)


def _gather(config: TrrgConfig, store: Store, inputs: Mapping[str, str]) -> EvaluationInputs:
    shards, label_set = TableRef.parse(inputs["shards"]), load_label_set(config.parse.label_set)
    predictions = read_table(store, TableRef.parse(inputs["predictions"])).to_pylist()
    split = predictions[0]["split"] if predictions else config.generate.split
    truth = {row["study_id"]: row for row in read_table(store, shards, split=split).to_pylist()}
    if len(predictions) != len(truth) or {row["study_id"] for row in predictions} != set(truth):
        raise DataError(
            "predictions_incomplete", f"{len(predictions)} predictions for {len(truth)} studies of split {split!r}"
        )
    train = _train_reports(store, shards)
    corpus: Corpus = "iu-xray" if config.source.kind == "iu-xray" else "mimic-cxr"
    modal = modal_report(list(train.values()))
    thresholds = _thresholds(store, inputs["generator"], label_set)
    shown = [clues_from_rows(row["clues"], thresholds) for row in predictions]
    parse = partial(_parse_all, ReportParser(config.parse.label_set))
    hypotheses = {
        System.MODEL: [row["hypothesis"] for row in predictions],
        System.MODAL_REPORT: [modal] * len(predictions),
        System.NEAREST_NEIGHBOUR: [train.get(row["neighbour_study_id"], "") for row in predictions],
        System.CLUE_TEMPLATE: [clue_template(clues, label_set) for clues in shown],
    }
    references = parse([truth[row["study_id"]]["report"] for row in predictions])
    return EvaluationInputs(
        systems={
            system: [
                _prediction(row, truth[row["study_id"]], reference, text, parsed, clues)
                for row, reference, text, parsed, clues in zip(
                    predictions, references, texts, parse(texts), shown, strict=True
                )
            ]
            for system, texts in hypotheses.items()
        },
        references=references,
        shards=truth,
        options=ScoringOptions(
            label_set=label_set,
            section=config.shard.section,
            corpus=corpus,
            vocabulary=build_vocabulary(train.values(), corpus),
            meteor=config.evaluate.meteor,
            bootstrap_samples=config.evaluate.bootstrap_samples,
            seed=config.seed,
        ),
    )


def _prediction(
    row: Mapping[str, Any],
    truth: Mapping[str, Any],
    reference: ParsedReport,
    text: str,
    parsed: ParsedReport,
    clues: tuple[Clue, ...],
) -> Prediction:
    return Prediction(
        subject_id=row["subject_id"],
        study_id=row["study_id"],
        reference=truth["report"],
        # labels of the scored section only, so that reference and hypothesis are labelled alike
        reference_labels=reference.labels,
        hypothesis=text,
        parsed=parsed,
        clues=clues,
        has_prior=truth["has_prior"],
        parsed_reference=reference,
    )


def _parse_all(parser: ReportParser, texts: Sequence[str]) -> list[ParsedReport]:
    return list(parser.parse_many(texts))


def _train_reports(store: Store, shards: TableRef) -> dict[str, str]:
    table = read_table(store, shards, columns=["split", "study_id", "report"], split="train")
    rows: list[dict[str, str]] = table.to_pylist()
    return {row["study_id"]: row["report"] for row in rows}


def _thresholds(store: Store, run_id: str, label_set: LabelSet) -> dict[str, float]:
    data = json.loads(store.read_bytes(f"{model_path(run_id)}/perception.json"))
    return thresholds_from_json(data, label_set.observations)


def _outcomes(evaluation: EvaluationInputs) -> OutcomeTable:
    options = evaluation.options
    return count_outcomes_of(
        evaluation.systems, evaluation.references, label_set=options.label_set, section=options.section
    )


def _slices(evaluation: EvaluationInputs, outcomes: OutcomeTable, config: TrrgConfig) -> tuple[SliceScores, ...]:
    """The scores of the usual slices, then of those of `evaluate.slices`, which may be empty."""
    hypotheses = {row.study_id: row.hypothesis for row in evaluation.systems[System.MODEL]}
    affirmed = affirmed_by_references(outcomes)
    rows = study_columns(
        [evaluation.shards[study_id] for study_id in outcomes.study_ids],
        [hypotheses[study_id] for study_id in outcomes.study_ids],
        affirmed,
        outcomes.findings,
    )
    slices = built_in_slices(rows, affirmed) | {
        predicate: matching_rows(rows, predicate) for predicate in config.evaluate.slices
    }
    return score_slices(outcomes, slices, num_samples=config.evaluate.bootstrap_samples, seed=config.seed)


def _image_use(evaluation: EvaluationInputs, config: TrrgConfig, store: Store, generator: str) -> ImageUse | None:
    """What the model writes of a few studies with changed images; None without any."""
    predictions, options = evaluation.systems[System.MODEL], evaluation.options
    chosen = choose_changed([row.study_id for row in predictions], config.evaluate.image_studies)
    if not chosen:
        return None
    rows = [evaluation.shards[predictions[at].study_id] for at in chosen]
    drafts = write_changed(config, store, generator, rows)
    return count_image_use(
        [predictions[at] for at in chosen], drafts, label_set=options.label_set, section=options.section
    )


def _image_section(images: ImageUse | None, config: TrrgConfig) -> ImageSection | None:
    if images is None:
        return None
    losses = image_losses(
        images.table, num_samples=config.evaluate.bootstrap_samples, seed=config.seed, confidence=0.95
    )
    return view_images(images, losses)


def _score_name(options: ScoringOptions) -> str:
    return clinical_score(options.findings_family)


def _study_pages(
    evaluation: EvaluationInputs, judged: Sequence[JudgedReport], num_studies: int, seed: int
) -> tuple[StudyPage, ...]:
    """The studies to show; `judged` are the model's reports, in the order of the predictions."""
    pages = [
        study_page(
            prediction,
            reference=reference.sentences,
            evidence=report.evidence,
            films=(),
            label_set=evaluation.options.label_set,
            disagreements=report.comparison.errors if report.comparison else (),
        )
        for prediction, reference, report in zip(
            evaluation.systems[System.MODEL], evaluation.references, judged, strict=True
        )
    ]
    chosen = choose_studies([sum(count_issues(page).values()) for page in pages], limit=num_studies, seed=seed)
    return tuple(
        replace(
            pages[index],
            films=tuple(Film(**view) for view in evaluation.shards[pages[index].study_id]["views"]),
            is_sampled=is_sampled,
        )
        for index, is_sampled in chosen
    )


def _metrics(systems: Sequence[Scores]) -> dict[str, float]:
    """The scores of every system by metric key; a value that is not a number is left out."""
    return {
        metric_key(item.system, name): value
        for item in systems
        for name, value in item.values.items()
        if not math.isnan(value)
    }
