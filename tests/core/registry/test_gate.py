import json
import math
from dataclasses import replace

import numpy as np
import pytest

from infra.bench.gate_nights import FINDINGS, RATES, Model, TestSet, expected_f1, shift_for
from trrg_core.config.gate_settings import GateConfig
from trrg_core.metrics.outcomes import Basis, Column, Outcome, OutcomeTable, count_columns, outcome_column
from trrg_core.metrics.systems import IMAGE_REMOVED_SHARE, System, TruthMeasure, TruthRate
from trrg_core.registry.champion_checks import BEST, CHAMPION, Rival
from trrg_core.registry.check import Check, Verdict
from trrg_core.registry.decision import Decision, Ruling, decision_from_bytes, decision_to_bytes, tags_of
from trrg_core.registry.gate import decide, is_best
from trrg_core.registry.text_checks import _RATES, _SHARES

CONFIG = GateConfig(bootstrap_samples=200)
SCORE = "trrg13.micro.f1.u0"
MISSED = (Outcome.TRUE_POSITIVE, Outcome.FALSE_NEGATIVE)
STUDIES = TestSet(1500, seed=5)
MODEL = Model(shift=0.0, seed=1)
TABLE = STUDIES.table(MODEL)
IMAGES = STUDIES.images(MODEL)


def gate(table: OutcomeTable = TABLE, rivals=(), config: GateConfig = CONFIG, **options) -> Decision:
    given = {"rates": RATES, "score_name": SCORE, "seed": 7, "images": IMAGES} | options
    return decide(table, rivals=rivals, config=config, **given)


def check(decision: Decision, name: str) -> Check:
    (found,) = [item for item in decision.checks if item.name == name]
    return found


def failed(decision: Decision) -> set[str]:
    return {item.name for item in decision.checks if item.verdict is Verdict.FAIL}


def rival(model: Model, role: str = CHAMPION) -> Rival:
    return Rival(role=role, model=f"models:/trrg/{model.seed}", outcomes=STUDIES.alone(model))


def changed(table: OutcomeTable, column: str, value: float) -> OutcomeTable:
    """The table with one column of the model's counts set to `value`."""
    counts = table.counts[System.MODEL].copy()
    counts[:, table.columns.index(column)] = value
    return replace(table, counts={**table.counts, System.MODEL: counts})


def test_a_good_first_model_is_promoted_with_a_number_and_a_bound_for_every_check():
    decision = gate()
    assert decision.ruling is Ruling.PROMOTED
    assert decision.promote
    assert decision.against == ()
    judged = [item for item in decision.checks if item.verdict is not Verdict.NOT_JUDGED]
    assert all(item.number is not None and item.bound and item.reason for item in judged)
    floor = check(decision, "floor.nearest_neighbour")
    assert floor.low < floor.number < floor.high
    assert floor.reason.startswith(f"{SCORE} against the nearest neighbour is +0.1")
    assert "register.min_f1_gain" in floor.reason


def test_the_score_is_without_no_finding():
    assert "No Finding" not in TABLE.findings
    assert not [name for name in TABLE.columns if "no_finding" in name]


def test_a_floor_must_be_beaten_by_the_whole_interval():
    near = Model(shift=shift_for(MODEL.f1 - 0.01), seed=3)
    tie = replace(TABLE, counts={**TABLE.counts, System.NEAREST_NEIGHBOUR: STUDIES.count(near)})
    decision = gate(tie)
    assert check(decision, "floor.nearest_neighbour").low < 0
    assert failed(decision) == {"floor.nearest_neighbour"}


def test_a_tie_with_a_floor_does_not_beat_it_and_a_tie_with_the_clues_does():
    same = {**TABLE.counts, System.MODAL_REPORT: TABLE.counts[System.MODEL]}
    assert "floor.modal_report" in failed(gate(replace(TABLE, counts=same)))
    clues = check(gate(), "floor.clue_labels")
    assert (clues.number, clues.low, clues.verdict) == (0.0, 0.0, Verdict.PASS)


def test_a_floor_that_was_not_scored_cannot_be_beaten():
    without = {system: counts for system, counts in TABLE.counts.items() if system is not System.NEAREST_NEIGHBOUR}
    decision = gate(replace(TABLE, counts=without))
    assert failed(decision) == {"floor.nearest_neighbour"}
    assert "nearest neighbour was not scored" in decision.against[0]


def test_few_studies_or_few_positives_are_insufficient_evidence_and_never_a_pass():
    few = gate(TestSet(150, seed=2).table(MODEL), config=CONFIG.model_copy(update={"max_f1_below_clues": 1.0}))
    assert not few.promote
    assert check(few, "evidence.studies").verdict is Verdict.INSUFFICIENT
    rare = gate(config=CONFIG.model_copy(update={"critical_findings": ("Pleural Other",), "min_positives": 50}))
    assert rare.ruling is Ruling.INSUFFICIENT
    assert not rare.promote
    assert rare.against[0].startswith("insufficient evidence: the number of positive references of Pleural Other is ")
    unknown = gate(config=CONFIG.model_copy(update={"critical_findings": ("Rickets",)}))
    assert unknown.ruling is Ruling.INSUFFICIENT
    reason = "the label set has no finding 'Rickets': register.critical_findings must name some of Atelectasis, Card"
    assert check(unknown, "evidence.rickets").reason.startswith(reason)


@pytest.mark.parametrize("patients", [1, 3, 49])
def test_many_studies_of_few_patients_are_insufficient_evidence(patients: int):
    few = replace(TABLE, subject_ids=tuple(str(index % patients) for index in range(len(TABLE.study_ids))))
    decision = gate(few)
    assert decision.ruling is Ruling.INSUFFICIENT
    words = f"insufficient evidence: the number of test patients is {patients}; needed >= 50 (register.min_patients)"
    assert decision.against[0] == words
    # of one patient, each critical finding is of one patient, too
    assert len(decision.against) == (1 if patients > 2 else 1 + len(CONFIG.critical_findings))


def test_outcomes_of_other_studies_cannot_be_compared_even_if_they_say_so():
    known = rival(MODEL)
    fewer = replace(
        known.outcomes,
        study_ids=known.outcomes.study_ids[:9],
        subject_ids=known.outcomes.subject_ids[:9],
        counts={system: counts[:9] for system, counts in known.outcomes.counts.items()},
    )
    turned = replace(known.outcomes, study_ids=known.outcomes.study_ids[::-1])
    for outcomes in (fewer, turned):
        decision = gate(rivals=[replace(known, outcomes=outcomes)])
        assert failed(decision) == {"champion.comparable"}
        assert "other studies, patients or findings" in decision.against[0]


def test_a_failure_outweighs_missing_evidence():
    decision = gate(rates={}, config=CONFIG.model_copy(update={"min_studies": 9999}))
    assert decision.ruling is Ruling.REFUSED


def test_a_worse_model_is_refused_and_the_same_model_is_not():
    worse = Model(shift=shift_for(MODEL.f1 - 0.05), seed=2)
    decision = gate(STUDIES.table(worse), [rival(MODEL)])
    assert {"champion.micro_f1", "champion.truth_score"} <= failed(decision)
    again = gate(TABLE, [rival(MODEL)])
    assert again.promote
    assert (check(again, "champion.micro_f1").low, check(again, "champion.critical_recall").low) == (0.0, 0.0)
    assert check(again, "champion.macro_f1").verdict is Verdict.NOT_JUDGED


def test_a_model_that_misses_one_critical_finding_is_refused_whatever_its_f1():
    lost = STUDIES.table(Model(shift=shift_for(MODEL.f1 + 0.06), seed=4))
    counts = lost.counts[System.MODEL].copy()
    hit, missed = (
        lost.columns.index(outcome_column(outcome, "Pneumothorax")) for outcome in ("true_positive", "false_negative")
    )
    counts[:, missed] += counts[:, hit]
    counts[:, hit] = 0
    decision = gate(replace(lost, counts={**lost.counts, System.MODEL: counts}), [rival(MODEL)])
    assert check(decision, "champion.micro_f1").verdict is Verdict.PASS
    assert "champion.recall.pneumothorax" in failed(decision)
    assert not decision.promote


def test_the_best_champion_is_compared_too_so_that_small_drops_do_not_add_up():
    best, now = Model(shift=shift_for(MODEL.f1 + 0.06), seed=8), Model(shift=0.0, seed=9)
    alone = gate(TABLE, [rival(MODEL)])
    both = gate(TABLE, [rival(MODEL), rival(best, BEST)])
    assert alone.promote
    assert failed(both) == {"best_champion.micro_f1"}
    assert now.f1 < best.f1


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (Rival(role=CHAMPION, model="models:/trrg/1", refusal="its training run is gone"), "its training run is gone"),
        (Rival(role=CHAMPION, model="models:/trrg/1"), "it has no outcomes"),
        (
            Rival(
                role=CHAMPION,
                model="models:/trrg/1",
                outcomes=replace(TABLE, basis=Basis(test="t", section="findings", labeler="l", rules="invented")),
            ),
            "it was scored with another test and another labeler",
        ),
    ],
)
def test_a_champion_that_cannot_be_compared_refuses_the_model_and_says_why(other: Rival, words: str):
    decision = gate(TABLE, [other])
    assert failed(decision) == {"champion.comparable"}
    assert words in decision.against[0]


@pytest.mark.parametrize(
    ("column", "value", "name"),
    [
        (Column.ASSERTING, 0.0, "text.parsed_share"),
        (Column.WORDS_MATCHED, 5.0, "language.modal_report"),
        (Column.SIDES_AGREE, 0.0, "truth.side_agreement"),
    ],
)
def test_texts_that_are_no_reports_are_refused(column: Column, value: float, name: str):
    assert name in failed(gate(changed(TABLE, column, value)))


@pytest.mark.parametrize(
    ("rate", "value", "name"),
    [
        (TruthRate.MODAL_SHARE, 0.6, "text.modal_share"),
        (TruthRate.DISTINCT_SHARE, 0.01, "text.distinct_share"),
        (TruthRate.UNSUPPORTED_POSITIVE, 0.6, "truth.unsupported_positive_rate"),
        (TruthRate.CONTRADICTED_NEGATION, 0.3, "truth.contradicted_negation_rate"),
        (TruthRate.INTERNAL_CONTRADICTION, 0.2, "truth.internal_contradiction_rate"),
        (TruthRate.FALSE_PRIOR, 0.5, "truth.false_prior_rate"),
        (TruthRate.MEASUREMENT, 0.4, "truth.measurement_rate"),
        (TruthRate.IDENTIFIER, 0.1, "truth.identifier_rate"),
        (TruthRate.HALLUCINATED, 0.5, "truth.hallucinated_rate"),
        (TruthRate.NEGATION_FLIP, 0.2, "truth.negation_flip_rate"),
        (TruthRate.HEDGED, 0.2, "truth.hedged_rate"),
        (TruthMeasure.CLUE_ECE, 0.2, "truth.clue_ece"),
    ],
)
def test_each_rate_stops_alone(rate: TruthRate, value: float, name: str):
    assert failed(gate(rates={**RATES, rate: value})) == {name}


def test_a_rate_with_nothing_to_count_is_not_judged_and_a_missing_share_fails():
    decision = gate(rates=RATES | {TruthRate.MODAL_SHARE: None})
    assert check(decision, "truth.false_prior_rate").verdict is Verdict.NOT_JUDGED
    assert failed(decision) == {"text.modal_share"}
    assert check(decision, "text.modal_share").number is None


@pytest.mark.parametrize("value", ["missing", math.nan, math.inf, -math.inf])
def test_a_value_that_is_missing_or_not_finite_stops_every_check_of_a_rate(value: float | str):
    names = (*_SHARES, *_RATES, IMAGE_REMOVED_SHARE)
    wrong = [name for name in RATES if name not in names], dict.fromkeys(names, value) if value != "missing" else {}
    decision = gate(rates={**dict.fromkeys(wrong[0]), **wrong[1]})
    assert len(failed(decision)) == len(names)
    assert all("is missing; needed" in item for item in decision.against)
    assert decision_from_bytes(decision_to_bytes(decision)) == decision


def test_few_patients_with_a_critical_finding_are_insufficient_evidence_with_the_reason():
    """The 20 positives that are needed are of one patient: a third of the resamples have none."""
    found = [TABLE.counts[System.MODEL][:, TABLE.columns.index(outcome_column(outcome, "Edema"))] for outcome in MISSED]
    has_it = np.sum(found, axis=0) > 0
    subjects = tuple("all" if has else each for has, each in zip(has_it, TABLE.subject_ids, strict=True))
    other = rival(MODEL)
    outcomes = replace(other.outcomes, subject_ids=subjects)
    config = CONFIG.model_copy(update={"critical_findings": ("Edema",)})
    decision = gate(replace(TABLE, subject_ids=subjects), [replace(other, outcomes=outcomes)], config)
    assert decision.ruling is Ruling.INSUFFICIENT
    reasons = {item.name: item.reason for item in decision.checks if item.verdict is Verdict.INSUFFICIENT}
    assert reasons.keys() == {
        "evidence.edema",
        "floor.critical_recall",
        "floor.recall.edema",
        "champion.critical_recall",
        "champion.recall.edema",
    }
    assert reasons["evidence.edema"].startswith("the number of patients with positive references of Edema is 1; needed")
    assert "so few test patients have it that too many resamples" in reasons["champion.recall.edema"]


def test_degrees_that_are_not_those_of_the_reference_are_refused():
    stated = changed(TABLE, Column.DEGREES_BOTH, 1.0)
    decision = gate(changed(stated, Column.DEGREES_AGREE, 0.2))
    assert failed(decision) == {"truth.degree_agreement"}
    assert failed(gate(changed(stated, Column.DEGREES_AGREE, 0.9))) == set()
    assert check(gate(), "truth.degree_agreement").verdict is Verdict.NOT_JUDGED


@pytest.mark.parametrize(
    ("attribute", "columns"),
    [
        ("degree", (Column.DEGREES_BOTH, Column.DEGREES_AGREE, Column.DEGREES_CHANCE)),
        ("zone", (Column.ZONES_BOTH, Column.ZONES_AGREE, Column.ZONES_CHANCE)),
    ],
)
def test_what_is_always_the_same_agrees_no_more_than_by_chance(attribute: str, columns: tuple[Column, ...]):
    def decide(*values: float) -> Decision:
        table = TABLE
        for column, value in zip(columns, values, strict=True):
            table = changed(table, column, value)
        return gate(table)

    assert failed(decide(1, 0.8, 0.8)) == {f"truth.{attribute}_gain"}
    assert failed(decide(1, 0.8, 0.5)) == set()
    # references that all say the same tell nothing
    assert check(decide(1, 1, 1), f"truth.{attribute}_gain").verdict is Verdict.NOT_JUDGED


def test_zones_that_are_not_those_of_the_reference_are_refused():
    stated = changed(TABLE, Column.ZONES_BOTH, 1.0)
    assert failed(gate(changed(stated, Column.ZONES_AGREE, 0.6))) == {"truth.zone_agreement"}


def test_a_first_model_that_leaves_out_sides_words_or_a_finding_is_refused():
    half = TABLE.columns.index(Column.SIDES_DUE)
    due = changed(TABLE, Column.SIDES_BOTH, 0.0).counts[System.MODEL].copy()
    due[:, TABLE.columns.index(Column.SIDES_BOTH)] = due[:, half] * (np.arange(len(due)) % 2)
    silent = gate(replace(TABLE, counts={**TABLE.counts, System.MODEL: due}))
    assert "text.sides_stated" in failed(silent)
    assert failed(gate(changed(TABLE, Column.MALFORMED, 0.2))) == {"text.malformed_share"}
    assert failed(gate(changed(TABLE, Column.WORDS_UNKNOWN, 1.5))) == {"floor.unknown_words"}
    assert failed(gate(changed(TABLE, Column.WORDS_UNKNOWN, 0.5))) == set()
    assert failed(gate(changed(TABLE, Column.MALFORMED, math.nan))) == {"text.malformed_share"}


def test_few_sides_are_not_judged():
    few = changed(changed(TABLE, Column.SIDES_BOTH, 0.0), Column.SIDES_AGREE, 0.0)
    assert check(gate(few), "truth.side_agreement").verdict is Verdict.NOT_JUDGED


def test_a_person_may_promote_and_the_reason_is_kept():
    decision = gate(rates={}, override="agreed with the radiologists")
    assert decision.ruling is Ruling.OVERRIDDEN
    assert decision.promote
    assert decision.reasons[0] == "override: agreed with the radiologists"
    assert json.loads(decision_to_bytes(decision))["override"] == "agreed with the radiologists"
    assert tags_of(decision)["override"] == "agreed with the radiologists"
    # a model that passes needs none
    assert gate(override="not needed").ruling is Ruling.PROMOTED


def test_the_record_has_every_number_and_is_read_back_as_it_was():
    decision = gate(TABLE, [rival(MODEL)], facts={"studies": 1500})
    record = json.loads(decision_to_bytes(decision))
    assert (record["ruling"], record["promote"], record["studies"]) == ("promoted", True, 1500)
    assert record["checks"][0].keys() == {"name", "verdict", "number", "interval", "bound", "reason"}
    (floor,) = [row for row in record["checks"] if row["name"] == "floor.modal_report"]
    assert len(floor["interval"]) == 2
    assert floor["bound"] == {"relation": ">", "value": 0.0, "setting": "register.min_f1_gain", "of": "lower end"}
    assert decision_from_bytes(decision_to_bytes(decision)) == decision
    assert tags_of(decision)["floor.modal_report"].startswith("pass: 0.")


def test_only_a_model_above_every_champion_is_the_best():
    assert is_best(gate())
    better = STUDIES.table(Model(shift=shift_for(MODEL.f1 + 0.05), seed=6))
    assert is_best(gate(better, [rival(MODEL)]))
    assert not is_best(gate(TABLE, [rival(MODEL)]))
    assert not is_best(gate(rates={}, override="because"))


def test_the_same_inputs_give_the_same_decision():
    assert gate(TABLE, [rival(MODEL)]) == gate(TABLE, [rival(MODEL)])


def test_invented_models_have_the_quality_that_they_say():
    wanted = 0.53
    model = Model(shift=shift_for(wanted), seed=1)
    assert model.f1 == pytest.approx(wanted)
    counts = TestSet(30_000, seed=1).count(model)
    columns = count_columns(FINDINGS)
    hits, extra, missed = (
        sum(counts[:, columns.index(outcome_column(outcome, name))].sum() for name in FINDINGS)
        for outcome in ("true_positive", "false_positive", "false_negative")
    )
    assert 2 * hits / (2 * hits + extra + missed) == pytest.approx(wanted, abs=0.006)
    assert expected_f1(0.0) == pytest.approx(0.5, abs=0.01)
    assert not np.isnan(counts).any()


def test_the_record_has_every_score_beside_the_champion_s_with_a_paired_difference():
    worse = rival(Model(shift=shift_for(MODEL.f1 - 0.06), seed=3))
    decision = gate(rivals=[worse])
    beside = decision_from_bytes(decision_to_bytes(decision)).facts["beside_champion"]
    rows = {row["name"]: row for row in beside["scores"]}
    assert beside["model"] == worse.model
    assert list(rows)[:3] == [SCORE, "trrg13.macro.f1.u0", "truth score"]
    assert [name.removeprefix("F1 ") for name in rows if name.startswith("F1 ")] == list(FINDINGS)
    first = rows[SCORE]
    assert first["difference"] == pytest.approx(first["model"] - first["champion"])
    assert 0 < first["low"] < first["difference"] < first["high"]
    assert first["difference"] == check(decision, "champion.micro_f1").number
    equal = {row["name"]: row for row in gate(rivals=[rival(MODEL)]).facts["beside_champion"]["scores"]}
    assert (equal[SCORE]["difference"], equal[SCORE]["low"], equal[SCORE]["high"]) == (0, 0, 0)


def test_what_no_case_decides_has_no_number_beside_the_champion():
    rows = {row["name"]: row for row in gate(rivals=[rival(MODEL)]).facts["beside_champion"]["scores"]}
    # the invented models state no degree
    assert rows["degree agreement"] == {"name": "degree agreement"} | dict.fromkeys(
        ("model", "champion", "difference", "low", "high")
    )


def test_without_a_champion_nothing_stands_beside():
    assert "beside_champion" not in gate().facts
    other = replace(rival(MODEL), refusal="its run is gone")
    assert "beside_champion" not in gate(rivals=[other]).facts


@pytest.mark.parametrize(
    ("name", "check_name", "bound"),
    [
        ("truth.hallucinated_rate", "truth.hallucinated_rate", 0.4),
        ("truth.negation_flip_rate", "truth.negation_flip_rate", 0.1),
        ("truth.hedged_rate", "truth.hedged_rate", 0.1),
        ("truth.clue_ece", "truth.clue_ece", 0.1),
    ],
)
def test_errors_of_facts_and_poor_calibration_are_refused(name, check_name, bound):
    assert check(gate(), check_name).verdict is Verdict.NOT_JUDGED
    assert check(gate(rates={**RATES, name: bound}), check_name).verdict is Verdict.PASS
    assert failed(gate(rates={**RATES, name: bound + 0.01})) == {check_name}


def test_without_changed_images_the_evidence_is_insufficient_and_never_a_pass():
    decision = gate(images=None)
    assert decision.ruling is Ruling.INSUFFICIENT
    assert decision.against == (
        "insufficient evidence: the number of studies written with changed images (evaluate.image_studies) is 0; "
        "needed >= 100 (register.min_image_studies)",
    )


def test_a_model_that_loses_nothing_with_a_changed_image_is_refused():
    half = {**IMAGES.counts, System.HALF_IMAGE: IMAGES.counts[System.OWN_IMAGE]}
    decision = gate(images=replace(IMAGES, counts=half))
    assert failed(decision) == {"image.half_image"}
    assert (check(decision, "image.half_image").low, check(decision, "image.grey_image").low > 0.02) == (0.0, True)
    assert "image.removed_share" in failed(gate(rates=RATES | {IMAGE_REMOVED_SHARE: 0.6}))
    no_share = {name: value for name, value in RATES.items() if name != IMAGE_REMOVED_SHARE}
    assert "image.removed_share" in failed(gate(rates=no_share))


def test_an_image_that_no_study_could_be_shown_is_insufficient_evidence():
    others = {system: counts for system, counts in IMAGES.counts.items() if system is not System.OTHER_IMAGE}
    decision = gate(images=replace(IMAGES, counts=others))
    assert decision.ruling is Ruling.INSUFFICIENT
    assert check(decision, "image.other_image").verdict is Verdict.INSUFFICIENT


def test_a_model_that_tells_fewer_sides_or_degrees_than_the_champion_is_refused():
    silent = gate(changed(TABLE, Column.SIDES_BOTH, 0.0), [rival(MODEL)])
    assert {"champion.sides_stated", "floor.sides_stated"} <= failed(silent)
    reported = changed(changed(TABLE, Column.DEGREES_BOTH, 0.3), Column.DEGREES_AGREE, 0.3)
    champion = Rival(role=CHAMPION, model="models:/trrg/1", outcomes=reported)
    assert failed(gate(TABLE, [champion])) == {"champion.degrees_stated"}
    assert failed(gate(reported, [rival(MODEL)])) == set(), "more of them are no fault"
    # the champion has none: nothing to fall behind
    none = check(gate(), "floor.degrees_stated")
    assert (none.verdict, "0 cases are too few to judge" in none.reason) == (Verdict.NOT_JUDGED, True)


def test_reports_much_longer_than_the_references_are_refused():
    column = TABLE.columns.index(Column.WORDS)
    words = float(TABLE.counts[System.MODEL][:, column].mean())
    assert failed(gate(changed(TABLE, Column.WORDS, 3 * words))) >= {"text.length_ratio"}
    assert check(gate(), "text.length_ratio").verdict is Verdict.PASS
