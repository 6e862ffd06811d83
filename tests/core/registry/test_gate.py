import pytest

from trrg_core.config.settings import RegisterConfig
from trrg_core.metrics.systems import System, TruthRate
from trrg_core.registry.gate import Decision, decide

GATE_SCORE = "trrg14.micro.f1.u0"
CONFIG = RegisterConfig(min_f1_gain=0.02, max_f1_drop=0.01, min_distinct_share=0.05)


def scores(f1: float, distinct: float = 0.5) -> dict[str, float]:
    return {GATE_SCORE: f1, TruthRate.DISTINCT_SHARE: distinct}


def gate(challenger, champion=None, floors=None, config: RegisterConfig = CONFIG) -> Decision:
    floors = floors or {System.MODAL_REPORT: scores(0.30), System.NEAREST_NEIGHBOUR: scores(0.40)}
    return decide(challenger, floors=floors, champion=champion, config=config, gate_score=GATE_SCORE)


def test_a_model_above_both_floors_and_near_the_champion_is_promoted():
    decision = gate(scores(0.45), champion=scores(0.46))
    assert decision.promote
    assert decision.reasons == (
        f"pass: {GATE_SCORE} is +0.150 against modal report; needed more than +0.020",
        f"pass: {GATE_SCORE} is +0.050 against nearest neighbour; needed more than +0.020",
        f"pass: {GATE_SCORE} is -0.010 against the champion; needed at least -0.010",
        "pass: 50.0% of its reports are distinct; needed at least 5.0%",
    )


def test_the_better_floor_decides():
    decision = gate(scores(0.41))
    assert not decision.promote
    assert [reason[:4] for reason in decision.reasons] == ["pass", "fail", "pass", "pass"]
    assert "against nearest neighbour" in decision.reasons[1]


def test_a_tie_with_a_floor_does_not_beat_it():
    config = RegisterConfig(min_f1_gain=0.0)
    assert not gate(scores(0.40), config=config).promote
    assert gate(scores(0.401), config=config).promote


def test_a_tie_with_the_champion_is_no_drop():
    config = RegisterConfig(max_f1_drop=0.0)
    assert gate(scores(0.45), champion=scores(0.45), config=config).promote
    decision = gate(scores(0.449), champion=scores(0.45), config=config)
    assert not decision.promote
    assert "against the champion" in decision.reasons[2]


def test_a_model_that_writes_one_report_for_all_studies_fails():
    decision = gate(scores(0.9, distinct=0.01))
    assert not decision.promote
    assert decision.reasons[-1] == "fail: 1.0% of its reports are distinct; needed at least 5.0%"


@pytest.mark.parametrize("missing", [{}, {GATE_SCORE: float("nan"), "truth.distinct_share": 0.5}])
def test_a_missing_score_counts_against_the_challenger(missing):
    decision = gate(missing)
    assert not decision.promote
    assert decision.reasons[0] == f"fail: {GATE_SCORE} is missing for the challenger or modal report"


def test_a_floor_or_champion_that_was_not_scored_cannot_be_beaten():
    assert not gate(scores(0.9), floors={System.MODAL_REPORT: {}}).promote
    assert not gate(scores(0.9), champion={}).promote


def test_without_any_floor_there_is_no_gate():
    with pytest.raises(ValueError, match="no floor to compare with"):
        decide(scores(0.9), floors={}, champion=None, config=CONFIG, gate_score=GATE_SCORE)
