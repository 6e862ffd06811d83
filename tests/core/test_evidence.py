import pytest

from trrg_core.clue import Clue
from trrg_core.evidence import Support, find_inventions, gather_evidence
from trrg_core.labels import Assertion, LabelSet
from trrg_core.report.parsed import Mention, ParsedReport, Sentence

LABELS = LabelSet(
    name="t",
    observations=("Edema", "Pleural Effusion", "Lung Lesion", "Finding Of Any Kind", "No Finding"),
    findings={
        "Edema": ("edema",),
        "Pleural Effusion": ("pleural_effusion",),
        "Lung Lesion": ("nodule", "mass"),
        "Finding Of Any Kind": ("mass",),
    },
    no_finding="No Finding",
)
THRESHOLDS = {"Edema": 0.5, "Pleural Effusion": 0.3, "Lung Lesion": 0.5, "Finding Of Any Kind": 0.5}
P, A, U = Assertion.PRESENT, Assertion.ABSENT, Assertion.UNCERTAIN


def mention(finding: str, assertion: Assertion, **attributes) -> Mention:
    return Mention(finding=finding, start=0, end=4, assertion=assertion, rule="test", **attributes)


def sentence(*mentions: Mention, text: str = "Something is seen.") -> Sentence:
    return Sentence(text=text, start=0, end=len(text), section="findings", mentions=mentions)


def judge(*sentences: Sentence, clues: dict[str, float], has_prior: bool | None = None):
    report = ParsedReport(sections=(), sentences=sentences, labels={}, parser_id="test")
    given = [
        Clue(observation=name, probability=value, threshold=THRESHOLDS.get(name, 0.5)) for name, value in clues.items()
    ]
    return gather_evidence(report, clues=given, label_set=LABELS, has_prior=has_prior)


@pytest.mark.parametrize(
    ("assertion", "probability", "status"),
    [
        (P, 0.5, Support.WEAK),  # at the threshold is shown
        (P, 0.79, Support.WEAK),
        (P, 0.8, Support.SUPPORTED),
        (P, 0.49, Support.UNSUPPORTED),
        (U, 0.7, Support.WEAK),
        (U, 0.1, Support.UNSUPPORTED),
        (A, 0.1, Support.SUPPORTED),
        (A, 0.2, Support.SUPPORTED),
        (A, 0.21, Support.WEAK),
        (A, 0.9, Support.CONTRADICTED),
    ],
)
def test_a_mention_is_judged_by_its_clue_and_threshold(assertion, probability, status):
    evidence = judge(sentence(mention("edema", assertion)), clues={"Edema": probability})
    assert evidence.sentences[0].status is status
    judged = evidence.sentences[0].mentions[0]
    assert judged.clue == Clue(observation="Edema", probability=probability, threshold=0.5)
    assert judged.probability == pytest.approx(1 - probability if assertion is A else probability)
    assert evidence.sentences[0].probability == judged.probability


@pytest.mark.parametrize(
    ("assertion", "side", "status"),
    [
        (P, "left", Support.SUPPORTED),
        (P, "", Support.SUPPORTED),
        (P, "right", Support.UNSUPPORTED),
        (P, "bilateral", Support.UNSUPPORTED),
        (U, "right", Support.UNSUPPORTED),
        (A, "", Support.CONTRADICTED),
        (A, "left", Support.CONTRADICTED),
        (A, "right", Support.SUPPORTED),
    ],
)
def test_a_clue_on_one_side_supports_no_statement_of_the_other(assertion, side, status):
    clue = Clue(observation="Pleural Effusion", probability=0.9, threshold=0.5, left=0.85, right=0.1)
    stated = sentence(mention("pleural_effusion", assertion, laterality=side))
    report = ParsedReport(sections=(), sentences=(stated,), labels={}, parser_id="test")
    evidence = gather_evidence(report, clues=[clue], label_set=LABELS, has_prior=None)
    assert evidence.sentences[0].status is status
    # "no right effusion" is true and leaves out the left one
    assert bool(evidence.omitted) == (assertion is A and status is Support.SUPPORTED)


@pytest.mark.parametrize(
    ("left", "right", "status"),
    [(None, None, Support.WEAK), (0.4, 0.3, Support.WEAK), (0.9, 0.8, Support.SUPPORTED)],
)
def test_a_clue_of_unknown_or_both_sides_excludes_neither(left, right, status):
    clue = Clue(observation="Pleural Effusion", probability=0.9, threshold=0.5, left=left, right=right)
    stated = sentence(mention("pleural_effusion", P, laterality="right"))
    report = ParsedReport(sections=(), sentences=(stated,), labels={}, parser_id="test")
    evidence = gather_evidence(report, clues=[clue], label_set=LABELS, has_prior=None)
    assert evidence.sentences[0].status is status


@pytest.mark.parametrize(
    ("assertion", "severity", "probability", "status"),
    [
        (P, "mild", 0.95 * 0.9, Support.SUPPORTED),
        (P, "", 0.95, Support.SUPPORTED),
        (P, "severe", 0.95 * 0.04, Support.UNSUPPORTED),
        (U, "moderate", 0.95 * 0.06, Support.UNSUPPORTED),
        (A, "severe", 1 - 0.95 * 0.04, Support.SUPPORTED),  # "no severe edema" does not deny the mild one
        (A, "mild", 1 - 0.95 * 0.9, Support.CONTRADICTED),
        (A, "", 1 - 0.95, Support.CONTRADICTED),
    ],
)
def test_a_clue_of_one_degree_supports_no_other(assertion, severity, probability, status):
    clue = Clue(observation="Edema", probability=0.95, threshold=0.5, degrees=(0.9, 0.06, 0.04))
    stated = sentence(mention("edema", assertion, severity=severity))
    report = ParsedReport(sections=(), sentences=(stated,), labels={}, parser_id="test")
    evidence = gather_evidence(report, clues=[clue], label_set=LABELS, has_prior=None)
    judged = evidence.sentences[0]
    assert judged.status is status
    assert judged.probability == pytest.approx(probability)
    assert bool(evidence.omitted) == (assertion is A and status is Support.SUPPORTED)


def test_side_and_degree_count_together():
    clue = Clue(
        observation="Pleural Effusion", probability=0.98, threshold=0.3, left=0.9, right=0.1, degrees=(0.2, 0.5, 0.3)
    )
    stated = sentence(mention("pleural_effusion", P, laterality="left", severity="moderate"))
    report = ParsedReport(sections=(), sentences=(stated,), labels={}, parser_id="test")
    judged = gather_evidence(report, clues=[clue], label_set=LABELS, has_prior=None).sentences[0]
    assert judged.probability == pytest.approx(0.45)
    assert judged.status is Support.WEAK


@pytest.mark.parametrize(
    ("assertion", "probability", "status"), [(P, 0.99, Support.WEAK), (A, 0.01, Support.SUPPORTED)]
)
def test_a_degree_that_the_clue_does_not_know_is_never_fully_supported(assertion, probability, status):
    stated = sentence(mention("edema", assertion, severity="mild"))
    assert judge(stated, clues={"Edema": probability}).sentences[0].status is status


def test_a_measured_finding_is_never_fully_supported():
    stated = sentence(mention("edema", P, size="5.0 cm"), text="A 5.0 cm area of edema.")
    evidence = judge(stated, clues={"Edema": 0.99})
    assert evidence.sentences[0].status is Support.WEAK
    assert evidence.sentences[0].invented == ("measurement",)


@pytest.mark.parametrize("text", ["Two inches of edema.", "Edema since Monday.", "Edema, told to Nurse Sample."])
def test_a_finding_told_with_an_invention_is_never_fully_supported(text):
    affirmed, denied = sentence(mention("edema", P), text=text), sentence(mention("edema", A), text=text)
    assert judge(affirmed, clues={"Edema": 0.99}).sentences[0].status is Support.WEAK
    assert judge(denied, clues={"Edema": 0.01}).sentences[0].status is Support.SUPPORTED


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("The tip is 4 cm above the carina.", ("measurement",)),
        ("A 6mm nodule.", ("measurement",)),
        ("Compared with 1/2/2019, a 12 millimeter nodule.", ("measurement", "date")),
        ("Discussed with Dr. Smith.", ("name",)),
        ("Fractures of ribs 4 to 6. T8 compression.", ()),
        ("A 2 inch mass.", ("measurement",)),
        ("A five centimeter mass, 200 ml of fluid.", ("measurement",)),
        ("A mass of 5.0  cm, 2 x 3.", ("measurement",)),
        ("A subcentimeter nodule.", ("measurement",)),
        ("Tip 3 cms above the carina.", ("measurement",)),
        ("Density of 30 HU.", ("measurement",)),
        ("A 20% pneumothorax, scoliosis of 30 degrees, T12, 2 views, 8 ribs.", ()),
    ],
)
def test_what_no_film_tells_is_named_by_kind(text, kinds):
    assert find_inventions(text) == kinds
    assert judge(sentence(text=text), clues={}).sentences[0].invented == kinds


def test_what_no_clue_speaks_of_is_not_checkable():
    no_clue = sentence(mention("pleural_effusion", P))
    no_finding_known = sentence(mention("scoliosis", P))
    silent = sentence()
    evidence = judge(no_clue, no_finding_known, silent, clues={"Edema": 0.9})
    assert [item.status for item in evidence.sentences] == [Support.NOT_CHECKABLE] * 3
    assert evidence.sentences[0].mentions[0].clue is None


def test_a_historical_mention_is_not_checkable():
    evidence = judge(sentence(mention("edema", P, historical=True)), clues={"Edema": 0.1})
    assert evidence.sentences[0].status is Support.NOT_CHECKABLE


def test_a_sentence_is_as_bad_as_its_worst_mention():
    denied, affirmed, unknown = mention("edema", A), mention("pleural_effusion", P), mention("scoliosis", P)
    clues = {"Edema": 0.9, "Pleural Effusion": 0.1}
    assert judge(sentence(unknown, affirmed, denied), clues=clues).sentences[0].status is Support.CONTRADICTED
    assert judge(sentence(unknown, affirmed), clues=clues).sentences[0].status is Support.UNSUPPORTED
    assert judge(sentence(unknown), clues=clues).sentences[0].status is Support.NOT_CHECKABLE


def test_a_finding_of_two_observations_is_judged_by_the_louder_clue():
    clues = {"Lung Lesion": 0.1, "Finding Of Any Kind": 0.8}
    evidence = judge(sentence(mention("mass", P)), clues=clues)
    assert evidence.sentences[0].status is Support.SUPPORTED
    assert evidence.sentences[0].mentions[0].clue.observation == "Finding Of Any Kind"


def test_a_shown_clue_that_the_report_never_speaks_of_is_omitted():
    clues = {"Edema": 0.9, "Pleural Effusion": 0.31, "Lung Lesion": 0.2, "No Finding": 0.99}
    evidence = judge(sentence(mention("edema", A)), clues=clues)
    assert [clue.observation for clue in evidence.omitted] == ["Pleural Effusion"]


def test_a_clue_spoken_of_only_in_the_past_is_omitted():
    evidence = judge(sentence(mention("edema", P, historical=True)), clues={"Edema": 0.9})
    assert [clue.observation for clue in evidence.omitted] == ["Edema"]


@pytest.mark.parametrize(
    ("has_prior", "false", "unknown"), [(False, True, False), (True, False, False), (None, False, True)]
)
def test_a_comparison_is_false_only_when_there_is_known_to_be_no_prior(has_prior, false, unknown):
    evidence = judge(sentence(text="Edema is unchanged."), clues={}, has_prior=has_prior)
    assert (evidence.sentences[0].false_prior, evidence.sentences[0].unknown_prior) == (false, unknown)
