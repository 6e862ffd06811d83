"""The parser as a whole: labels, offsets, independence of sentences, odd text, and time."""

import pickle
import time
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trrg_core.errors import ConfigError
from trrg_core.labels import Assertion, Label
from trrg_core.report.parser import ReportParser

PARSER = ReportParser()
PRESENT = ["small left pleural effusion", "right lower lobe consolidation", "mild pulmonary edema", "cardiomegaly"]
SENTENCES = [
    "No pleural effusion or pneumothorax.",
    "Heart size is normal.",
    "Possible left lower lobe pneumonia.",
    "There is a small right pneumothorax.",
    "Lungs are clear.",
    "The edema has resolved.",
    "Rule out fracture.",
]
sentences = st.sampled_from(SENTENCES)
reports = st.lists(sentences, min_size=1, max_size=6).map(" ".join)


def mentions(text: str) -> list[tuple[str, Assertion]]:
    return [(one.finding, one.assertion) for part in PARSER.parse(text).sentences for one in part.mentions]


def set_labels(text: str) -> dict[str, Label]:
    return {name: label for name, label in PARSER.parse(text).labels.items() if label is not None}


def test_an_empty_report_says_nothing() -> None:
    parsed = PARSER.parse("")
    assert parsed.sections == parsed.sentences == ()
    assert set(parsed.labels.values()) == {None}


@pytest.mark.parametrize(
    ("text", "unread"), [("INDICATION: Cough.", True), ("FINDINGS: Clear.", False), ("Clear.", False), ("", False)]
)
def test_a_report_of_which_nothing_is_read_says_so(text: str, unread: bool) -> None:
    parsed = PARSER.parse(text)
    assert parsed.unread is unread
    assert (set(parsed.labels.values()) == {None}) is (unread or not text)


def test_one_positive_sentence_outweighs_the_others() -> None:
    text = "No effusion. Possible effusion. Small left effusion."
    assert set_labels(text) == {"Pleural Effusion": Label.POSITIVE}
    assert set_labels("No effusion. Possible effusion.")["Pleural Effusion"] == Label.UNCERTAIN


def test_the_indication_makes_no_label() -> None:
    text = "INDICATION: Pneumonia, effusion.\nFINDINGS: No effusion.\n"
    assert set_labels(text) == {"Pleural Effusion": Label.NEGATIVE, "No Finding": Label.POSITIVE}


def test_history_makes_no_label() -> None:
    assert set_labels("History of pneumonia. Mother with lung cancer.") == {"No Finding": Label.POSITIVE}


def test_a_hernia_is_not_no_finding_and_a_device_is() -> None:
    assert set_labels("Small hiatal hernia.") == {}
    assert set_labels("PICC tip in the SVC.") == {"Support Devices": Label.POSITIVE, "No Finding": Label.POSITIVE}


def test_a_child_does_not_set_its_parent() -> None:
    assert set_labels("Right lower lobe consolidation.") == {"Consolidation": Label.POSITIVE}


def test_attributes_are_read_with_the_mention() -> None:
    text = "Small left pleural effusion. A 1.5 cm nodule in the right upper lobe is unchanged."
    effusion, nodule = (one for part in PARSER.parse(text).sentences for one in part.mentions)
    assert (effusion.laterality, effusion.severity, effusion.change) == ("left", "small", "")
    assert (nodule.laterality, nodule.anatomy, nodule.size) == ("right", "right upper lobe", "1.5 cm")


@pytest.mark.parametrize(
    ("text", "change", "severity"),
    [
        ("The effusion is slightly smaller.", "improved", ""),
        ("Slight decrease in the small right effusion.", "improved", "small"),
        ("Edema is not worse.", "stable", ""),
        ("No worsening of edema.", "stable", ""),
        ("The pneumothorax has not increased in size.", "stable", ""),
        ("No significant interval change in bilateral effusions.", "stable", ""),
        ("The opacity is more likely atelectasis.", "", ""),
        ("The effusion is more conspicuous.", "worse", ""),
        ("Interval clearing of the consolidation.", "resolved", ""),
        ("Severe edema has markedly worsened.", "worse", "severe"),
        ("The pneumothorax is no larger than before.", "stable", ""),
        ("The pneumothorax has not resolved.", "stable", ""),
        ("Edema has almost completely resolved.", "improved", ""),
    ],
)
def test_change_is_told_apart_from_severity_and_denied_change_is_none(text: str, change: str, severity: str) -> None:
    mention = PARSER.parse(text).sentences[0].mentions[0]
    assert (mention.change, mention.severity) == (change, severity)


def test_every_mention_names_its_rule_and_cue() -> None:
    (mention,) = PARSER.parse("No evidence of pneumonia.").sentences[0].mentions
    assert (mention.rule, mention.cue) == ("absent.no", "no evidence of")


def test_a_line_break_within_a_phrase_is_a_space() -> None:
    text = "There is no pleural\n effusion or pulmonary \n edema."
    assert mentions(text) == [("pleural_effusion", Assertion.ABSENT), ("edema", Assertion.ABSENT)]
    spans = [text[one.start : one.end] for one in PARSER.parse(text).sentences[0].mentions]
    assert spans == ["pleural\n effusion", "pulmonary \n edema"]


def test_a_parser_pickles_by_its_arguments() -> None:
    copy = pickle.loads(pickle.dumps(ReportParser("nih14")))
    assert copy.parser_id == ReportParser("nih14").parser_id != PARSER.parser_id


def test_an_unknown_label_set_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="chexpert14"):
        ReportParser("chexpert15")


def test_label_sets_name_findings_of_the_lexicon() -> None:
    for name in ("chexpert14", "nih14", "cxr-lt", "padchest", "vindr"):
        parser = ReportParser(name)
        known = set(parser.findings) | {"support_device"}
        assert {one for ids in parser.label_set.findings.values() for one in ids} <= known
        assert set(parser.label_set.abnormal) <= known


def test_the_lexicon_holds_enough_findings() -> None:
    assert len(PARSER.findings) >= 60


@pytest.mark.parametrize(
    "text", ["\0\0\u0130", "\ufeffNo effusion.", "No\r\neffusion.\r\n", "<b>No</b> <i>effusion</i>", "\u0130"]
)
def test_odd_characters_are_taken_as_they_come(text: str) -> None:
    expected = [("pleural_effusion", Assertion.ABSENT)] if "effusion" in text else []
    assert mentions(text) == expected


def test_stacked_accents_do_not_move_offsets() -> None:
    text = "Z\u0351\u036b\u0343a\u0328lgo \u0130\u0130. Small effusion."
    parsed = PARSER.parse(text)
    (mention,) = parsed.sentences[-1].mentions
    assert text[mention.start : mention.end] == "effusion"


def cpu_seconds(text: str) -> float:
    began = time.process_time()
    PARSER.parse(text)
    return time.process_time() - began


@pytest.fixture(scope="module")
def reports_seconds() -> float:
    """CPU-seconds for a megabyte of ordinary sentences, so that no machine is too slow for a bound."""
    report = " ".join(SENTENCES) + "\n"
    return min(cpu_seconds(report * (1_000_000 // len(report))) for _ in range(2))


@pytest.mark.parametrize(
    "piece",
    [
        "no ",
        "heart and ",
        "is likely ",
        "without, ",
        "tip of the ",
        "? ",
        "a.",
        "\n",
        " \n \n",
        "___",
        "1. ",
        "(",
        "FINDINGS: ",
    ],
)
def test_a_megabyte_of_one_thing_takes_about_as_long_as_one_of_reports(piece: str, reports_seconds: float) -> None:
    text = piece * (1_000_000 // len(piece))
    assert min(cpu_seconds(text) for _ in range(2)) < 10 * reports_seconds  # 3.5 at most when measured


@pytest.mark.parametrize(
    "piece",
    [
        *("effusion ", "no effusion, ", "normal heart ", "versus effusion ", "1.5 cm effusion "),
        *("pleural effusion (PE) ", "effusion: none ", "left and small right effusion, ", "no change in effusion and "),
        *("effusion is unchanged and ", "(small effusion) ", "ETT too high and ", "tubes (ETT "),
        "the tube is kinked; ",
    ],
)
def test_work_grows_no_faster_than_the_number_of_mentions(piece: str) -> None:
    taken = [min(cpu_seconds(piece * (length // len(piece))) for _ in range(3)) for length in (20_000, 160_000)]
    assert taken[1] < 30 * taken[0]  # eight times the text; quadratic work would take 64 times as long


def test_a_megabyte_that_defines_its_abbreviation_again_and_again_is_read_in_seconds() -> None:
    piece = "pleural effusion (PE) "
    assert cpu_seconds(piece * (1_000_000 // len(piece))) < 15  # 3 on a quiet core; minutes if the work were quadratic


@given(st.text(max_size=300))
@settings(max_examples=200, deadline=None)
def test_offsets_point_at_the_text(text: str) -> None:
    for sentence in PARSER.parse(text).sentences:
        assert text[sentence.start : sentence.end] == sentence.text
        for mention in sentence.mentions:
            assert sentence.start <= mention.start < mention.end <= sentence.end


@given(reports)
@settings(max_examples=60, deadline=None)
def test_parsing_again_gives_the_same(text: str) -> None:
    assert PARSER.parse(text) == ReportParser().parse(text)


@given(st.lists(sentences, min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_a_sentence_is_read_without_its_neighbours(parts: list[str]) -> None:
    assert mentions(" ".join(parts)) == [one for part in parts for one in mentions(part)]


@given(st.lists(sentences, min_size=2, max_size=5), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_order_of_sentences_does_not_change_labels(parts: list[str], random: Random) -> None:
    shuffled = list(parts)
    random.shuffle(shuffled)
    assert PARSER.parse(" ".join(parts)).labels == PARSER.parse(" ".join(shuffled)).labels


@given(st.lists(st.sampled_from(PRESENT), min_size=1, max_size=4, unique=True))
@settings(max_examples=40, deadline=None)
def test_negating_a_sentence_flips_exactly_its_mentions(phrases: list[str]) -> None:
    said = ", ".join(phrases)
    affirmed, denied = mentions(f"There is {said}."), mentions(f"There is no {' or '.join(phrases)}.")
    assert [finding for finding, _ in affirmed] == [finding for finding, _ in denied]
    assert {assertion for _, assertion in affirmed} == {Assertion.PRESENT}
    assert {assertion for _, assertion in denied} == {Assertion.ABSENT}


@pytest.mark.parametrize("template", ["Small {} effusion.", "There is {} basilar atelectasis.", "{} lower lobe mass."])
def test_swapping_the_side_swaps_the_laterality_only(template: str) -> None:
    sides = {}
    for side in ("left", "right"):
        (mention,) = PARSER.parse(template.format(side)).sentences[0].mentions
        assert mention.laterality == side
        sides[side] = (mention.finding, mention.assertion, mention.severity)
    assert sides["left"] == sides["right"]


@pytest.mark.parametrize(
    "text",
    [
        "A left pneumothorax is present. Both lungs are clear.",
        "Left rib fractures. Both lungs\n are clear.",
        "Small right effusion. Both hila are slightly enlarged.",
        "Small right effusion. This film is unchanged in quality.",
        "Small right effusion. These views were taken on the left side.",
    ],
)
def test_a_word_before_a_noun_does_not_stand_for_the_finding_before(text: str) -> None:
    before, behind = PARSER.parse(text).sentences
    assert [mention.finding for mention in before.mentions] != []
    assert [mention.finding for mention in behind.mentions if mention.finding == before.mentions[0].finding] == []


def test_two_processes_give_the_same_parses_in_order() -> None:
    texts = [f"{SENTENCES[number % len(SENTENCES)]} Study {number}." for number in range(300)]
    assert list(PARSER.parse_many(texts, workers=2)) == list(map(PARSER.parse, texts))
    with pytest.raises(ValueError, match="workers is 0, expected 1 or more"):
        PARSER.parse_many(texts, workers=0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Heart:\n- mildly enlarged\n- no effusion", "+cardiomegaly mild, -pleural_effusion"),
        ("Cardiac silhouette:\n1. Enlarged.\n2. Calcified aorta.", "+cardiomegaly, +aortic_calcification"),
        ("Pneumothorax:\n- large, right", "+pneumothorax right large"),
        ("Pleural effusion:\n* none", "-pleural_effusion"),
        ("Lungs:\n- clear\n- consolidation on the left", "+consolidation left"),
        (
            "Right:\n- small effusion\n- atelectasis\nLeft:\n- No effusion.",
            SIDED := "+pleural_effusion right small, +atelectasis right, -pleural_effusion left",
        ),
        ("right lung:\n1. small effusion\n2. atelectasis\nleft lung:\n1. no effusion", SIDED),
        ("No evidence of the following:\n- effusion\n- edema\nA nodule.", "-pleural_effusion, -edema, +nodule"),
        ("Negative for:\n* effusion\n* edema\n\n* nodule", "-pleural_effusion, -edema, +nodule"),
        ("There is no\n- effusion\n- edema", "-pleural_effusion, -edema"),
        ("The following are absent:\n- effusion\n- edema", "-pleural_effusion, -edema"),
        ("No evidence of any of the following: effusion, edema.", "-pleural_effusion, -edema"),
        ("The following are seen:\n- effusion\n- edema", "+pleural_effusion, +edema"),
        ("No change.\n- effusion\n- edema", "+pleural_effusion, +edema"),
        ("No evidence of:\n1. Effusion.\n2. Edema.\nA nodule.", "-pleural_effusion, -edema, +nodule"),
        ("1. No evidence of:\n- effusion\n- edema\n2. Nodule", "-pleural_effusion, -edema, +nodule"),
        ("Negative for: 1. effusion 2. edema. A nodule.", "-pleural_effusion, -edema, +nodule"),
        ("No evidence of pneumothorax:\n- effusion\n- edema", "-pneumothorax, +pleural_effusion, +edema"),
        ("No edema. Negative for:\n=> effusion\n=> mass\nA nodule.", "-edema, -pleural_effusion, -mass, +nodule"),
        ("- Edema: no\n- Effusion: small", "-edema, +pleural_effusion small"),
        ("The opacity may be:\n(a) edema\n(b) pneumonia", "+opacity, ?edema, ?pneumonia"),
        ("Differential for the opacity:\ni. edema\nii. pneumonia", "+opacity, ?edema, ?pneumonia"),
        ("Effusions:\n> left: small\n> right: none", "+pleural_effusion left small, -pleural_effusion right"),
        ("Nodules:\n- 4 mm\n- see above\n- left base", "+nodule, +nodule left"),
        ("R: effusion, edema\nBoth lungs: nodules", "+pleural_effusion right, +edema right, +nodule bilateral"),
    ],
)
def test_what_stands_over_a_list_is_read_with_its_items(text: str, expected: str) -> None:
    report = ReportParser("chexpert14").parse(f"FINDINGS:\n{text}")
    signs = {Assertion.PRESENT: "+", Assertion.ABSENT: "-", Assertion.UNCERTAIN: "?"}
    mentions = [one for sentence in report.sentences for one in sentence.mentions]
    read = [" ".join(filter(None, (signs[m.assertion] + m.finding, m.laterality, m.severity))) for m in mentions]
    assert ", ".join(read) == expected
