"""The card in CHAI's form: its elements are those of the public schema, and its facts those of the store."""

import json
from typing import Any

import pytest

from pipelines.registry.card_facts import card_facts
from pipelines.registry.model_list import ListedModel, ScoreValue
from trrg_core.metrics.paired import Estimate
from trrg_core.metrics.study_slices import SLICES_FILE, SliceScores
from trrg_core.registry.chai_card import CardFacts, chai_card
from trrg_core.registry.check import Check, Verdict
from trrg_core.registry.decision import Decision, decision_to_bytes
from trrg_core.registry.group_scores import compare_groups, groups_from_json
from trrg_core.runs.results import RunResult, write_result
from trrg_core.storage.store import Store, open_store

# what version 0.2 of the schema asks for, in its order
METRIC = (
    "MetricGoal",
    "Results",
    "Interpretation",
    "TestType",
    "TestingDataDescription",
    "ValidationProcessAndJustification",
)
REQUIRED: dict[str, Any] = {
    "BasicInfo": ("ModelName", "ModelDeveloper", "DeveloperContact"),
    "ReleaseInfo": ("ReleaseStage", "ReleaseDate", "ReleaseVersion", "GlobalAvailability"),
    "ModelSummary": ("Summary", "Keywords"),
    "UsesAndDirections": (
        "IntendedUseAndWorkflow",
        "PrimaryIntendedUsers",
        "HowToUse",
        "TargetedPatientPopulation",
        "CautionedOutOfScopeSettings",
    ),
    "Warnings": ("KnownRisksAndLimitations", "KnownBiasesOrEthicalConsiderations", "ClinicalRiskLevel"),
    "TrustIngredients": {
        "AISystemFacts": (
            "OutcomesAndOutputs",
            "ModelType",
            "InputDataSource",
            "OutputAndInputDataTypes",
            "DevelopmentDataCharacterization",
            "BiasMitigationApproaches",
            "OngoingMaintenance",
        ),
        "TransparencyInformation": ("FundingSource", "StakeholdersConsulted"),
    },
    "KeyMetrics": dict.fromkeys(("UsefulnessUsabilityEfficacy", "FairnessEquity", "SafetyReliability"), METRIC),
    "Resources": ("PeerReviewedPublications", "PatientConsentOrDisclosure"),
    "Bibliography": (),
}
OPTIONAL = {"RegulatoryApproval", "FoundationModels", "Security", "Transparency", "ThirdPartyInformation"}
MODEL = ListedModel(
    model="models:/trrg/3",
    version="3",
    aliases=("champion",),
    generator="finetune-1",
    scores_run="evaluate-1",
    registration="register-1",
    ruling="promoted",
    against=(),
    why="",
    created_ms=86_400_000,
    scores={"trrg13.micro.f1.u0": ScoreValue(value=0.5, low=0.4, high=0.6), "truth.omitted": ScoreValue(value=0.1)},
    tags={"weights": "ab12"},
)


@pytest.fixture
def store(tmp_path) -> Store:
    store = open_store(str(tmp_path))
    inputs = {"shards": "shards@4", "contrastive": "pretrain-9"}
    write_result(store, RunResult(run_id="finetune-1", job="finetune", inputs=inputs, code_version="c0de"))
    described = {"weights": [{"pretrained": "org/llm", "revision": "r7"}, {"pretrained": None}]}
    store.write_bytes("runs/finetune-1/model/config.json", json.dumps(described).encode())
    basis = b'[{"num_studies": 9, "num_patients": 8, "section": "findings"}]'
    store.write_bytes("runs/evaluate-1/scores.json", basis)
    failed = Check(name="text.modal_share", verdict=Verdict.FAIL, reason="one report is too frequent", number=0.9)
    decision = Decision(checks=(failed,), facts={"change_plan": {"name": "plan", "sha256": "5e"}})
    store.write_bytes("runs/register-1/decision.json", decision_to_bytes(decision))
    return store


def check_elements(found: Any, expected: Any, at: str) -> None:
    names = list(expected)
    kept = [name for name in found if name not in OPTIONAL] if isinstance(found, dict) else []
    assert kept == names, at
    for name, value in expected.items() if isinstance(expected, dict) else ():
        check_elements(found[name], value, f"{at}.{name}")


def test_the_elements_are_those_of_the_schema(store: Store) -> None:
    for facts in (card_facts(store, MODEL), CardFacts(model="models:/trrg/1", registered="2026-11-26")):
        card = chai_card(facts)["AppliedModelCard"]
        check_elements({**card, "Bibliography": {}}, REQUIRED, "card")
        for metric in card["KeyMetrics"].values():
            assert metric["Results"]["MetricResult"], "the schema asks for at least one"
            assert [list(one) for one in metric["Results"]["MetricResult"]] == [["Label", "ValueJson"]] * len(
                metric["Results"]["MetricResult"]
            )
            for one in metric["Results"]["MetricResult"]:
                json.loads(one["ValueJson"])


def test_the_facts_are_those_of_the_store(store: Store) -> None:
    card = chai_card(card_facts(store, MODEL))["AppliedModelCard"]
    assert card["ReleaseInfo"]["ReleaseVersion"] == "3"
    assert card["ReleaseInfo"]["ReleaseDate"] == "1970-01-02"
    system = card["TrustIngredients"]["AISystemFacts"]
    assert system["FoundationModels"] == "org/llm r7"
    assert "shards shards@4" in system["DevelopmentDataCharacterization"]
    assert system["Security"].endswith("ab12")
    assert system["OngoingMaintenance"].endswith("Change plan: plan, sha256 5e.")
    metrics = card["KeyMetrics"]
    (useful,) = metrics["UsefulnessUsabilityEfficacy"]["Results"]["MetricResult"]
    assert (useful["Label"], json.loads(useful["ValueJson"])) == (
        "trrg13.micro.f1.u0",
        {"value": 0.5, "low": 0.4, "high": 0.6},
    )
    safety = {
        one["Label"]: json.loads(one["ValueJson"]) for one in metrics["SafetyReliability"]["Results"]["MetricResult"]
    }
    assert safety["truth.omitted"]["value"] == 0.1
    assert safety["gate text.modal_share"]["verdict"] == "fail"
    assert "one report is too frequent" in metrics["SafetyReliability"]["Interpretation"]
    assert metrics["SafetyReliability"]["TestingDataDescription"] == "9 studies of 8 patients, section findings"
    assert metrics["FairnessEquity"]["Interpretation"].startswith("not assessed: the evaluation has no scores by slice")
    assert metrics["FairnessEquity"]["Results"]["MetricResult"] == [{"Label": "not measured", "ValueJson": "null"}]


def slice_scores(name: str, value: float, low: float, high: float) -> SliceScores:
    f1 = Estimate(value=value, low=low, high=high)
    truth = Estimate(value=0.8, low=0.7, high=0.9)
    return SliceScores(
        name=name, num_studies=40, num_patients=30, num_positive=25, micro_f1=f1, truth_score=truth, floor_f1=0.2
    )


def test_fairness_is_the_scores_by_sex_age_and_view_and_says_what_was_not_compared(store: Store) -> None:
    slices = [
        slice_scores("view PA", 0.61, 0.55, 0.7),
        slice_scores("view AP", 0.31, 0.25, 0.4),
        slice_scores("view LL", float("nan"), float("nan"), float("nan")),  # no finding in it
        slice_scores("sex F", 0.5, 0.4, 0.6),
        slice_scores("sex M", 0.55, 0.45, 0.65),
        slice_scores("prior True", 0.1, 0.0, 0.2),
        slice_scores("age_years >= 80", 0.1, 0.0, 0.2),  # of `evaluate.slices`
    ]
    data = json.dumps([one.to_json() for one in slices]).encode()
    store.write_bytes(f"runs/evaluate-1/{SLICES_FILE}", data)
    fairness = chai_card(card_facts(store, MODEL))["AppliedModelCard"]["KeyMetrics"]["FairnessEquity"]
    values = {one["Label"]: json.loads(one["ValueJson"]) for one in fairness["Results"]["MetricResult"]}
    assert list(values) == ["view PA", "view AP", "view LL", "sex F", "sex M"]
    assert values["sex F"] == {
        "studies": 40,
        "patients": 30,
        "positive findings": 25,
        "micro-F1": {"value": 0.5, "low": 0.4, "high": 0.6},
        "truth score": {"value": 0.8, "low": 0.7, "high": 0.9},
    }
    assert fairness["Interpretation"].splitlines() == [
        "- sex: micro-F1 from 0.500 (sex F, 40 studies) to 0.550 (sex M, 40 studies); their intervals of 95 % overlap, "
        "which does not show that they are equal",
        "- age: not assessed, no test study states it",
        "- view: micro-F1 from 0.310 (view AP, 40 studies) to 0.610 (view PA, 40 studies); their intervals of 95 % do "
        "not overlap; without a score: view LL",
        "- race, ethnicity, language and insurance: not assessed, no table of the store keeps them",
    ]


def test_an_attribute_with_one_group_or_without_scores_is_not_assessed() -> None:
    one = slice_scores("view PA", 0.6, 0.5, 0.7).to_json()
    empty = [slice_scores(f"sex {sex}", float("nan"), 0, 0).to_json() for sex in "FM"]
    lines = compare_groups(groups_from_json([one, *empty])).splitlines()
    assert lines[0] == "- sex: not assessed, fewer than two of its 2 groups have a score"
    assert lines[2] == "- view: not assessed, all test studies that state it are in view PA, 40 studies"
