"""Generator run + scores -> a version in the model registry: always `challenger`, `champion` if it passes the gate.

The decision is written into the run folder before the registry changes, so that an attempt that was interrupted goes on
with it.
"""

import json
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.records.code_version import code_version
from pipelines.records.fingerprint import job_fingerprint
from pipelines.records.job_result import JobResult
from pipelines.registry.alias_moves import BY_GATE, BY_PERSON, Move, record_move
from pipelines.registry.bill_of_materials import write_bill
from pipelines.registry.card_of_registration import make_card, read_scores
from pipelines.registry.champion_page import champion_beside
from pipelines.registry.evaluation_files import digests
from pipelines.registry.find_model import FoundModel, is_deleted
from pipelines.registry.lock import registry_lock
from pipelines.registry.lost_champion import check_lost, find_lost
from pipelines.registry.mlflow_model import DECODING, check_decoding, decoding_of, write_mlflow_model
from pipelines.registry.model_signature import check_stored, sign_model
from pipelines.registry.planned_changes import check_plan, declared_plan
from pipelines.registry.references import CARD
from pipelines.registry.registry_client import (
    BEST_CHAMPION,
    BILL_TAG,
    CHALLENGER,
    CHAMPION,
    GATE_TAG,
    GOLDEN_TAG,
    IDENTITY_TAG,
    SCORE_TAG,
    WEIGHTS_TAG,
    WHY_TAG,
    KnownVersion,
    ModelVersions,
    NewVersion,
    open_registry,
)
from pipelines.registry.rivals import Standing, find_rival, read_outcomes, standing_champions
from pipelines.registry.seen_studies import check_unseen
from pipelines.registry.verify_model import weights_digest
from pipelines.registry.withdrawn_models import WITHDRAWN_TAG, with_section
from trrg_core.config.fingerprint import fingerprint
from trrg_core.config.gate_settings import GateConfig
from trrg_core.config.settings import TrrgConfig
from trrg_core.errors import ConfigError, StorageError, TrrgError
from trrg_core.labels import load_label_set
from trrg_core.metrics.attribute_agreement import findings_of
from trrg_core.metrics.image_use import IMAGE_OUTCOMES_FILE
from trrg_core.metrics.outcomes import OutcomeTable
from trrg_core.metrics.study_slices import SLICES_FILE
from trrg_core.metrics.systems import System, clinical_score, findings_family, scores_by_system
from trrg_core.pages.champion_section import ChampionBeside, insert_champion, studies_in
from trrg_core.pages.gate_section import insert_decision
from trrg_core.registry.champion_checks import CHAMPION as CHAMPION_ROLE
from trrg_core.registry.champion_checks import Rival
from trrg_core.registry.decision import (
    DECISION_FILE,
    EVALUATION_FILES,
    Decision,
    decision_from_bytes,
    decision_to_bytes,
    tags_of,
)
from trrg_core.registry.gate import decide, is_best
from trrg_core.registry.model_card import render_card
from trrg_core.registry.side_by_side import BESIDE
from trrg_core.runs.results import SPLIT_NOTE, RunResult, read_result, require_result, run_path, write_result
from trrg_core.storage.store import Store
from trrg_core.storage.withdrawal_lock import unless_withdrawn, withdrawal_state
from trrg_core.withdrawal.learned import withdrawn_since

logger = logging.getLogger(__name__)

REPORT = "report.html"
_JUDGED_ON = "test"
_LOST = "lost_champion"  # in a decision and in the notes of a registration: the champion that was missing


def run(config: TrrgConfig, store: Store, inputs: Mapping[str, str]) -> JobResult:
    """Register the model of a generator run with its card, and promote it if it passes the gate.

    Raises:
        ConfigError: if the scores are of another model, decoding or split, or of an earlier version, which kept no
            outcomes study by study.
        DataError: `withdrawn`, if a patient was withdrawn meanwhile.
        StorageError: if another model became champion meanwhile; run again.
    """
    _check_judged(config, store, inputs)
    withdrawals, plan = withdrawal_state(store), declared_plan(store)
    identity = job_fingerprint("register", [config.register_, plan.sha256 if plan else ""], store, inputs)
    run_id = f"register-{identity}"
    if existing := _registered(config, store, run_id):
        return JobResult.of_run(existing, reused=True)
    with registry_lock(store):
        # another process may have registered the same model while this one waited
        if existing := _registered(config, store, run_id):
            return JobResult.of_run(existing, reused=True)
        return _register(config, store, inputs, run_id, withdrawals)


def _registered(config: TrrgConfig, store: Store, run_id: str) -> RunResult | None:
    """The result of this registration; None where there is none, or where it is to be made again.

    That is so where its version was deleted by hand, or where it was refused for a lost champion that is lost no more.
    """
    existing = read_result(store, run_id)
    if existing is None or is_deleted(store, config.register_, existing.notes["model"]):
        return None
    if lost := existing.notes.get(_LOST):
        with open_registry(store, config.register_) as models:
            return existing if find_lost(store, models) == lost else None
    return existing


def _check_judged(config: TrrgConfig, store: Store, inputs: Mapping[str, str]) -> None:
    scores = require_result(store, inputs["scores"])
    generator, judged = inputs["generator"], scores.inputs.get("generator", "")
    if judged != generator:
        raise ConfigError(
            f"{inputs['scores']} has the scores of {judged or 'no model'}, not of {generator}: run generate and "
            f"evaluate, each with --input generator={generator}, or register the model that was scored"
        )
    # evaluations of an earlier version have no notes of these
    if (split := scores.notes.get(SPLIT_NOTE, _JUDGED_ON)) != _JUDGED_ON:
        raise ConfigError(
            f"{inputs['scores']} has the scores of split {split!r}, which calibrated the model; the gate judges by "
            f"{_JUDGED_ON!r}: run generate and evaluate with --set generate.split={_JUDGED_ON}"
        )
    check_decoding(config.generate, scores.notes.get(DECODING, "").splitlines(), of=inputs["scores"])


def _register(config: TrrgConfig, store: Store, inputs: Mapping[str, str], run_id: str, withdrawals: str) -> JobResult:
    before = read_result(store, run_id)
    if before and is_deleted(store, config.register_, before.notes["model"]):
        logger.warning("register: %s is not in the registry any more and is registered again", before.notes["model"])
    decision = _decide_once(config, store, inputs, run_id)
    logger.info("register: %s", "; ".join((decision.ruling, *decision.against)))
    evidence = _evidence(config, store, inputs["generator"], run_id)
    with unless_withdrawn(store, withdrawals, work=run_id):
        card = render_card(make_card(config, store, inputs, run_id, decision))
        # a withdrawal marks the models that are registered by then
        day = withdrawn_since(store, inputs["generator"])
        card, marks = (with_section(card, day), {WITHDRAWN_TAG: day}) if day else (card, {})
        store.write_bytes(f"{run_path(run_id)}/{CARD}", card.encode())
        with open_registry(store, config.register_) as models:
            version = models.find(run_id) or _create(config, store, models, decision, inputs=inputs, run_id=run_id)
            scores = scores_by_system(require_result(store, inputs["scores"]).metrics)[System.MODEL]
            tags = {**_tags(decision, scores), IDENTITY_TAG: _identity(config, inputs), **evidence, **marks}
            models.describe(version, card=card, tags=tags)
            _set_aliases(store, models, version, decision)
            model_uri = models.uri(version)
        result = RunResult(
            run_id=run_id,
            job="register",
            inputs=inputs,
            code_version=code_version(),
            metrics={"version": float(version), "promoted": float(decision.promote)},
            notes={
                "model": model_uri,
                "alias": CHAMPION if decision.promote else CHALLENGER,
                "card": store.join(run_path(run_id), CARD),
                "decision": store.join(run_path(run_id), DECISION_FILE),
                "ruling": decision.ruling,
                "reasons": "\n".join(decision.against),
                **({_LOST: decision.facts[_LOST]} if _LOST in decision.facts else {}),
                **_write_report(config, store, inputs["scores"], run_id, decision),
            },
            finished_ms=int(time.time() * 1000),
        )
        write_result(store, result)
        return JobResult.of_run(result)


def _evidence(config: TrrgConfig, store: Store, generator: str, run_id: str) -> dict[str, str]:
    """What a later reader verifies the model by, as tags: written and signed here, and verified once."""
    digest = weights_digest(store, generator)
    if not digest:
        return {WEIGHTS_TAG: ""}
    sign_model(store, generator)
    check_stored(store, FoundModel(name=generator, run_id=generator, digest=digest))
    bill = write_bill(store, run_id, name=config.register_.model_name, generator=generator)
    golden = ""
    if config.register_.golden_output:
        from pipelines.serving.golden_output import write_golden  # the model is loaded only where it is to write

        decoding = decoding_of(config.generate)
        golden = write_golden(store, run_id, generator=generator, decoding=decoding)
    return {WEIGHTS_TAG: digest, BILL_TAG: bill, GOLDEN_TAG: golden}


def _decide_once(config: TrrgConfig, store: Store, inputs: Mapping[str, str], run_id: str) -> Decision:
    """The decision of this run: the one that an earlier attempt recorded, unless the champion has changed since.

    The version that an interrupted attempt made is no rival of itself: it may hold an alias already. Nor is it a lost
    champion where it was promoted and deleted by hand.
    """
    with open_registry(store, config.register_) as models:
        champions, version, lost = standing_champions(models), models.find(run_id), find_lost(store, models)
    own = models.uri(version) if version else ""
    path = f"{run_path(run_id)}/{DECISION_FILE}"
    recorded = decision_from_bytes(store.read_bytes(path)) if store.exists(path) else None
    before = read_result(store, run_id)
    if recorded and recorded.promote and lost in (own, before.notes["model"] if before else ""):
        lost = ""
    if recorded and recorded.facts.get(_LOST, "") == lost:
        is_champion = (CHAMPION_ROLE, own) in [(one.role, one.model) for one in champions]
        rivals = [one.model for one in champions if one.model != own]
        if is_champion or rivals == [model for model in _compared_models(recorded) if model != own]:
            return recorded
    decision = _decide(config, store, inputs, champions, lost)
    store.write_bytes(path, decision_to_bytes(decision))
    return decision


def _decide(
    config: TrrgConfig, store: Store, inputs: Mapping[str, str], champions: Sequence[Standing], lost: str
) -> Decision:
    table = read_outcomes(store, inputs["scores"])
    if table is None:
        raise ConfigError(f"{inputs['scores']} keeps no outcomes of single studies: run `trrg evaluate` again")
    label_set = load_label_set(config.parse.label_set)
    if sorted(table.findings) != sorted(findings_of(label_set)):
        raise ConfigError(
            f"{inputs['scores']} counts the findings {', '.join(table.findings)}, which are not those of label set "
            f"{label_set.name!r}: give parse.label_set as it was for evaluate"
        )
    scores = require_result(store, inputs["scores"])
    shards = scores.inputs["shards"]
    rivals = [
        find_rival(store, one, table, shards, lambda generator: _rescore(config, store, scores.inputs, generator))
        for one in champions
    ]
    plan, bounds = declared_plan(store), _bounds(config)
    return decide(
        table,
        rates={
            **dict.fromkeys(read_scores(store, inputs["scores"])[0].absent),
            **scores_by_system(scores.metrics)[System.MODEL],
        },
        rivals=rivals,
        config=config.register_,
        score_name=clinical_score(findings_family(label_set)),
        seed=config.seed,
        images=read_outcomes(store, inputs["scores"], IMAGE_OUTCOMES_FILE),
        override=config.register_.override.strip(),
        facts=_facts(config, store, inputs, table, rivals)
        | ({"change_plan": {"name": plan.plan.name, "sha256": plan.sha256}} if plan else {})
        | ({_LOST: lost} if lost else {}),
        more=(
            *((check_lost(lost),) if lost else ()),
            *check_unseen(store, inputs["generator"], table, shards=shards),
            *(
                check_plan(store, plan, generator=inputs["generator"], champions=champions, bounds=bounds)
                if plan
                else ()
            ),
        ),
    )


def _rescore(config: TrrgConfig, store: Store, inputs: Mapping[str, str], generator: str) -> str:
    """The `evaluate` run of another generator on the studies of these scores, with the settings of this run."""
    check_stored(store, FoundModel(name=generator, run_id=generator))
    from pipelines.jobs import evaluate, generate  # the model is loaded only where a champion must be scored again

    shards = {"shards": inputs["shards"], "generator": generator}
    predictions = generate.run(config, store, shards).ref
    return evaluate.run(config, store, {**shards, "predictions": predictions}).ref


def _facts(
    config: TrrgConfig, store: Store, inputs: Mapping[str, str], table: OutcomeTable, rivals: Sequence[Rival]
) -> dict[str, Any]:
    return {
        "challenger": dict(inputs),
        EVALUATION_FILES: digests(store, inputs["scores"]),
        "compared_with": [
            {"role": rival.role, "model": rival.model, "scores": rival.scores, "rescored": rival.rescored}
            for rival in rivals
        ],
        "studies": len(table.study_ids),
        "patients": len(set(table.subject_ids)),
        "bounds": _bounds(config),
        "seed": config.seed,
    }


def _bounds(config: TrrgConfig) -> dict[str, Any]:
    return config.register_.model_dump(mode="json", include=set(GateConfig.model_fields))


def _create(
    config: TrrgConfig,
    store: Store,
    models: ModelVersions,
    decision: Decision,
    *,
    inputs: Mapping[str, str],
    run_id: str,
) -> str:
    """The version of these weights and this decoding: an earlier one, judged anew, or a new one."""
    now, before = [standing.model for standing in standing_champions(models)], _compared_models(decision)
    if now != before:
        raise StorageError(f"the champion changed from {before} to {now} while this model was compared: run again")
    generator, scores = inputs["generator"], inputs["scores"]
    earlier = models.find_tagged(IDENTITY_TAG, _identity(config, inputs))
    if earlier:
        models.refer(earlier, NewVersion(run_id=run_id, source="", generator=generator, scores=scores))
        return earlier
    source = write_mlflow_model(store, run_id, generator=generator, decoding=decoding_of(config.generate))
    return models.create(NewVersion(run_id=run_id, source=source, generator=generator, scores=scores))


def _identity(config: TrrgConfig, inputs: Mapping[str, str]) -> str:
    return fingerprint(inputs["generator"], decoding_of(config.generate))


def _compared_models(decision: Decision) -> list[str]:
    return [rival["model"] for rival in decision.facts["compared_with"]]


def _set_aliases(store: Store, models: ModelVersions, version: str, decision: Decision) -> None:
    """The aliases after a decision; before the champion's moves, the best champion is kept."""
    models.set_alias(CHALLENGER, version)
    before = models.at(CHAMPION)
    if not decision.promote:
        if before and before.version == version:
            logger.warning("register: %s stays champion until `trrg rollback` or `trrg promote`", models.uri(version))
        return
    best = models.at(BEST_CHAMPION) or _unless_overridden(before)
    if is_best(decision):
        models.set_alias(BEST_CHAMPION, version)
    elif best:
        models.set_alias(BEST_CHAMPION, best.version)
    if before is None or before.version != version:
        reason, kind = decision.override or decision.ruling, BY_GATE if decision.passes else BY_PERSON
        earlier = before.version if before else ""
        record_move(store, Move(before=earlier, after=version, kind=kind, reason=reason, name=models.name))
    why = f"{decision.ruling}: {decision.override}" if decision.override else f"{decision.ruling} by the gate"
    models.tag(version, {WHY_TAG: why})
    models.set_alias(CHAMPION, version)


def _unless_overridden(known: KnownVersion | None) -> KnownVersion | None:
    """A version that the gate let through; None for one that a person did, which is no mark for others."""
    return None if known is None or known.tags.get(f"{GATE_TAG}override") else known


def _tags(decision: Decision, scores: Mapping[str, float]) -> dict[str, str]:
    return {
        **{f"{SCORE_TAG}{name}": str(value) for name, value in scores.items()},
        **{f"{GATE_TAG}{name}": value for name, value in tags_of(decision).items()},
    }


def _write_report(config: TrrgConfig, store: Store, scores: str, run_id: str, decision: Decision) -> dict[str, str]:
    """The report of the evaluation with decision and champion in it, as a note; none where there is no report."""
    source, folder = f"{run_path(scores)}/{REPORT}", run_path(run_id)
    if not store.exists(source):
        return {}
    page = insert_decision(store.read_bytes(source).decode(), decision)
    beside = _champion_beside(config, store, scores, decision, studies_in(page))
    if beside is not None:
        page = insert_champion(page, beside)
        store.write_bytes(f"{folder}/{SLICES_FILE}", json.dumps([one.to_json() for one in beside.slices]).encode())
    store.write_bytes(f"{folder}/{REPORT}", page.encode())
    return {"report": store.join(folder, REPORT)}


def _champion_beside(
    config: TrrgConfig, store: Store, scores: str, decision: Decision, shown: Sequence[str]
) -> ChampionBeside | None:
    """What the page shows of the champion; None where none was compared, or where its reports are gone."""
    found = [rival for rival in decision.facts["compared_with"] if rival["role"] == CHAMPION_ROLE]
    if not found or BESIDE not in decision.facts:
        return None
    champion, model = found[0]["scores"], found[0]["model"]
    try:
        return champion_beside(config, store, scores=scores, champion=champion, model=model, shown=shown)
    except TrrgError as error:
        # the decision stands without it
        logger.warning("register: the champion %s is not shown beside the model: %s", model, error)
        return None
