"""`predictions` -> scores of the model and the floors, outcomes study by study for the gate, and the HTML report.

The whole split is scored at once, because corpus scores are no mean over studies.
"""

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pipelines.evaluation.inputs import EvaluationInputs, gather_inputs
from pipelines.evaluation.study_pages import study_pages
from pipelines.ray_data.image_work import ImageWork, choose_changed, do_image_work
from pipelines.records.code_version import code_version
from pipelines.records.fingerprint import have_same_content, job_fingerprint
from pipelines.records.job_result import JobResult
from pipelines.registry.mlflow_model import DECODING, check_decoding
from trrg_core.config.settings import TrrgConfig
from trrg_core.errors import ConfigError
from trrg_core.generation.heat_map import located_findings
from trrg_core.metrics.image_use import IMAGE_OUTCOMES_FILE, ImageUse, count_image_use, image_losses
from trrg_core.metrics.outcomes import OUTCOMES_FILE, OutcomeTable, outcomes_to_bytes
from trrg_core.metrics.score import Scores, ScoringOptions, score_systems
from trrg_core.metrics.score_file import SCORES_FILE, scores_to_bytes
from trrg_core.metrics.slice_members import SLICE_MEMBERS_FILE, members_to_bytes
from trrg_core.metrics.study_outcomes import count_outcomes_of
from trrg_core.metrics.study_slices import (
    SLICES_FILE,
    Chosen,
    affirmed_by_references,
    built_in_slices,
    score_slices,
    study_columns,
)
from trrg_core.metrics.systems import System, clinical_score, metric_key
from trrg_core.pages.image_section import ImageSection, view_images
from trrg_core.pages.render import render_report
from trrg_core.pages.report_page import ReportPage, StudyPage
from trrg_core.runs.results import SPLIT_NOTE, RunResult, read_result, run_path, write_result
from trrg_core.slicing.predicate import matching_rows
from trrg_core.storage.store import Store
from trrg_core.storage.withdrawal_lock import unless_withdrawn, withdrawal_state
from trrg_core.tables.commit_history import find_commit
from trrg_core.tables.table_ref import TableRef

REPORT = "report.html"


def run(config: TrrgConfig, store: Store, inputs: Mapping[str, str]) -> JobResult:
    """Score a version of `predictions` and the floors; write scores, outcomes and the HTML report into a run folder.

    Raises:
        ConfigError: if another model wrote the predictions, or this one for other shards or with another decoding.
        DataError: if a row of the predictions is missing or damaged; `withdrawn`, if a patient was withdrawn
            meanwhile; nothing is written.
    """
    decoding = _check_written_by(config, store, inputs)
    withdrawals = withdrawal_state(store)
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
    store.check_writable(run_path(run_id))
    evaluation = gather_inputs(config, store, inputs)
    outcomes = _outcomes(evaluation)
    members = _slice_members(evaluation, outcomes, config)
    slices = score_slices(outcomes, members, num_samples=config.evaluate.bootstrap_samples, seed=config.seed)
    scores = score_systems(evaluation.systems, evaluation.options)
    pages = study_pages(evaluation, scores[0].judged, limit=config.evaluate.report_studies, seed=config.seed)
    images, pages = _use_images(evaluation, pages, config, store, inputs["generator"])
    page = ReportPage(
        title="Generated reports and their evidence",
        systems=scores,
        studies=pages,
        slices=slices,
        images=_image_section(images, config),
        lineage={**inputs, "code version": code_version()},
    )
    folder = run_path(run_id)
    result = RunResult(
        run_id=run_id,
        job="evaluate",
        inputs=inputs,
        code_version=code_version(),
        metrics=_metrics(scores) | (images.values(_score_name(evaluation.options)) if images else {}),
        notes={
            "report": store.join(folder, REPORT),
            "scores": store.join(folder, SCORES_FILE),
            SPLIT_NOTE: evaluation.split,
            DECODING: "\n".join(decoding),
        },
        finished_ms=int(time.time() * 1000),
    )
    with unless_withdrawn(store, withdrawals, work=run_id):
        store.write_bytes(f"{folder}/{REPORT}", render_report(page).encode())
        store.write_bytes(f"{folder}/{SCORES_FILE}", scores_to_bytes([item.to_json() for item in scores]))
        store.write_bytes(f"{folder}/{OUTCOMES_FILE}", outcomes_to_bytes(outcomes))
        store.write_bytes(f"{folder}/{SLICES_FILE}", json.dumps([item.to_json() for item in slices]).encode())
        store.write_bytes(f"{folder}/{SLICE_MEMBERS_FILE}", members_to_bytes(outcomes.study_ids, members))
        if images:
            store.write_bytes(f"{folder}/{IMAGE_OUTCOMES_FILE}", outcomes_to_bytes(images.table))
        write_result(store, result)
    return JobResult.of_run(result)


def _check_written_by(config: TrrgConfig, store: Store, inputs: Mapping[str, str]) -> tuple[str, ...]:
    """How the predictions were decoded, as settings; none of those of an earlier version."""
    predictions, generator = TableRef.parse(inputs["predictions"]), inputs["generator"]
    commit = find_commit(store, predictions)
    if generator not in (parents := commit.parents):
        writers = ", ".join(parent for parent in parents if "@" not in parent) or "no model of this store"
        raise ConfigError(
            f"{predictions} was written by {writers}, not by {generator}: run generate with --input "
            f"generator={generator} first, or evaluate the model that wrote it"
        )
    shards = [parent for parent in parents if parent.startswith("shards@")]
    if shards and not any(_is_same(store, inputs["shards"], known) for known in shards):
        raise ConfigError(
            f"{predictions} was written for {', '.join(shards)}, not for {inputs['shards']}: run generate with "
            f"--input shards={inputs['shards']} first, or evaluate with --input shards={shards[0]}"
        )
    decoding = tuple(commit.notes.get(DECODING, ()))
    check_decoding(config.generate, decoding, of=str(predictions))
    return decoding


def _is_same(store: Store, shards: str, known: str) -> bool:
    """Whether two versions of `shards` have the same content; that of a version that was dropped is unknown."""
    try:
        return have_same_content(store, shards, known)
    except ConfigError:
        return False


def _outcomes(evaluation: EvaluationInputs) -> OutcomeTable:
    options = evaluation.options
    return count_outcomes_of(
        evaluation.systems, evaluation.references, label_set=options.label_set, section=options.section
    )


def _slice_members(evaluation: EvaluationInputs, outcomes: OutcomeTable, config: TrrgConfig) -> dict[str, Chosen]:
    """The studies of the usual slices, then of those of `evaluate.slices`, which may be empty."""
    hypotheses = {row.study_id: row.hypothesis for row in evaluation.systems[System.MODEL]}
    affirmed = affirmed_by_references(outcomes)
    rows = study_columns(
        [evaluation.shards[study_id] for study_id in outcomes.study_ids],
        [hypotheses[study_id] for study_id in outcomes.study_ids],
        affirmed,
        outcomes.findings,
    )
    return built_in_slices(rows, affirmed) | {
        predicate: matching_rows(rows, predicate) for predicate in config.evaluate.slices
    }


def _use_images(
    evaluation: EvaluationInputs, pages: tuple[StudyPage, ...], config: TrrgConfig, store: Store, generator: str
) -> tuple[ImageUse | None, tuple[StudyPage, ...]]:
    """What the model writes of a few studies with changed images, None without any; and the pages with heat maps."""
    predictions, options = evaluation.systems[System.MODEL], evaluation.options
    chosen = choose_changed([row.study_id for row in predictions], config.evaluate.image_studies)
    limit = config.evaluate.report_heat_maps
    mapped = [page for page in pages if limit and page.films]
    work = ImageWork(
        changed=[evaluation.shards[predictions[at].study_id] for at in chosen],
        mapped=[evaluation.shards[page.study_id] for page in mapped],
        findings=[
            located_findings(page.evidence.clues, no_finding=options.label_set.no_finding, limit=limit)
            for page in mapped
        ],
    )
    results = do_image_work(config, store, generator, work)
    heat = dict(zip((page.study_id for page in mapped), results.heat_maps, strict=True))
    with_heat = tuple(replace(page, heat_maps=heat.get(page.study_id, ())) for page in pages)
    if not chosen:
        return None, with_heat
    use = count_image_use(
        [predictions[at] for at in chosen], results.drafts, label_set=options.label_set, section=options.section
    )
    return use, with_heat


def _image_section(images: ImageUse | None, config: TrrgConfig) -> ImageSection | None:
    if images is None:
        return None
    losses = image_losses(
        images.table, num_samples=config.evaluate.bootstrap_samples, seed=config.seed, confidence=0.95
    )
    return view_images(images, losses)


def _score_name(options: ScoringOptions) -> str:
    return clinical_score(options.findings_family)


def _metrics(systems: Sequence[Scores]) -> dict[str, float]:
    """The scores of every system by metric key; a value that is not a number is left out."""
    return {
        metric_key(item.system, name): value
        for item in systems
        for name, value in item.values.items()
        if not math.isnan(value)
    }
