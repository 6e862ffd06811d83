"""The card of a registered model in the form of CHAI's Applied Model Card, version 0.2 of its public schema, as JSON.

Element names and their order are those of https://mc.chai.org/v0.2/schema.xsd; `ValueJson` is JSON in a string, as
there. Only facts of the store are filled in; what a card must say and the store does not know reads `not stated`, for
the people who publish the card. No report text appears in it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trrg_core.registry.decision import Decision
from trrg_core.registry.group_scores import Group, compare_groups
from trrg_core.registry.model_card import LIMITS, NOT_FOR_USE

SCHEMA = "https://mc.chai.org/v0.2/schema.xsd"
NOT_STATED = "not stated"
_USEFUL = (".f1.", ".precision.", ".recall.", "bleu", "rouge", "meteor", "cider")


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What the store knows of a registered version.

    Attributes:
        model: `models:/NAME/VERSION`.
        registered: date, ISO.
        aliases: such as `champion`.
        code_version: of its training.
        lineage: runs and table versions by name.
        data: what the training data holds, by name: counts of studies, of rows set aside.
        foundation: pretrained weights that it starts from, with their revision.
        scores: value and, where they were computed, both ends of the interval, by name.
        basis: what the scores were computed on.
        decision: of the gate.
        groups: scores of the groups of the test studies by sex, age and view.
        weights_sha256: of the manifest of its files.
    """

    model: str
    registered: str
    aliases: tuple[str, ...] = ()
    code_version: str = ""
    lineage: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, float] = field(default_factory=dict)
    foundation: tuple[str, ...] = ()
    scores: Mapping[str, tuple[float, float | None, float | None]] = field(default_factory=dict)
    basis: str = ""
    decision: Decision | None = None
    groups: tuple[Group, ...] = ()
    weights_sha256: str = ""


def chai_card(facts: CardFacts) -> dict[str, Any]:
    """The card as plain JSON values."""
    name, _, version = facts.model.removeprefix("models:/").partition("/")
    return {
        "$schema": SCHEMA,
        "AppliedModelCard": {
            "BasicInfo": {"ModelName": name, "ModelDeveloper": NOT_STATED, "DeveloperContact": NOT_STATED},
            "ReleaseInfo": {
                "ReleaseStage": ", ".join(("research, not for clinical use", *facts.aliases)),
                "ReleaseDate": facts.registered,
                "ReleaseVersion": version,
                "GlobalAvailability": NOT_STATED,
                "RegulatoryApproval": "none",
            },
            "ModelSummary": {
                "Summary": "Writes the findings of a chest radiograph report, with the evidence of each sentence, "
                "after TRRG (Wang et al., arXiv 2408.12141).",
                "Keywords": {"Keyword": ["radiology report generation", "chest radiograph"]},
            },
            "UsesAndDirections": {
                "IntendedUseAndWorkflow": f"Research on report generation. {NOT_FOR_USE}",
                "PrimaryIntendedUsers": "researchers",
                "HowToUse": f"`trrg generate --model {facts.model} IMAGES`; every report is a draft to be checked.",
                "TargetedPatientPopulation": f"that of its training data: {_lines(facts.lineage) or NOT_STATED}",
                "CautionedOutOfScopeSettings": "any clinical decision; other body parts, modalities and views.",
            },
            "Warnings": {
                "KnownRisksAndLimitations": "\n".join(f"- {limit}" for limit in (NOT_FOR_USE, *LIMITS)),
                "KnownBiasesOrEthicalConsiderations": NOT_STATED,
                "ClinicalRiskLevel": "not assessed: it is no medical device",
            },
            "TrustIngredients": {"AISystemFacts": _facts(facts), "TransparencyInformation": _transparency(facts)},
            "KeyMetrics": _metrics(facts),
            "Resources": {
                "PeerReviewedPublications": "Wang et al., TRRG, arXiv 2408.12141",
                "PatientConsentOrDisclosure": NOT_STATED,
            },
            "Bibliography": "",
        },
    }


def _facts(facts: CardFacts) -> dict[str, str]:
    measured = _lines({name: f"{value:g}" for name, value in facts.data.items()})
    plan = facts.decision.facts.get("change_plan") if facts.decision else None
    maintenance = "Retrained by a pipeline; each candidate passes or fails a gate against the champion."
    return {
        "OutcomesAndOutputs": "text of a report; per sentence the support of the model's own perception",
        "ModelType": "image encoder, disease perception and a language model with low-rank adapters",
        "FoundationModels": ", ".join(facts.foundation) or "none: all weights start at random",
        "InputDataSource": "chest radiographs of one study, JPEG, PNG or DICOM",
        "OutputAndInputDataTypes": "images in, text and labels out",
        "DevelopmentDataCharacterization": "\n".join(filter(None, (_lines(facts.lineage), measured))) or NOT_STATED,
        "BiasMitigationApproaches": NOT_STATED,
        "OngoingMaintenance": f"{maintenance} Change plan: {_plan(plan)}.",
        "Security": f"sha256 of the manifest of its files: {facts.weights_sha256 or NOT_STATED}",
    }


def _plan(plan: Mapping[str, Any] | None) -> str:
    return f"{plan.get('name', '')}, sha256 {plan.get('sha256', '')}" if plan else "none declared"


def _transparency(facts: CardFacts) -> dict[str, str]:
    return {
        "FundingSource": NOT_STATED,
        "ThirdPartyInformation": f"code version {facts.code_version or NOT_STATED}",
        "StakeholdersConsulted": NOT_STATED,
    }


def _metrics(facts: CardFacts) -> dict[str, Any]:
    useful = {name: value for name, value in facts.scores.items() if any(part in name for part in _USEFUL)}
    truth = {name: value for name, value in facts.scores.items() if name.startswith("truth.")}
    checks = facts.decision.checks if facts.decision else ()
    safety = _scores(truth) | {
        f"gate {check.name}": {"verdict": check.verdict, "value": check.number, "low": check.low, "high": check.high}
        for check in checks
    }
    ruling = f"gate: {facts.decision.ruling}" if facts.decision else "no decision of the gate is in the store"
    against = "".join(f"\n- {reason}" for reason in facts.decision.against) if facts.decision else ""
    return {
        "UsefulnessUsabilityEfficacy": _metric(
            facts, "findings stated as in the reference; text like the reference", _scores(useful), ruling
        ),
        "FairnessEquity": _metric(
            facts,
            "the same scores in each group of the test studies by sex, age and view",
            {group.name: group.to_json() for group in facts.groups},
            compare_groups(facts.groups),
        ),
        "SafetyReliability": _metric(
            facts, "no statement without support; no critical finding left out", safety, f"{ruling}{against}"
        ),
    }


def _metric(facts: CardFacts, goal: str, values: Mapping[str, Any], interpretation: str) -> dict[str, Any]:
    results = [{"Label": name, "ValueJson": json.dumps(value, allow_nan=False)} for name, value in values.items()]
    return {
        "MetricGoal": goal,
        "Results": {"MetricResult": results or [{"Label": "not measured", "ValueJson": "null"}]},
        "Interpretation": interpretation,
        "TestType": "retrospective, on studies of patients that were not trained on",
        "TestingDataDescription": facts.basis or NOT_STATED,
        "ValidationProcessAndJustification": "paired bootstrap over patients against five floors and the champion, "
        "with bounds fixed before training",
    }


def _scores(values: Mapping[str, tuple[float, float | None, float | None]]) -> dict[str, Any]:
    return {name: {"value": value, "low": low, "high": high} for name, (value, low, high) in values.items()}


def _lines(values: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
