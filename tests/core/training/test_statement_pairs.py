from tests.core.toy_corpus import OBSERVATIONS, toy_row, toy_rows
from trrg_core.labels import SIDE_LEFT, SIDE_RIGHT, STATED_ABSENT, STATED_PRESENT, ZONE_LOWER, ZONE_UPPER
from trrg_core.report.facts import FactCodes
from trrg_core.report.flipping.kinds import FlipKind
from trrg_core.training.prompts import load_prompts
from trrg_core.training.statement_pairs import PairMaker, StatementPair

PROMPTS = load_prompts(OBSERVATIONS)
EFFUSION = FactCodes((STATED_PRESENT, STATED_ABSENT, STATED_ABSENT), (SIDE_LEFT, 0, 0), (1, 0, 0), (0, 0, 0))


def pairs_of(row: dict, stated: FactCodes = EFFUSION, rows: list[dict] | None = None) -> list[StatementPair]:
    return PairMaker(rows or toy_rows(8), prompts=PROMPTS, observations=OBSERVATIONS).pairs(row, stated)


def test_every_flip_of_a_true_sentence_is_a_pair():
    flips = [pair for pair in pairs_of(toy_row(1, "e")) if pair.source == "flip"]
    effusion = [pair for pair in flips if pair.assertion == STATED_PRESENT]
    assert [pair.kind for pair in effusion] == [FlipKind.POLARITY, FlipKind.SIDE, FlipKind.SEVERITY]
    assert {pair.true_text for pair in effusion} == {"There is a small left pleural effusion."}
    assert effusion[1].false_text == "There is a small right pleural effusion."


def test_a_sentence_of_another_report_states_the_opposite_and_nothing_else_that_is_false():
    natural = {pair.observation: pair for pair in pairs_of(toy_row(1, "e")) if pair.source == "report"}
    assert natural["Pleural Effusion"].false_text == "No pleural effusion."
    assert natural["Pneumothorax"].false_text == "A right apical pneumothorax is seen."
    assert all(pair.kind is FlipKind.POLARITY for pair in natural.values())


def test_no_sentence_of_the_study_itself_nor_one_that_is_false_elsewhere_is_taken():
    row = toy_row(1, "e")
    joint = {
        "text": "No effusion or cardiomegaly.",
        "facts": [{"observation": name, "assertion": "ABSENT"} for name in ("Pleural Effusion", "Cardiomegaly")],
    }
    other = {"study_id": "other", "sentences": [joint]}
    with_heart = EFFUSION._replace(assertions=(STATED_PRESENT, STATED_ABSENT, STATED_PRESENT))

    def natural(stated: FactCodes, rows: list[dict]) -> list[str]:
        return [pair.false_text for pair in pairs_of(row, stated, rows) if pair.source == "report"]

    assert natural(EFFUSION, [row, other]) == [joint["text"]]
    assert natural(with_heart, [row, other]) == []
    assert natural(EFFUSION, [row]) == []


def test_a_sentence_of_another_report_places_the_finding_in_the_other_zone():
    def row(name: str, text: str, anatomy: str, side: str = "right") -> dict:
        fact = {"observation": "Pneumothorax", "assertion": "PRESENT", "laterality": side, "anatomy": anatomy}
        return {"study_id": name, "sentences": [{"text": text, "facts": [fact]}]}

    own = row("own", "A right apical pneumothorax.", "lung apex")
    others = [
        row("same zone", "A right upper pneumothorax.", "right upper lobe"),
        row("other side", "A left basal pneumothorax.", "lung base", "left"),
        row("between", "A right pneumothorax in the middle.", "mid lung"),
    ]
    stated = FactCodes((0, STATED_PRESENT, 0), (0, SIDE_RIGHT, 0), (0, 0, 0), (0, ZONE_UPPER, 0))
    assert pairs_of(own, stated, [own, *others]) == []
    lower = row("lower", "A right basal pneumothorax.", "lung base")
    (pair,) = pairs_of(own, stated, [own, *others, lower])
    assert (pair.kind, pair.source, pair.false_text) == ("zone", "report", "A right basal pneumothorax.")
    assert pairs_of(own, stated._replace(zones=(0, ZONE_UPPER | ZONE_LOWER, 0)), [own, lower]) == []


def test_pairs_do_not_change_from_one_time_to_the_next():
    assert pairs_of(toy_row(1, "e")) == pairs_of(toy_row(1, "e"))


def test_a_sentence_that_the_labels_contradict_makes_no_pair():
    denied = FactCodes((STATED_ABSENT, STATED_ABSENT, STATED_ABSENT), (0, 0, 0), (0, 0, 0), (0, 0, 0))
    assert not [pair for pair in pairs_of(toy_row(1, "e"), denied) if pair.assertion == STATED_PRESENT]
