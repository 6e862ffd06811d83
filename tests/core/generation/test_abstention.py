"""Findings that no clue decides: what the report says of them, and that nothing counts it as a statement."""

from dataclasses import replace

import pytest

from tests.core.toy_corpus import OBSERVATIONS, toy_config
from trrg_core.clue import Clue
from trrg_core.evidence import Support, gather_evidence
from trrg_core.generation.abstention import abstain_from, abstains, abstention_sentence, undecided_findings
from trrg_core.generation.decoding import write_reports
from trrg_core.generation.given_clues import GivenClue
from trrg_core.generation.report_writer import ReportWriter
from trrg_core.generation.revision import ReportReviser
from trrg_core.labels import load_label_set
from trrg_core.model.model_folder import LoadedGenerator
from trrg_core.report.parser import ReportParser
from trrg_core.training.collate import collate_images

LABEL_SET = load_label_set("chexpert14")
FINDINGS = [name for name in LABEL_SET.observations if name != LABEL_SET.no_finding]


@pytest.fixture(scope="module")
def parser():
    return ReportParser(LABEL_SET)


@pytest.fixture(scope="module")
def reviser(parser):
    return ReportReviser(parser)


def clue(name: str, probability: float, threshold: float = 0.4) -> Clue:
    return Clue(observation=name, probability=probability, threshold=threshold)


def test_a_clue_is_undecided_where_its_decision_is_likely_wrong():
    clues = [
        clue("Edema", 0.95),  # shown
        clue("Pneumonia", 0.5),  # shown, as likely as not
        clue("Fracture", 0.35),  # not shown, right at .65
        clue("Atelectasis", 0.02),
        clue("No Finding", 0.5),
    ]
    assert undecided_findings(clues, below=0.6, no_finding="No Finding") == ("Pneumonia",)
    assert undecided_findings(clues, below=0.7, no_finding="No Finding") == ("Pneumonia", "Fracture")
    assert undecided_findings(clues, below=0.0, no_finding="No Finding") == ()


@pytest.mark.parametrize("names", [[name] for name in FINDINGS] + [FINDINGS])
def test_the_sentence_states_no_fact(names, parser):
    parsed = parser.parse(f"No acute abnormality. {abstention_sentence(names)}")
    (*_, sentence) = parsed.sentences
    assert not [mention for mention in sentence.mentions if mention.is_current]
    named = {name for mention in sentence.mentions for name in LABEL_SET.observations_of(mention.finding)}
    assert set(names) <= named
    assert {name for name, label in parsed.labels.items() if label is not None} <= {"No Finding"}


def test_statements_of_undecided_findings_give_way_and_others_stay(reviser):
    report = "There is a left pleural effusion. No pneumothorax or edema. The heart is enlarged."
    found = abstain_from(report, ("Pleural Effusion", "Pneumothorax"), reviser)
    kept, named = "No edema. The heart is enlarged.", "pleural effusion or pneumothorax"
    assert found == f"{kept} It cannot be assessed if there is {named}."
    assert abstain_from(report, (), reviser) == report
    only = abstain_from("No fracture.", ("Fracture",), reviser)
    assert only == "It cannot be assessed if there is fracture."
    assert abstains(only)
    assert not abstains(report)


def test_a_normal_sentence_denies_what_is_undecided(reviser):
    report = "The lungs are clear. No pneumothorax. No acute cardiopulmonary process."
    found = abstain_from(report, ("Consolidation",), reviser)
    assert found == "No pneumothorax. It cannot be assessed if there is consolidation."
    kept = abstain_from(report, ("Fracture",), reviser)
    assert kept == "The lungs are clear. No pneumothorax. It cannot be assessed if there is fracture."
    assert reviser.without("The  lungs are clear.\nNo edema.", ["Fracture"]) == "The  lungs are clear.\nNo edema."


def test_evidence_takes_it_for_no_statement_and_no_omission(parser):
    report = "No edema. It cannot be assessed if there is pleural effusion."
    clues = [clue("Edema", 0.05), clue("Pleural Effusion", 0.5), clue("Fracture", 0.9)]
    evidence = gather_evidence(parser.parse(report), clues=clues, label_set=LABEL_SET, has_prior=None)
    assert [sentence.status for sentence in evidence.sentences] == [Support.SUPPORTED, Support.NOT_CHECKABLE]
    assert [one.observation for one in evidence.omitted] == ["Fracture"]


def test_reports_abstain_only_when_they_are_asked_to(stage2, rows):
    loaded = LoadedGenerator(config=toy_config(), generator=stage2.model, text_tokenizer=None)
    batch = collate_images(rows[:4], observations=OBSERVATIONS, config=toy_config().pretrain)
    plain = write_reports(loaded, batch, toy_config("generate.max_new_tokens=40").generate)
    assert not any(report.abstained or abstains(report.text) for report in plain)
    always = toy_config("generate.max_new_tokens=40", "generate.abstain_below=1").generate
    effusion = GivenClue(observation="Pleural Effusion", is_present=True)
    found = write_reports(loaded, batch, always, given=[[effusion], [], [], []])
    assert [report.abstained for report in found[1:]] == [OBSERVATIONS] * 3
    assert [report.text for report in found[1:]] == [abstention_sentence(OBSERVATIONS)] * 3
    certain = always.model_copy(update={"abstain_below": 0.99})
    stated = write_reports(loaded, batch, certain, given=[[effusion], [], [], []])[0]
    assert "Pleural Effusion" not in stated.abstained  # a person has decided


def test_a_written_study_names_what_it_abstains_from(stage2, rows):
    from tests.core.generation.test_report_writer import film, request
    from trrg_core.generation.study_record import study_record

    config = toy_config("generate.max_new_tokens=40", "generate.abstain_below=1")
    writer = ReportWriter(LoadedGenerator(config=config, generator=stage2.model, text_tokenizer=None))
    (written,) = writer.write([request("a", film())])
    assert study_record(written, model="m")["abstained"] == list(OBSERVATIONS)
    assert study_record(replace(written, abstained=()), model="m")["abstained"] == []
