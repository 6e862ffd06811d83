"""The card in CHAI's form: its elements are those of the public schema, and its facts those of the store."""

import json
from typing import Any

import pytest

from pipelines.registry.card_facts import card_facts
from pipelines.registry.model_list import ListedModel, ScoreValue
from trrg_core.registry.chai_card import CardFacts, chai_card
from trrg_core.registry.check import Check, Verdict
from trrg_core.registry.decision import Decision, decision_to_bytes
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
    assert metrics["FairnessEquity"]["Interpretation"] == "not measured"
