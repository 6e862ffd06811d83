"""A version of `predictions` and its studies -> what the model and the floors predict, with parsed references."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pipelines.evaluation.checked_predictions import check_predictions
from trrg_core.clue import Clue, clues_from_rows
from trrg_core.config.settings import TrrgConfig
from trrg_core.errors import ConfigError, DataError
from trrg_core.labels import LabelSet, load_label_set
from trrg_core.metrics.floors import clue_template, modal_report
from trrg_core.metrics.r2gen_text import Corpus, build_vocabulary
from trrg_core.metrics.score import Prediction, ScoringOptions
from trrg_core.metrics.systems import System
from trrg_core.model.calibration import thresholds_from_json
from trrg_core.report.parsed import ParsedReport
from trrg_core.report.parser import ReportParser
from trrg_core.runs.stored_model import model_path, trained_settings
from trrg_core.storage.store import Store
from trrg_core.tables.delta import read_table
from trrg_core.tables.table_ref import TableRef


@dataclass(frozen=True, kw_only=True)
class EvaluationInputs:
    """The predictions of each system, the model first, and the parsed references, all in one order of studies.

    `shards` has the shard row of each study by id, `options` how predictions are scored, `split` is theirs.
    """

    systems: Mapping[System, list[Prediction]]
    references: list[ParsedReport]
    shards: Mapping[str, dict[str, Any]]
    options: ScoringOptions
    split: str


def gather_inputs(config: TrrgConfig, store: Store, inputs: Mapping[str, str]) -> EvaluationInputs:
    """What an evaluation scores: the model's predictions, those of the floors, and the references.

    Args:
        config: the label set, the section and what is scored.
        store: the store.
        inputs: the versions of `shards` and `predictions`, and the run of the generator.

    Raises:
        ConfigError: if the model was trained for another label set.
        DataError: if `predictions` has not one whole row for each study of its split.
    """
    shards, label_set = TableRef.parse(inputs["shards"]), load_label_set(config.parse.label_set)
    predictions = read_table(store, TableRef.parse(inputs["predictions"])).to_pylist()
    split = predictions[0]["split"] if predictions else config.generate.split
    truth = {row["study_id"]: row for row in read_table(store, shards, split=split).to_pylist()}
    _check_patients(store, shards, split=split)
    train, thresholds = _train_reports(store, shards), read_thresholds(store, inputs["generator"], label_set)
    settings = trained_settings(store, inputs["generator"]) or {}
    check_predictions(
        predictions,
        truth,
        train=train,
        observations=thresholds,
        split=split,
        of=inputs["predictions"],
        with_clues=settings.get("finetune", {}).get("clues") != "off",
    )
    corpus: Corpus = "iu-xray" if config.source.kind == "iu-xray" else "mimic-cxr"
    modal = modal_report(list(train.values()))
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
                prediction_of(row, truth[row["study_id"]], reference, text, parsed, clues)
                for row, reference, text, parsed, clues in zip(
                    predictions, references, texts, parse(texts), shown, strict=True
                )
            ]
            for system, texts in hypotheses.items()
        },
        references=references,
        shards=truth,
        split=split,
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


def prediction_of(
    row: Mapping[str, Any],
    truth: Mapping[str, Any],
    reference: ParsedReport,
    text: str,
    parsed: ParsedReport,
    clues: tuple[Clue, ...],
) -> Prediction:
    """One report of a system.

    Args:
        row: the row of `predictions`.
        truth: that of `shards`.
        reference: its report, parsed.
        text: what the system wrote.
        parsed: the same, parsed.
        clues: what the text is compared with.
    """
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


def _check_patients(store: Store, shards: TableRef, *, split: str) -> None:
    """Check that no patient of the split has studies in another one: of those the model has learned.

    Raises:
        DataError: `patient_in_two_splits`; no job writes such shards.
    """
    rows = read_table(store, shards, columns=["subject_id", "split"]).to_pylist()
    scored = {row["subject_id"] for row in rows if row["split"] == split}
    if shared := scored & {row["subject_id"] for row in rows if row["split"] != split}:
        raise DataError(
            "patient_in_two_splits",
            f"{shards}: {len(shared)} of {len(scored)} patients of split {split!r} are in another split, so that no "
            "score of it is one of new patients: make the shards by `trrg run`, which gives each patient one split",
        )


def _train_reports(store: Store, shards: TableRef) -> dict[str, str]:
    table = read_table(store, shards, columns=["split", "study_id", "report"], split="train")
    rows: list[dict[str, str]] = table.to_pylist()
    return {row["study_id"]: row["report"] for row in rows}


def read_thresholds(store: Store, run_id: str, label_set: LabelSet) -> dict[str, float]:
    """The calibrated threshold of each observation, of the model of generator run `run_id`.

    Raises:
        ConfigError: if the model knows other observations.
    """
    data = json.loads(store.read_bytes(f"{model_path(run_id)}/perception.json"))
    try:
        return thresholds_from_json(data, label_set.observations)
    except ValueError as error:
        settings = trained_settings(store, run_id) or {}
        trained = settings.get("parse", {}).get("label_set", "unknown")
        raise ConfigError(
            f"{run_id} was trained with label set {trained!r}, this run has {label_set.name!r}: {error}; give "
            "parse.label_set as it was, or train a model for this one"
        ) from error
