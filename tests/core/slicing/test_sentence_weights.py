import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.invented_shards import study, table_of
from trrg_core.slicing.plan import plan_slice
from trrg_core.slicing.spec import validate_slice_spec


def _plan(rows: list[dict], **asked: object):
    return plan_slice(table_of(rows), validate_slice_spec(asked))


def test_denials_are_weighed_down_to_the_cap_and_affirmations_stay() -> None:
    # 1 sentence affirms, 3 deny: at most half of the four says 1/3 each
    rows = [study("s1", sentences=["Edema+"]), study("s2", sentences=["Edema-", "Edema-", "Edema-"])]
    plan = _plan(rows, max_negated_share=0.5)
    affirmed, denied = plan.rows["sentence_weights"].to_pylist()
    assert affirmed == [1.0]
    assert denied == [pytest.approx(1 / 3, abs=1 / 4096)] * 3
    outcome = plan.outcomes[0]
    assert (outcome.name, outcome.before, outcome.is_met) == ("Edema negated sentences", 0.75, True)
    assert 0.4995 <= outcome.achieved <= 0.5


def test_the_cap_counts_the_sentences_that_stage_2_learns() -> None:
    # in the report 2 of 4 deny, elsewhere all 4 affirm: over all sections the cap of 40 % would seem met
    rows = [study("s1", sentences=["Edema+", "Edema+", "Edema-", "Edema-"], elsewhere=["Edema+"] * 4 + ["Edema-"])]
    plan = _plan(rows, max_negated_share=0.4)
    (outcome,) = [one for one in plan.outcomes if one.name.startswith("Edema")]
    assert (outcome.before, outcome.before_all) == (0.5, pytest.approx(3 / 9))
    assert outcome.achieved == pytest.approx(0.4, abs=1e-3)
    (weights,) = plan.rows["sentence_weights"].to_pylist()
    assert weights[2] == weights[3] == pytest.approx(2 / 3, abs=1e-3)
    assert weights[8] == weights[2]  # stage 1 reads it, with the factor of its finding
    assert outcome.achieved_all == pytest.approx(3 * weights[2] / (6 + 3 * weights[2]))
    assert outcome.is_met


def test_without_a_cap_every_weight_is_one() -> None:
    rows = [study("s1", sentences=["Edema-", "Edema+"])]
    assert _plan(rows).rows["sentence_weights"].to_pylist() == [[1.0, 1.0]]


def test_a_sentence_that_denies_two_is_weighed_by_both() -> None:
    rows = [
        study("s1", sentences=["Edema+"] * 4 + ["Pneumothorax+"] * 2),
        study("s2", sentences=["Edema- Pneumothorax-"] * 4 + ["Edema-"] * 4 + ["Pneumothorax-"] * 4),
    ]
    negated = [{"observation": "Edema", "share": 0.5}, {"observation": "Pneumothorax", "share": 0.5}]
    weights = _plan(rows, negated=negated).rows["sentence_weights"].to_pylist()[1]
    both, edema, pneumothorax = weights[0], weights[4], weights[8]
    assert both == pytest.approx(edema * pneumothorax, abs=1e-3)
    assert 4 * both + 4 * edema == pytest.approx(4, abs=5e-3)
    assert 4 * both + 4 * pneumothorax == pytest.approx(2, abs=5e-3)


def test_a_sentence_that_also_affirms_keeps_its_weight_and_is_counted() -> None:
    rows = [study("s1", sentences=["Edema+", "Edema+", "Pneumothorax+ Edema-", "Edema-", "Edema-"])]
    plan = _plan(rows, negated=[{"observation": "Edema", "share": 0.5}])
    # 2 affirm, so 2 may deny: one is the mixed sentence, the two others share what is left
    assert plan.rows["sentence_weights"].to_pylist() == [[1.0, 1.0, 1.0, 0.5, 0.5]]
    assert plan.outcomes[0].achieved == 0.5


def test_an_observation_nothing_affirms_is_left_alone_and_said() -> None:
    plan = _plan([study("s1", sentences=["Edema-", "Edema-"])], negated=[{"observation": "Edema", "share": 0.5}])
    assert plan.rows["sentence_weights"].to_pylist() == [[1.0, 1.0]]
    assert plan.infeasible == (
        "Edema negated sentences: no sentence of the slice affirms it, so that every denial is the whole of it",
    )


def test_mixed_sentences_above_the_cap_are_said() -> None:
    rows = [study("s1", sentences=["Edema+", "Pneumothorax+ Edema-", "Pneumothorax+ Edema-", "Edema-"])]
    plan = _plan(rows, negated=[{"observation": "Edema", "share": 0.5}])
    assert plan.rows["sentence_weights"].to_pylist() == [[1.0, 1.0, 1.0, 0.0]]
    assert plan.outcomes[0].reason == "2 sentences deny it and affirm something else; these keep weight 1"


def test_an_own_cap_of_one_lifts_the_general_one() -> None:
    rows = [study("s1", sentences=["Edema+", "Edema-", "Edema-"])]
    plan = _plan(rows, max_negated_share=0.5, negated=[{"observation": "Edema", "share": 1}])
    assert plan.rows["sentence_weights"].to_pylist() == [[1.0, 1.0, 1.0]]
    assert [outcome.name for outcome in plan.outcomes] == [
        "Pneumothorax negated sentences",
        "Pleural Effusion negated sentences",
    ]


def test_repeats_count() -> None:
    rows = [study("s1", "Edema+", sentences=["Edema+"]), study("s2", sentences=["Edema-", "Edema-", "Edema-"])]
    asked = {"quotas": [{"observation": "Edema", "count": 2}], "max_repeats": 2, "max_negated_share": 0.5}
    plan = _plan(rows, **asked)
    assert plan.rows["repeat"].to_pylist() == [2, 1]
    assert plan.rows["sentence_weights"].to_pylist()[1] == [pytest.approx(2 / 3, abs=1 / 4096)] * 3


SENTENCE = st.sampled_from(
    ["Edema+", "Edema-", "Edema?", "Edema- Pneumothorax-", "Pneumothorax-", "Pneumothorax+ Edema-", "Effusion- Edema-"]
)


@settings(deadline=None, max_examples=150)
@given(
    studies=st.lists(st.lists(SENTENCE, max_size=6), min_size=1, max_size=12),
    caps=st.tuples(*[st.integers(0, 19).map(lambda at: at / 20)] * 2),
)
def test_the_share_of_denials_is_within_its_cap_or_it_is_said(
    studies: list[list[str]], caps: tuple[float, float]
) -> None:
    rows = [study(f"s{at:02}", sentences=said) for at, said in enumerate(studies)]
    names = ("Edema", "Pneumothorax")
    plan = _plan(rows, negated=[{"observation": name, "share": cap} for name, cap in zip(names, caps, strict=True)])
    weights = plan.rows["sentence_weights"].to_pylist()
    weighed = [
        (text, weight)
        for said, row in zip(studies, weights, strict=True)
        for text, weight in zip(said, row, strict=True)
    ]
    for name, cap, outcome in zip(names, caps, plan.outcomes, strict=True):
        denied = sum(weight for text, weight in weighed if f"{name}-" in text)
        affirmed = sum(weight for text, weight in weighed if f"{name}+" in text or f"{name}?" in text)
        spoken = denied + affirmed
        assert outcome.achieved == pytest.approx(denied / spoken if spoken else 0, abs=1e-6)
        assert outcome.is_met == (outcome.achieved <= cap + 1e-9)
        mixed = sum(text == "Pneumothorax+ Edema-" for text, _ in weighed) if name == "Edema" else 0
        if affirmed and mixed <= cap / (1 - cap) * affirmed:
            assert outcome.is_met
    assert all(weight == 1 for text, weight in weighed if "+" in text or "?" in text)
