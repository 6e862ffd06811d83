"""The evaluations of a model and of the champion -> what the report page shows of the champion: reports and slices."""

from collections.abc import Collection
from typing import Any

from pipelines.evaluation.inputs import prediction_of, read_thresholds
from pipelines.registry.rivals import read_outcomes
from trrg_core.clue import clues_from_rows
from trrg_core.config.settings import TrrgConfig
from trrg_core.labels import load_label_set
from trrg_core.metrics.score import judge_reports
from trrg_core.metrics.slice_members import SLICE_MEMBERS_FILE, members_from_bytes
from trrg_core.metrics.study_slices import SliceScores, score_slices
from trrg_core.metrics.systems import System
from trrg_core.pages.champion_section import ChampionBeside
from trrg_core.pages.report_page import StudyPage, study_page
from trrg_core.report.parser import ReportParser
from trrg_core.runs.results import require_result, run_path
from trrg_core.storage.store import Store
from trrg_core.tables.delta import read_table
from trrg_core.tables.table_ref import TableRef


def champion_beside(
    config: TrrgConfig, store: Store, *, scores: str, champion: str, model: str, shown: Collection[str]
) -> ChampionBeside:
    """The champion beside the model of an evaluation.

    Args:
        config: the label set, the number of resamples and their seed.
        store: the store.
        scores: the `evaluate` run of the model.
        champion: that of the champion, on the same studies.
        model: the champion's address.
        shown: ids of the studies on the page.

    Raises:
        TrrgError: if a table or a file of either run is gone.
    """
    own = require_result(store, scores).inputs
    hypotheses = _texts(store, own["predictions"], shown)
    return ChampionBeside(
        model=model,
        reports=_reports(config, store, champion, shards=own["shards"], shown=shown),
        hypotheses=hypotheses,
        slices=compare_slices(config, store, scores=scores, champion=champion),
    )


def compare_slices(config: TrrgConfig, store: Store, *, scores: str, champion: str) -> tuple[SliceScores, ...]:
    """The slices of an evaluation with the champion's scores and the gains; none of a run that kept no slices."""
    path = f"{run_path(scores)}/{SLICE_MEMBERS_FILE}"
    table, other = read_outcomes(store, scores), read_outcomes(store, champion)
    if table is None or other is None or table.study_ids != other.study_ids or not store.exists(path):
        return ()
    study_ids, slices = members_from_bytes(store.read_bytes(path))
    if study_ids != table.study_ids:
        return ()
    samples = config.evaluate.bootstrap_samples
    return score_slices(table, slices, num_samples=samples, seed=config.seed, champion=other.counts[System.MODEL])


def _reports(
    config: TrrgConfig, store: Store, champion: str, *, shards: str, shown: Collection[str]
) -> dict[str, StudyPage]:
    made_of = require_result(store, champion).inputs
    label_set = load_label_set(config.parse.label_set)
    thresholds = read_thresholds(store, made_of["generator"], label_set)
    rows = _rows(store, made_of["predictions"], shown)
    split = next((row["split"] for row in rows.values()), "")
    columns = ["split", "study_id", "report", "has_prior"]
    truth = {
        row["study_id"]: row
        for row in read_table(store, TableRef.parse(shards), columns=columns, split=split).to_pylist()
    }
    found = [row for study_id, row in rows.items() if study_id in truth]
    parser = ReportParser(label_set)
    references = list(parser.parse_many([truth[row["study_id"]]["report"] for row in found]))
    texts = list(parser.parse_many([row["hypothesis"] for row in found]))
    predictions = [
        prediction_of(
            row,
            truth[row["study_id"]],
            reference,
            row["hypothesis"],
            parsed,
            clues_from_rows(row["clues"], thresholds),
        )
        for row, reference, parsed in zip(found, references, texts, strict=True)
    ]
    judged = judge_reports(predictions, label_set)
    return {
        prediction.study_id: study_page(
            prediction,
            reference=(),
            evidence=report.evidence,
            films=(),
            label_set=label_set,
            disagreements=report.comparison.errors if report.comparison else (),
        )
        for prediction, report in zip(predictions, judged, strict=True)
    }


def _texts(store: Store, predictions: str, shown: Collection[str]) -> dict[str, str]:
    return {study_id: row["hypothesis"] for study_id, row in _rows(store, predictions, shown).items()}


def _rows(store: Store, predictions: str, shown: Collection[str]) -> dict[str, dict[str, Any]]:
    rows = read_table(store, TableRef.parse(predictions)).to_pylist()
    return {row["study_id"]: row for row in rows if row["study_id"] in shown}
