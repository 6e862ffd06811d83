"""`predictions` -> scores beside the floors, and the HTML report. The whole split at once: corpus scores need it."""

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from pipelines.records.code_version import code_version
from pipelines.records.fingerprint import job_fingerprint
from pipelines.records.job_result import JobResult
from pipelines.training.runs import MODEL
from trrg_core.clue import clues_from_rows
from trrg_core.config.settings import TrrgConfig
from trrg_core.errors import DataError
from trrg_core.labels import LabelSet, load_label_set
from trrg_core.metrics.floors import modal_report
from trrg_core.metrics.java import JavaError
from trrg_core.metrics.meteor import Meteor
from trrg_core.metrics.r2gen_text import Corpus, build_vocabulary
from trrg_core.metrics.score import Prediction, Scores, gather_all, score_predictions
from trrg_core.model.calibration import thresholds_from_json
from trrg_core.pages.render import render_report
from trrg_core.pages.report_page import Film, ReportPage, StudyPage, study_page
from trrg_core.report.parsed import ParsedReport
from trrg_core.report.parser import ReportParser
from trrg_core.runs.results import RunResult, read_result, run_path, write_result
from trrg_core.storage.store import Store
from trrg_core.tables.delta import read_table
from trrg_core.tables.table_ref import TableRef

MODEL_SYSTEM, MODAL, NEIGHBOUR = "model", "modal report", "nearest neighbour"
REPORT, SCORES = "report.html", "scores.json"


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What is scored: predictions of each system, and the shard row of each study."""

    systems: Mapping[str, list[Prediction]]
    shards: Mapping[str, dict]
    label_set: LabelSet
    corpus: Corpus
    vocabulary: frozenset[str]


def run(config: TrrgConfig, store: Store, inputs: Mapping[str, str]) -> JobResult:
    """Score a version of `predictions` and both floors; write scores and the HTML report into a run folder."""
    identity = job_fingerprint(
        "evaluate", [config.evaluate, config.parse, config.shard.section, config.source.kind], store, inputs
    )
    run_id = f"evaluate-{identity}"
    found = read_result(store, run_id)
    if found:
        return JobResult.of_run(found, reused=True)
    judged = _gather(config, store, inputs)
    scores = _score(config, judged)
    page = _page(config, judged, scores, {**inputs, "code version": code_version()})
    folder = run_path(run_id)
    store.write_bytes(f"{folder}/{REPORT}", render_report(page).encode())
    store.write_bytes(f"{folder}/{SCORES}", json.dumps([one.to_json() for one in scores], indent=1).encode())
    result = RunResult(
        run_id=run_id,
        job="evaluate",
        inputs=inputs,
        code_version=code_version(),
        metrics=_headline(scores),
        notes={"report": store.join(folder, REPORT), "scores": store.join(folder, SCORES)},
        finished_ms=int(time.time() * 1000),
    )
    write_result(store, result)
    return JobResult.of_run(result)


def _gather(config: TrrgConfig, store: Store, inputs: Mapping[str, str]) -> Judged:
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
    parse = partial(_parse_all, ReportParser(config.parse.label_set))
    hypotheses = {
        MODEL_SYSTEM: [row["hypothesis"] for row in predictions],
        MODAL: [modal] * len(predictions),
        NEIGHBOUR: [train[row["neighbour_study_id"]] for row in predictions],
    }
    references = parse([truth[row["study_id"]]["report"] for row in predictions])
    thresholds = _thresholds(store, inputs["generator"], label_set)
    return Judged(
        systems={
            system: [
                _prediction(row, truth[row["study_id"]], reference, text, parsed, thresholds)
                for row, reference, text, parsed in zip(predictions, references, texts, parse(texts), strict=True)
            ]
            for system, texts in hypotheses.items()
        },
        shards=truth,
        label_set=label_set,
        corpus=corpus,
        vocabulary=build_vocabulary(train.values(), corpus),
    )


def _prediction(
    row: Mapping,
    truth: Mapping,
    reference: ParsedReport,
    text: str,
    parsed: ParsedReport,
    thresholds: Mapping[str, float],
) -> Prediction:
    return Prediction(
        subject_id=row["subject_id"],
        study_id=row["study_id"],
        reference=truth["report"],
        # labels of the section that is scored, so that reference and hypothesis are read alike
        reference_labels=reference.labels,
        hypothesis=text,
        parsed=parsed,
        clues=clues_from_rows(row["clues"], thresholds),
        has_prior=truth["has_prior"],
    )


def _parse_all(parser: ReportParser, texts: Sequence[str]) -> list[ParsedReport]:
    return list(parser.parse_many(texts))


def _train_reports(store: Store, shards: TableRef) -> dict[str, str]:
    table: pa.Table = read_table(store, shards, columns=["split", "study_id", "report"], split="train")
    return dict(zip(table["study_id"].to_pylist(), table["report"].to_pylist(), strict=True))


def _thresholds(store: Store, run_id: str, label_set: LabelSet) -> dict[str, float]:
    data = json.loads(store.read_bytes(f"{run_path(run_id)}/{MODEL}/perception.json"))
    return thresholds_from_json(data, label_set.observations)


def _score(config: TrrgConfig, judged: Judged) -> tuple[Scores, ...]:
    with ExitStack() as stack:
        meteor: Meteor | str = "switched off (evaluate.meteor)"
        if config.evaluate.meteor:
            try:
                meteor = stack.enter_context(Meteor())
            except JavaError as error:
                meteor = str(error)
        return tuple(
            score_predictions(
                predictions,
                system=system,
                label_set=judged.label_set,
                section=config.shard.section,
                corpus=judged.corpus,
                vocabulary=judged.vocabulary,
                meteor=meteor,
                bootstrap_samples=config.evaluate.bootstrap_samples,
                seed=config.seed,
            )
            for system, predictions in judged.systems.items()
        )


def _page(config: TrrgConfig, judged: Judged, scores: tuple[Scores, ...], lineage: Mapping[str, str]) -> ReportPage:
    return ReportPage(
        title="Generated reports and what supports them",
        systems=scores,
        studies=tuple(_study_pages(config, judged)),
        lineage=lineage,
    )


def _study_pages(config: TrrgConfig, judged: Judged) -> list[StudyPage]:
    predictions = judged.systems[MODEL_SYSTEM][: config.evaluate.report_studies]
    evidence = gather_all(predictions, label_set=judged.label_set)
    references = _parse_all(ReportParser(config.parse.label_set), [row.reference for row in predictions])
    return [
        study_page(
            prediction,
            reference=reference.sentences,
            evidence=found,
            films=tuple(Film(**view) for view in judged.shards[prediction.study_id]["views"]),
            label_set=judged.label_set,
        )
        for prediction, reference, found in zip(predictions, references, evidence, strict=True)
    ]


def _headline(scores: Sequence[Scores]) -> dict[str, float]:
    """All scores of the model, and those of each floor under its name."""
    model, *floors = scores
    headline = {name: value for name, value in model.values.items() if value == value}
    for floor in floors:
        headline |= {f"{floor.system.replace(' ', '_')}/{name}": value for name, value in floor.values.items()}
    return headline
