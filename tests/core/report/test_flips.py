"""Flips of a sentence: what each kind turns round, what it leaves alone, and that every flip parses back."""

import pickle
import re
from collections import Counter
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trrg_core.labels import Assertion
from trrg_core.report.flipping.kinds import FlipKind
from trrg_core.report.flips import Flip, SentenceFlipper
from trrg_core.report.parsed import Mention, Sentence
from trrg_core.report.parser import ReportParser
from trrg_core.sources.sample import generate_studies

PARSER = ReportParser()
FLIPPER = SentenceFlipper(PARSER)


def sentence_of(text: str) -> Sentence:
    (sentence,) = PARSER.parse(text).sentences
    return sentence


def flips_of(text: str, kind: FlipKind) -> list[str]:
    return [flip.text for flip in FLIPPER.flips(sentence_of(text)) if flip.kind is kind]


def facts_of(mentions: tuple[Mention, ...]) -> list[tuple[str, str, str, str]]:
    current = [one for one in mentions if one.is_current]
    return [(one.finding, one.assertion, one.laterality, one.severity) for one in current]


@cache
def invented_sentences() -> tuple[Sentence, ...]:
    reports = PARSER.parse_many(study.report.text for study in generate_studies(60, seed=3))
    return tuple(sentence for report in reports for sentence in report.sentences)


@pytest.mark.parametrize(
    ("text", "flip"),
    [
        ("There is a small left pleural effusion.", "There is no left pleural effusion."),
        ("Small left effusion.", "No left effusion."),
        ("The heart is enlarged.", "The heart is not enlarged."),
        ("The heart remains mildly enlarged.", "The heart is normal in size."),
        ("Left lower lobe consolidation is seen.", "No left lower lobe consolidation is seen."),
        ("A moderate effusion is seen on the left.", "No effusion is seen on the left."),
        ("Findings consistent with mild pulmonary edema.", "Findings not consistent with pulmonary edema."),
        ("No evidence of pneumonia.", "Evidence of pneumonia."),
        ("No pneumothorax is seen.", "A pneumothorax is seen."),
        ("Heart size is normal.", "Heart size is enlarged."),
        ("The costophrenic angles are sharp.", "The costophrenic angles are blunted."),
        ("The pneumothorax has resolved.", "The pneumothorax persists."),
        ("The left effusion is no longer seen.", "The left effusion is still seen."),
        ("The lungs are clear without focal consolidation.", "The lungs show a focal consolidation."),
        ("Negative for pneumothorax.", "Positive for pneumothorax."),
        ("Again seen is a 5.6 cm mass in the left lung.", "No mass in the left lung is seen."),
        ("No significant change in severe pulmonary edema.", "No pulmonary edema."),
        ("Interval placement of a left PICC line.", "No left PICC line."),
        (
            "In the left lower lobe a patchy infiltrate is seen.",
            "In the left lower lobe, no patchy infiltrate is seen.",
        ),
        ("Moderate left effusion and small right effusion.", "No effusion."),
        ("Stable, mild scoliosis of the spine.", "No scoliosis of the spine."),
    ],
)
def test_polarity_is_turned_in_the_style_of_the_sentence(text: str, flip: str) -> None:
    assert flips_of(text, FlipKind.POLARITY) == [flip]


def test_one_finding_of_a_joint_denial_is_affirmed() -> None:
    assert flips_of("There is no pleural effusion or pneumothorax.", FlipKind.POLARITY) == [
        "There is a pleural effusion but no pneumothorax.",
        "There is a pneumothorax but no pleural effusion.",
    ]


@pytest.mark.parametrize(
    ("text", "flips"),
    [
        (
            "Small left effusion with adjacent atelectasis.",
            ["Atelectasis without left effusion.", "Small left effusion without atelectasis."],
        ),
        (
            "There is severe cardiomegaly and mild pulmonary edema.",
            [
                "There is mild pulmonary edema but no cardiomegaly.",
                "There is severe cardiomegaly but no pulmonary edema.",
            ],
        ),
        (
            "Stable cardiomegaly without heart failure.",
            ["No cardiomegaly or heart failure.", "Stable cardiomegaly with heart failure."],
        ),
        (
            "The mediastinal and hilar contours are normal.",
            [
                "The mediastinum is widened, but the hilar contours are normal.",
                "The hila are enlarged, but the mediastinal contours are normal.",
            ],
        ),
        (
            "Neither effusion nor pneumothorax is seen.",
            ["An effusion is seen but no pneumothorax.", "A pneumothorax is seen but no effusion."],
        ),
        ("The aorta is calcified and tortuous.", ["The aorta is calcified but not tortuous."]),
        ("Patchy opacity in the left lung, possibly pneumonia.", []),
    ],
)
def test_the_other_facts_of_a_sentence_stay_as_they_are(text: str, flips: list[str]) -> None:
    assert flips_of(text, FlipKind.POLARITY) == flips


@pytest.mark.parametrize(
    ("text", "flip"),
    [
        ("Small left effusion at the left base.", "Small right effusion at the right base."),
        ("Left-sided pneumothorax.", "Right-sided pneumothorax."),
        ("LLL consolidation.", "RLL consolidation."),
        ("Right middle lobe consolidation.", "Left mid lung consolidation."),
        ("Left lingular opacity.", "Right middle lobe opacity."),
        ("SCARRING IN THE LINGULA.", "SCARRING IN THE RIGHT MIDDLE LOBE."),
        ("Calcified granuloma, right lung base.", "Calcified granuloma, left lung base."),
        (
            "Scattered atelectasis, most notably in the right base.",
            "Scattered atelectasis, most notably in the left base.",
        ),
        (
            "Left lower lung opacity could reflect pneumonia in the right clinical setting.",
            "Right lower lung opacity could reflect pneumonia in the right clinical setting.",
        ),
        ("Left effusion with a right PICC.", "Right effusion with a right PICC."),
    ],
)
def test_all_side_words_of_a_mention_are_exchanged(text: str, flip: str) -> None:
    assert flips_of(text, FlipKind.SIDE) == [flip]


@pytest.mark.parametrize(
    "text",
    [
        "Left pleural effusion and right pleural effusion.",
        "Left and right upper lobe bullous disease.",
        "Bilateral pleural effusions.",
        "Left PICC tip in the SVC.",
        "No left pleural effusion.",
        "Opacity in the lingular segment of the left upper lobe.",
        "Left retrocardiac opacity.",
        "Elevated right hemidiaphragm, containing liver.",
    ],
)
def test_a_side_without_a_counterpart_is_left_alone(text: str) -> None:
    assert flips_of(text, FlipKind.SIDE) == []


@pytest.mark.parametrize(
    ("text", "flip"),
    [
        ("A small right effusion.", "A large right effusion."),
        ("An extensive consolidation.", "A minimal consolidation."),
        ("The heart is mildly enlarged.", "The heart is markedly enlarged."),
        ("Severe pulmonary edema.", "Mild pulmonary edema."),
        ("Small to moderate sized effusion.", "Large sized effusion."),
        ("Borderline enlarged heart.", "Markedly enlarged heart."),
    ],
)
def test_a_degree_is_turned_to_the_far_end(text: str, flip: str) -> None:
    assert flips_of(text, FlipKind.SEVERITY) == [flip]


def test_words_of_change_are_no_degree() -> None:
    assert flips_of("The effusion is slightly smaller.", FlipKind.SEVERITY) == []


def test_uncertain_and_historical_facts_are_not_turned() -> None:
    assert FLIPPER.flips(sentence_of("Possible left lower lobe pneumonia.")) == ()
    assert FLIPPER.flips(sentence_of("History of pneumonia.")) == ()


def test_every_flip_of_the_invented_corpus_parses_to_one_changed_fact() -> None:
    kinds: Counter[FlipKind] = Counter()
    for sentence in invented_sentences():
        before = facts_of(sentence.mentions)
        for flip in FLIPPER.flips(sentence):
            assert flip.text != " ".join(sentence.text.split())
            _check(flip, before, facts_of(PARSER.mentions_of(flip.text)))
            kinds[flip.kind] += 1
    assert min(kinds[kind] for kind in FlipKind) > 20


def _check(flip: Flip, before: list[tuple[str, str, str, str]], after: list[tuple[str, str, str, str]]) -> None:
    rest = Counter(fact for fact in before if fact[0] != flip.finding)
    if flip.kind is FlipKind.POLARITY:
        assert rest == Counter(fact for fact in after if fact[0] != flip.finding)
        assertions = {fact[1] for fact in after if fact[0] == flip.finding}
        old = next(fact[1] for fact in before if fact[0] == flip.finding)
        assert assertions == {Assertion.ABSENT if old == Assertion.PRESENT else Assertion.PRESENT}
        return
    index = 2 if flip.kind is FlipKind.SIDE else 3
    assert [fact[:2] for fact in before] == [fact[:2] for fact in after]
    assert [fact[5 - index] for fact in before] == [fact[5 - index] for fact in after]
    changed = [old[0] for old, new in zip(before, after, strict=True) if old != new]
    assert flip.finding in changed


def test_a_side_flip_of_a_side_flip_states_the_same_facts() -> None:
    for sentence in invented_sentences():
        for flip in FLIPPER.flips(sentence):
            if flip.kind is FlipKind.SIDE:
                back = [one for one in FLIPPER.flips(sentence_of(flip.text)) if one.kind is FlipKind.SIDE]
                facts = [facts_of(PARSER.mentions_of(one.text)) for one in back]
                assert facts_of(sentence.mentions) in facts


def test_line_breaks_and_the_place_in_the_report_do_not_matter() -> None:
    report = PARSER.parse("FINDINGS: Heart size is normal. There is a small\n left   pleural effusion.\n")
    assert [flip.text for sentence in report.sentences for flip in FLIPPER.flips(sentence)] == [
        "Heart size is enlarged.",
        "There is no left pleural effusion.",
        "There is a small right pleural effusion.",
        "There is a large left pleural effusion.",
    ]


def test_sentences_without_facts_or_too_long_have_no_flips() -> None:
    text = "Small left effusion " + "and large right effusion " * 400
    assert FLIPPER.flips(sentence_of(text)) == ()
    assert FLIPPER.flips(Sentence(text="", start=0, end=0, section="findings")) == ()
    assert FLIPPER.flips(sentence_of("Comparison is made to the film of yesterday.")) == ()


WORDS = """no not without and or , but with neither nor left right small large effusion pneumothorax heart is enlarged
normal there a of the seen consistent may ; / unchanged LLL Bilateral edema costophrenic angle blunted has resolved"""
words = st.sampled_from(WORDS.split())


@settings(max_examples=150, deadline=None)
@given(st.lists(words, min_size=1, max_size=14).map(" ".join))
def test_any_order_of_words_is_accepted_and_each_flip_differs(text: str) -> None:
    for sentence in PARSER.parse(text).sentences:
        flips = FLIPPER.flips(sentence)
        assert flips == SentenceFlipper(PARSER).flips(sentence)
        assert len({flip.text for flip in flips} | {sentence.text}) == len(flips) + 1


def test_the_id_names_the_word_lists() -> None:
    assert re.fullmatch(r"trrg-flips-\d+-[0-9a-f]{12}", FLIPPER.flips_id)


def test_a_flipper_is_pickled_with_its_parser() -> None:
    copy = pickle.loads(pickle.dumps(FLIPPER))
    sentence = sentence_of("Small left effusion.")
    assert copy.flips(sentence) == FLIPPER.flips(sentence)
