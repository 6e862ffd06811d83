import math

import pytest

from trrg_core.clue import Clue
from trrg_core.generation.reranking import agreement, choose_draft, pool_odds, side_agreement
from trrg_core.labels import Assertion, Label, LabelSet
from trrg_core.report.parsed import Mention, ParsedReport, Sentence


def clue(observation: str, probability: float, threshold: float = 0.5) -> Clue:
    return Clue(observation=observation, probability=probability, threshold=threshold)


def states(finding: str, assertion: Assertion, side: str = "") -> Sentence:
    mention = Mention(finding=finding, start=0, end=4, assertion=assertion, rule="test", laterality=side)
    return Sentence(text="Something.", start=0, end=10, section="findings", mentions=(mention,))


P, N, U = Label.POSITIVE, Label.NEGATIVE, Label.UNCERTAIN
CLUES = (clue("Edema", 0.8), clue("Fracture", 0.1))
ODDS = {"Edema": math.log(4), "Fracture": -math.log(9)}
LABEL_SET = LabelSet(
    name="two", observations=("Edema", "Fracture"), findings={"Edema": ("edema",), "Fracture": ("fracture",)}
)
ONLY_CLUES = {"clues": CLUES, "has_prior": None, "label_set": LABEL_SET, "writer_share": 0.0}


def labels(edema: Label | None = None, fracture: Label | None = None) -> dict[str, Label | None]:
    return {"Edema": edema, "Fracture": fracture}


def draft(edema: Label | None = None, fracture: Label | None = None, *sentences: Sentence) -> ParsedReport:
    return ParsedReport(sections=(), sentences=sentences, labels=labels(edema, fracture), parser_id="test")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (labels(P, N), math.log(0.8) + math.log(0.9)),
        (labels(P), math.log(0.8) + math.log(0.9)),  # passing over is as absent
        (labels(N, P), math.log(0.2) + math.log(0.1)),
        (labels(U), (math.log(0.8) + math.log(0.2)) / 2 + math.log(0.9)),
        ({**labels(P), "Cardiomegaly": P}, math.log(0.8) + math.log(0.9)),  # nothing believed, nothing counted
    ],
)
def test_agreement_is_the_likelihood_of_what_is_said_under_the_beliefs(said, expected):
    assert agreement(said, ODDS) == pytest.approx(expected)


def test_perception_alone_is_believed_as_far_as_its_clues_pass_their_thresholds():
    odds = pool_odds([labels()], CLUES, writer_share=0.0)
    assert odds == pytest.approx(ODDS)
    at_threshold = pool_odds([labels()], [clue("Fracture", 0.2, threshold=0.2)], writer_share=0.0)
    assert at_threshold["Fracture"] == pytest.approx(0.0)
    shown = pool_odds([labels()], [clue("Fracture", 0.3, threshold=0.2)], writer_share=0.0)
    assert shown["Fracture"] == pytest.approx(math.log((0.3 / 0.7) / (0.2 / 0.8)))


def test_one_sure_clue_does_not_outweigh_all_others():
    for sure in (0.999, 1.0):
        assert pool_odds([labels()], [clue("Edema", sure)], writer_share=0.0)["Edema"] == 5.0


def test_the_writer_is_believed_by_the_share_of_drafts_that_state_a_finding():
    drafted = [labels(P), labels(P), labels(U), labels(N, P)]
    alone = pool_odds(drafted, CLUES, writer_share=1.0)
    assert alone == pytest.approx({"Edema": math.log(3.0 / 2.0), "Fracture": math.log(1.5 / 3.5)})
    both = pool_odds(drafted, CLUES, writer_share=0.25)
    assert both == pytest.approx({name: 0.25 * alone[name] + 0.75 * ODDS[name] for name in ODDS})


def test_of_an_observation_without_a_clue_the_writer_alone_is_heard():
    odds = pool_odds([labels(P, P), labels(P)], CLUES[1:], writer_share=0.25)
    assert odds["Edema"] == pytest.approx(math.log(2.5 / 0.5))
    assert odds["Fracture"] == pytest.approx(0.75 * ODDS["Fracture"])


def test_the_draft_that_says_what_is_shown_wins_over_a_likelier_one():
    choice = choose_draft([draft(), draft(P)], [-0.1, -0.4], **ONLY_CLUES, likelihood_weight=3.0)
    assert choice.index == 1
    assert choice.score == choice.scores[1] == pytest.approx(math.log(0.8) + math.log(0.9) - 1.2)
    assert choice.odds == pytest.approx(ODDS)


def test_the_better_told_of_equal_drafts_wins_and_the_first_of_ties():
    same = [draft(P), draft(P), draft(P)]
    assert choose_draft(same, [-0.5, -0.2, -0.4], **ONLY_CLUES, likelihood_weight=1.0).index == 1
    assert choose_draft(same, [-0.5, -0.2, -0.4], **ONLY_CLUES, likelihood_weight=0.0).index == 0


def test_without_clues_the_draft_that_most_others_share_wins():
    drafts = [draft(P), draft(N), draft(N), draft(N, P)]
    choice = choose_draft(
        drafts, [-0.1, -0.9, -0.8, -0.2], **{**ONLY_CLUES, "clues": (), "writer_share": 0.3}, likelihood_weight=1.0
    )
    assert choice.index == 2


def test_the_order_of_drafts_does_not_matter():
    drafts, costs = [draft(P), draft(N, P), draft()], [-0.3, -0.2, -0.1]
    straight, turned = (
        choose_draft(
            some, means, clues=CLUES, has_prior=None, label_set=LABEL_SET, writer_share=0.5, likelihood_weight=1.0
        )
        for some, means in ((drafts, costs), (drafts[::-1], costs[::-1]))
    )
    assert turned.scores == pytest.approx(straight.scores[::-1])
    assert (straight.index, turned.index) == (0, 2)


def test_a_draft_that_contradicts_itself_gives_way():
    affirms, denies = states("edema", Assertion.PRESENT), states("edema", Assertion.ABSENT)
    drafts = [draft(P, None, affirms, denies), draft(P, None, affirms)]
    choice = choose_draft(drafts, [-0.1, -0.9], **ONLY_CLUES, likelihood_weight=1.0)
    assert choice.index == 1
    assert choice.scores[0] + 3.0 - choice.scores[1] == pytest.approx(0.8)


@pytest.mark.parametrize(("has_prior", "kept"), [(False, 1), (True, 0), (None, 0)])
def test_a_draft_that_compares_with_no_prior_gives_way(has_prior, kept):
    compares, describes = (
        Sentence(text=text, start=0, end=len(text), section="findings")
        for text in ("Edema is unchanged.", "There is edema.")
    )
    drafts = [draft(P, None, compares), draft(P, None, describes)]
    settings = {**ONLY_CLUES, "has_prior": has_prior, "likelihood_weight": 1.0}
    assert choose_draft(drafts, [-0.1, -0.9], **settings).index == kept


def test_no_drafts_are_no_choice():
    with pytest.raises(ValueError, match="log probability for each draft: 0, 0"):
        choose_draft([], [], **ONLY_CLUES, likelihood_weight=1.0)
    with pytest.raises(ValueError, match="2, 1"):
        choose_draft([draft(), draft()], [-0.1], **ONLY_CLUES, likelihood_weight=1.0)


ON_THE_LEFT = Clue(observation="Fracture", probability=0.8, threshold=0.5, left=0.72, right=0.08)


@pytest.mark.parametrize(
    ("sentences", "expected"),
    [
        ([states("fracture", Assertion.PRESENT, "left")], 2 * math.log(2 * 0.9)),
        ([states("fracture", Assertion.PRESENT, "right")], 2 * math.log(2 * 0.1)),
        ([states("fracture", Assertion.PRESENT, "bilateral")], math.log(1.8) + math.log(0.2)),
        ([states("fracture", Assertion.PRESENT)], 0.0),
        ([states("fracture", Assertion.ABSENT, "right")], 0.0),
        ([states("edema", Assertion.PRESENT, "right")], 0.0),  # its clue has no side
        ([states("fracture", Assertion.PRESENT, side) for side in ("left", "right")], math.log(1.8) + math.log(0.2)),
    ],
)
def test_a_stated_side_is_compared_with_that_of_the_clue(sentences, expected):
    found = side_agreement(sentences, [ON_THE_LEFT, clue("Edema", 0.9)], LABEL_SET)
    assert found == pytest.approx(expected)


def test_of_two_drafts_that_differ_in_side_the_clues_choose():
    drafts = [draft(None, P, states("fracture", Assertion.PRESENT, side)) for side in ("right", "left")]
    settings = {**ONLY_CLUES, "clues": (ON_THE_LEFT,), "likelihood_weight": 1.0}
    assert choose_draft(drafts, [-0.1, -0.9], **settings).index == 1


def test_a_wrong_side_costs_no_more_than_two_wrong_statements():
    sure = Clue(observation="Fracture", probability=1.0, threshold=0.5, left=1.0, right=0.0)
    wrong = [states("fracture", Assertion.PRESENT, "right")]
    assert side_agreement(wrong, [sure], LABEL_SET) == -10.0
