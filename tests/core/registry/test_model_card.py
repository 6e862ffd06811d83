from trrg_core.registry.gate import Decision
from trrg_core.registry.model_card import ModelCard, render_card

REASON = "fail: trrg14.micro.f1.u0 is +0.010 against nearest neighbour; needed more than +0.020"


def test_the_card_shows_lineage_scores_gate_and_limits():
    card = ModelCard(
        name="trrg",
        run_id="0123abcd",
        lineage={"studies": "memory://store/studies@3", "code version": "0.1.0"},
        basis="n = 3 studies of 3 patients, section findings",
        scores=[{"score": "trrg14.micro.f1.u0", "model": "0.450 [0.400, 0.500]", "modal report": "absent: a|b"}],
        conventions={"trrg14": "our labeler"},
        decision=Decision(promote=False, reasons=(REASON,)),
    )
    text = render_card(card)
    assert "Not for clinical use" in text
    assert "| studies | memory://store/studies@3 |" in text
    assert "| score | model | modal report |\n| --- | --- | --- |\n" in text
    assert "| trrg14.micro.f1.u0 | 0.450 [0.400, 0.500] | absent: a\\|b |" in text
    assert "n = 3 studies of 3 patients, section findings." in text
    assert "Not promoted." in text
    assert f"- {REASON}" in text
    assert text.count("\n## ") == 4


def test_a_card_without_a_decision_has_no_gate():
    card = ModelCard(name="trrg", run_id="0123abcd", lineage={}, basis="n = 1 study", scores=[], conventions={})
    assert "## Gate" not in render_card(card)
