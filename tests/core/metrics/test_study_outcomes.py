import io
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from trrg_core.clue import Clue
from trrg_core.errors import DataError
from trrg_core.labels import load_label_set
from trrg_core.metrics.attribute_agreement import report_facts
from trrg_core.metrics.floors import clue_template
from trrg_core.metrics.outcomes import Column, Outcome, outcome_column, outcomes_from_bytes, outcomes_to_bytes
from trrg_core.metrics.score import Prediction
from trrg_core.metrics.significance import Significance, load_significance
from trrg_core.metrics.study_outcomes import StatedReport, count_outcomes_of, count_studies
from trrg_core.metrics.systems import System
from trrg_core.report.parser import ReportParser

CHEXPERT = load_label_set("chexpert14")
EFFUSION = "There is a left pleural effusion."


@pytest.fixture(scope="module")
def parser() -> ReportParser:
    return ReportParser("chexpert14")


def predict(parser: ReportParser, study_id: str, reference: str, hypothesis: str, clue: float = 0.9) -> Prediction:
    return Prediction(
        subject_id=f"p{study_id}",
        study_id=study_id,
        reference=reference,
        reference_labels=parser.parse(reference).labels,
        hypothesis=hypothesis,
        parsed=parser.parse(hypothesis),
        clues=(Clue(observation="Pleural Effusion", probability=clue, threshold=0.5),),
    )


def count(parser: ReportParser, predictions: list[Prediction]):
    references = [parser.parse(row.reference) for row in predictions]
    return count_outcomes_of(
        {System.MODEL: predictions, System.MODAL_REPORT: predictions},
        references,
        label_set=CHEXPERT,
        section="findings",
    )


def test_sides_and_degrees_are_due_of_findings_that_both_affirm(parser):
    reference = "There is a small left pleural effusion. There is a right pneumothorax."
    table = count(parser, [predict(parser, "1", reference, "There is a pleural effusion.")])
    counts = dict(zip(table.columns, table.counts[System.MODEL][0], strict=True))
    assert [counts[name] for name in (Column.SIDES_EXPECTED, Column.SIDES_DUE, Column.SIDES_BOTH)] == [2, 1, 0]
    assert [counts[name] for name in (Column.DEGREES_DUE, Column.DEGREES_BOTH)] == [1, 0]


@pytest.mark.parametrize(
    ("reference", "hypothesis", "malformed", "unknown"),
    [
        ("No edema. No effusion.", "No edema. No effusion.", 0, 0),
        ("No edema. No effusion.", "No edema. no  EDEMA!", 1, 0),
        ("No edema or effusion.", "No edema or effusion. No effusion or edema.", 1, 0),
        ("No edema. No edema.", "No edema. No edema.", 0, 0),
        ("No edema. No effusion.", "No edema. No eff", 1, 1),
        ("No edema. No effusion.", "No edema. No effusion,", 1, 0),
        ("No edema. No effusion", "No edema. No effusion", 0, 0),
        ("No edema. No effusion.", "", 0, 0),
        ("No edema. No effusion.", "No oedema. No effusion 3.5 cm.", 0, 3),
    ],
)
def test_a_report_that_repeats_a_sentence_or_is_cut_is_malformed(
    parser, reference: str, hypothesis: str, malformed: int, unknown: int
):
    table = count(parser, [predict(parser, "1", reference, hypothesis)])
    counted = (values(table, System.MODEL, name) for name in (Column.MALFORMED, Column.WORDS_UNKNOWN))
    assert [*counted] == [[malformed], [unknown]]


def test_outcomes_of_0_2_are_read_without_the_counts_that_they_lack(parser):
    table = count(parser, [predict(parser, "1", EFFUSION, EFFUSION)])
    old = pq.read_table(io.BytesIO(outcomes_to_bytes(table))).drop_columns(["malformed", "sides.due"])
    file = io.BytesIO()
    pq.write_table(old, file)
    read = outcomes_from_bytes(file.getvalue())
    assert np.isnan(values(read, System.MODEL, Column.MALFORMED)).all()
    assert values(read, System.MODEL, Column.SIDES_BOTH) == [1.0]
    pq.write_table(old.drop_columns(["sides.both"]), file := io.BytesIO())
    with pytest.raises(DataError, match="no table of outcomes"):
        outcomes_from_bytes(file.getvalue())


def values(table, system: System, column: str) -> list[float]:
    return table.counts[system][:, table.columns.index(column)].tolist()


def test_each_study_is_counted_once_per_finding_and_system(parser):
    table = count(
        parser,
        [
            predict(parser, "2", "There is a pneumothorax.", "No pneumothorax."),
            predict(parser, "1", EFFUSION, f"{EFFUSION} There is pulmonary edema."),
        ],
    )
    assert table.study_ids == ("1", "2")
    assert table.subject_ids == ("p1", "p2")
    model = System.MODEL
    assert values(table, model, outcome_column(Outcome.TRUE_POSITIVE, "Pleural Effusion")) == [1.0, 0.0]
    assert values(table, model, outcome_column(Outcome.FALSE_POSITIVE, "Edema")) == [1.0, 0.0]
    assert values(table, model, outcome_column(Outcome.FALSE_NEGATIVE, "Pneumothorax")) == [0.0, 1.0]
    # the clues show an effusion in both studies
    assert values(table, System.CLUE_LABELS, outcome_column(Outcome.FALSE_POSITIVE, "Pleural Effusion")) == [0.0, 1.0]
    assert values(table, System.EMPTY_REPORT, Column.ASSERTING) == [0.0, 0.0]
    assert values(table, model, Column.ASSERTING) == [1.0, 1.0]
    # all 6 words of the reference of study 1 are among the 10 of its report
    assert [values(table, model, name)[0] for name in (Column.WORDS_MATCHED, Column.WORDS, Column.WORDS_EXPECTED)] == [
        6.0,
        10.0,
        6.0,
    ]


def test_no_no_no_states_nothing_and_scores_nothing(parser):
    table = count(parser, [predict(parser, "1", "The lungs are clear. No pneumothorax.", "No. No. No. No.")])
    counts = dict(zip(table.columns, table.counts[System.MODEL][0].tolist(), strict=True))
    assert counts[Column.ASSERTING] == 0.0
    assert not [name for name, value in counts.items() if name.startswith("true_positive") and value]


def test_a_table_survives_the_file_and_holds_no_report_text(parser):
    table = count(parser, [predict(parser, "1", EFFUSION, "Zebra effusion.")])
    data = outcomes_to_bytes(table)
    read = outcomes_from_bytes(data)
    assert (read.basis, read.findings, read.study_ids, read.subject_ids) == (
        table.basis,
        table.findings,
        table.study_ids,
        table.subject_ids,
    )
    assert list(read.counts) == list(table.counts)
    assert all((read.counts[system] == table.counts[system]).all() for system in table.counts)
    assert b"ebra" not in data
    for wrong in (np.nan, np.inf, -1.0):
        counts = table.counts[System.MODEL].copy()
        counts[0, 3] = wrong
        with pytest.raises(DataError, match=f"column '{table.columns[3]}' has values that are no counts"):
            outcomes_from_bytes(outcomes_to_bytes(replace(table, counts={**table.counts, System.MODEL: counts})))
    two = count(parser, [predict(parser, study_id, EFFUSION, EFFUSION) for study_id in "12"])
    twice = replace(two, study_ids=("1", "1"), subject_ids=("p1", "p1"))
    with pytest.raises(DataError, match="a study is there twice"):
        outcomes_from_bytes(outcomes_to_bytes(twice))


def test_other_references_other_studies_and_another_section_are_another_basis(parser):
    base = count(parser, [predict(parser, "1", EFFUSION, "Clear.")]).basis
    assert count(parser, [predict(parser, "1", EFFUSION, "No effusion.")]).basis == base
    for other in (predict(parser, "1", "Clear.", "Clear."), predict(parser, "2", EFFUSION, "Clear.")):
        assert count(parser, [other]).basis.differences(base) == ("test",)


RULES = Significance(weights={"Pneumothorax": 1.0, "Atelectasis": 0.25}, default=0.5, wrong_attribute=0.5)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "agreed", "stated"),
    [
        (EFFUSION, EFFUSION, 1.0, 1.0),
        (EFFUSION, "There is a right pleural effusion.", 0.5, 1.0),
        (EFFUSION, "There is a pleural effusion.", 1.0, 1.0),
        ("There is a small left pleural effusion.", "There is a large right pleural effusion.", 0.5, 1.0),
        ("There is a pneumothorax.", "There is atelectasis.", 0.0, 1.25),
        ("There is a pneumothorax.", "No pneumothorax.", 0.0, 1.0),
        ("No pneumothorax.", "No pneumothorax.", 0.0, 0.0),
    ],
)
def test_the_truth_score_weighs_findings_and_halves_a_wrong_side_or_degree(
    parser, reference, hypothesis, agreed, stated
):
    pair = [StatedReport(text="", facts=report_facts(parser.parse(text), CHEXPERT)) for text in (reference, hypothesis)]
    findings = tuple(name for name in CHEXPERT.observations if name != "No Finding")
    counts = count_studies(pair[:1], pair[1:], findings=findings, significance=RULES)
    start = 3 * len(findings) + 2
    assert counts[0, start : start + 2].tolist() == [agreed, stated]


def test_the_shipped_significance_knows_every_shipped_observation():
    rules = load_significance()
    for name in ("chexpert14", "nih14"):
        assert set(load_label_set(name).observations) <= set(rules.weights)
    assert rules.of(["Pneumothorax", "Support Devices", "Something Else"]).tolist() == [1.0, 0.0, 0.5]


@pytest.mark.parametrize("name", ["chexpert14", "nih14"])
def test_the_clue_template_says_what_the_clues_show(name: str):
    label_set = load_label_set(name)
    parser = ReportParser(label_set)
    generator = np.random.default_rng(4)
    for _ in range(10):
        clues = tuple(
            Clue(observation=observation, probability=float(generator.random()), threshold=0.5)
            for observation in label_set.observations
            if observation != label_set.no_finding
        )
        labels = parser.parse(clue_template(clues, label_set)).labels
        assert {clue.observation: labels[clue.observation] for clue in clues} == {
            clue.observation: int(clue.is_shown) for clue in clues
        }


def test_the_clue_template_states_sides():
    sided = {"observation": "Pleural Effusion", "probability": 0.9, "threshold": 0.5}
    assert clue_template([Clue(**sided, left=0.8, right=0.1)], CHEXPERT) == "There is a left pleural effusion."
    both = clue_template([Clue(**sided, left=0.8, right=0.8)], CHEXPERT)
    assert both == "There is a left pleural effusion. There is a right pleural effusion."
