import pytest

from tests.core.toy_corpus import OBSERVATIONS, toy_row
from trrg_core.labels import (
    NOT_STATED,
    SIDE_LEFT,
    SIDE_RIGHT,
    STATED_ABSENT,
    STATED_PRESENT,
    STATED_UNCERTAIN,
    ZONE_LOWER,
    ZONE_UPPER,
)
from trrg_core.report.facts import FactCodes, no_facts, sentence_facts, study_facts
from trrg_core.training.fact_tensors import facts_tensor

SIDED = (True, True, False)


def fact(observation: str, assertion: str = "PRESENT", side: str = "", severity: str = "") -> dict[str, str]:
    return {"observation": observation, "assertion": assertion, "laterality": side, "severity": severity}


def test_a_sentence_states_assertion_side_and_degree():
    facts = [fact("Pleural Effusion", side="left", severity="small"), fact("Pneumothorax", "ABSENT")]
    codes = sentence_facts(facts, OBSERVATIONS, sided=SIDED)
    assert codes == FactCodes((STATED_PRESENT, STATED_ABSENT, NOT_STATED), (SIDE_LEFT, 0, 0), (1, 0, 0), (0, 0, 0))


def test_facts_of_a_table_without_attributes_state_none():
    codes = sentence_facts([{"observation": "Pneumothorax", "assertion": "PRESENT"}], OBSERVATIONS, sided=SIDED)
    assert codes == FactCodes((0, STATED_PRESENT, 0), (0, 0, 0), (0, 0, 0), (0, 0, 0))


def test_an_observation_without_a_side_has_none_whatever_is_written():
    codes = sentence_facts([fact("Cardiomegaly", side="left")], OBSERVATIONS, sided=SIDED)
    assert codes.sides == (0, 0, 0)


@pytest.mark.parametrize(
    ("severities", "degree"), [(("small", "trace"), 1), (("large", "severe"), 3), (("small", "large"), 0), (("",), 0)]
)
def test_a_degree_counts_when_all_mentions_agree_in_it(severities, degree):
    facts = [fact("Pneumothorax", severity=severity) for severity in severities]
    assert sentence_facts(facts, OBSERVATIONS, sided=SIDED).degrees[1] == degree


def test_the_strongest_assertion_counts_and_only_its_facts_describe_it():
    facts = [
        fact("Pneumothorax", "ABSENT", "left"),
        fact("Pneumothorax", side="right"),
        fact("Pneumothorax", "UNCERTAIN"),
    ]
    codes = sentence_facts(facts, OBSERVATIONS, sided=SIDED)
    assert (codes.assertions[1], codes.sides[1]) == (STATED_PRESENT, SIDE_RIGHT)


def test_a_study_states_the_sides_of_all_its_sentences_under_its_labels():
    sentences = [
        {"facts": [fact("Pleural Effusion", side="left", severity="small")]},
        {
            "facts": [
                fact("Pleural Effusion", side="right", severity="large"),
                fact("Pneumothorax", "UNCERTAIN", "left"),
            ]
        },
    ]
    codes = study_facts(sentences, [STATED_PRESENT, STATED_UNCERTAIN, NOT_STATED], OBSERVATIONS, sided=SIDED)
    assert codes.sides == (SIDE_LEFT | SIDE_RIGHT, SIDE_LEFT, 0)
    assert codes.degrees == (0, 0, 0)
    denied = study_facts(sentences, [STATED_ABSENT, NOT_STATED, NOT_STATED], OBSERVATIONS, sided=SIDED)
    assert denied.sides == (0, 0, 0)


def test_zones_are_those_of_all_facts_of_an_observation_with_a_side():
    facts = [fact("Pneumothorax") | {"anatomy": place} for place in ("left upper lobe", "lung base", "rib", "")]
    facts.append(fact("Cardiomegaly") | {"anatomy": "lung base"})
    assert sentence_facts(facts, OBSERVATIONS, sided=SIDED).zones == (0, ZONE_UPPER | ZONE_LOWER, 0)


def test_a_denial_without_a_detail_denies_the_finding_everywhere():
    detailed = fact("Pneumothorax", "ABSENT", "left", "large") | {"anatomy": "lung apex"}
    codes = sentence_facts([detailed], OBSERVATIONS, sided=SIDED)
    assert (codes.sides[1], codes.degrees[1], codes.zones[1]) == (SIDE_LEFT, 3, ZONE_UPPER)
    codes = sentence_facts([detailed, fact("Pneumothorax", "ABSENT")], OBSERVATIONS, sided=SIDED)
    assert codes == FactCodes((0, STATED_ABSENT, 0), *[(0, 0, 0)] * 3)


def test_tensors_have_one_row_per_text():
    facts = facts_tensor([no_facts(3), FactCodes((1, 2, 0), (3, 0, 0), (2, 0, 0), (0, 0, 0))], 3)
    assert [part.tolist() for part in facts] == [
        [[0, 0, 0], [1, 2, 0]],
        [[0, 0, 0], [3, 0, 0]],
        [[0, 0, 0], [2, 0, 0]],
        [[0, 0, 0], [0, 0, 0]],
    ]
    assert facts_tensor([], 3).assertion_NO.shape == (0, 3)


def test_the_toy_rows_state_what_they_write():
    row = toy_row(1, "ep")
    codes = study_facts(row["sentences"], [1, 1, 2], OBSERVATIONS, sided=SIDED)
    assert codes.sides == (SIDE_LEFT, SIDE_RIGHT, 0)
