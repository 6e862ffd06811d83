from trrg_core.registry.check import Bound, Check, Verdict
from trrg_core.registry.decision import Decision
from trrg_core.registry.model_card import ModelCard, render_card

CHECKS = (
    Check(
        name="floor.nearest_neighbour",
        verdict=Verdict.FAIL,
        reason="the nearest neighbour is better",
        number=-0.01,
        low=-0.04,
        high=0.02,
        bound=Bound(relation=">", value=0.0, setting="register.min_f1_gain"),
    ),
    Check(name="text.modal_share", verdict=Verdict.PASS, reason="few are equal", number=0.1),
)


def test_the_card_shows_lineage_scores_gate_and_limits():
    card = ModelCard(
        name="trrg",
        run_id="0123abcd",
        lineage={"studies": "memory://store/studies@3", "code version": "0.1.0"},
        basis="n = 3 studies of 3 patients, section findings",
        scores=[{"score": "trrg14.micro.f1.u0", "model": "0.450 [0.400, 0.500]", "modal report": "absent: a|b"}],
        conventions={"trrg14": "our labeler"},
        decision=Decision(checks=CHECKS),
    )
    text = render_card(card)
    assert "Not for clinical use" in text
    assert "| studies | memory://store/studies@3 |" in text
    assert "| score | model | modal report |\n| --- | --- | --- |\n" in text
    assert "| trrg14.micro.f1.u0 | 0.450 [0.400, 0.500] | absent: a\\|b |" in text
    assert "n = 3 studies of 3 patients, section findings." in text
    assert "Refused." in text
    assert "- fail: the nearest neighbour is better" in text
    assert "few are equal" not in text
    assert (
        "| floor.nearest_neighbour | fail | -0.01 | -0.040 to +0.020 | > 0 (register.min_f1_gain) |\n"
        "| text.modal_share | pass | 0.1 | - | - |"
    ) in text
    assert text.count("\n## ") == 4


def test_a_card_without_a_decision_has_no_gate():
    card = ModelCard(name="trrg", run_id="0123abcd", lineage={}, basis="n = 1 study", scores=[], conventions={})
    assert "## Gate" not in render_card(card)


def test_a_person_who_promotes_is_quoted():
    decision = Decision(checks=CHECKS, override="a rehearsal")
    card = ModelCard(
        name="trrg", run_id="0", lineage={}, basis="n = 1 study", scores=[], conventions={}, decision=decision
    )
    assert "Promoted by a person.\n\nPromoted by a person, with this reason: a rehearsal" in render_card(card)
