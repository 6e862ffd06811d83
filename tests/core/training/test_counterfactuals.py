"""Counterfactual reports, read back by the parser: what was turned is turned, and nothing else is."""

from itertools import permutations

import numpy as np
import pytest

from trrg_core.labels import (
    SIDE_LEFT,
    SIDE_RIGHT,
    STATED_ABSENT,
    STATED_PRESENT,
    Assertion,
    column_name,
    load_label_set,
    stated_codes,
)
from trrg_core.report.facts import study_facts
from trrg_core.report.flips import SentenceFlipper
from trrg_core.report.parser import ReportParser
from trrg_core.sources.sample import generate_studies
from trrg_core.training.counterfactuals import EDITS, ReportEditor
from trrg_core.training.prompts import load_prompts

LABEL_SET = load_label_set("chexpert14")
OBSERVATIONS = LABEL_SET.observations
NO_FINDING = OBSERVATIONS.index("No Finding")
PROMPTS = load_prompts(OBSERVATIONS)
SIDED = [prompt.has_side for prompt in PROMPTS]


@pytest.fixture(scope="module")
def shard_rows():
    parser = ReportParser("chexpert14")
    flipper = SentenceFlipper(parser)
    return [row for study in generate_studies(250, seed=3) if (row := shard_row_of(study, parser, flipper))["report"]]


def shard_row_of(study, parser, flipper):
    """What the shards hold of a study, but for its images: the sentences of the findings, with facts and flips."""
    text = " ".join(item.sentence.text for item in study.report.sentences if item.section == "findings")
    parsed = parser.parse(text)
    return {
        "study_id": study.truth.study_id,
        "report": text,
        "sentences": [
            {
                "text": sentence.text,
                "facts": [
                    {
                        "observation": name,
                        "assertion": str(mention.assertion),
                        "laterality": mention.laterality,
                        "severity": mention.severity,
                    }
                    for mention in sentence.mentions
                    if mention.is_current
                    for name in LABEL_SET.observations_of(mention.finding)
                ],
                "flips": [
                    {"kind": str(flip.kind), "observation": name, "text": flip.text}
                    for flip in flipper.flips(sentence)
                    for name in LABEL_SET.observations_of(flip.finding)
                ],
            }
            for sentence in parsed.sentences
        ],
        "labels": {column_name(name): value for name, value in parsed.labels.items()},
    }


@pytest.fixture(scope="module")
def editor(shard_rows):
    return ReportEditor(shard_rows, prompts=PROMPTS, observations=OBSERVATIONS)


def stated_of(row):
    return study_facts(row["sentences"], stated_codes(row["labels"], OBSERVATIONS), OBSERVATIONS, sided=SIDED)


def edits(editor, rows, kind):
    rng = np.random.default_rng(0)
    for row in rows:
        edited = editor.edit(row, stated_of(row), kind, rng)
        if edited is not None:
            yield row, edited


@pytest.mark.parametrize("kind", EDITS)
def test_the_parser_reads_what_an_edit_says_and_no_other_change(kind, editor, shard_rows):
    parser = ReportParser("chexpert14")
    num = num_unlike = 0
    for row, edited in edits(editor, shard_rows, kind):
        num += 1
        before, after = parser.parse(row["report"]).labels, parser.parse(edited.text).labels
        codes = stated_codes({column_name(name): value for name, value in after.items()}, OBSERVATIONS)
        # a finding outside the label set may still be abnormal, which the facts do not tell
        num_unlike += codes[NO_FINDING] != edited.facts.assertions[NO_FINDING]
        for index, name in enumerate(OBSERVATIONS):
            if index == NO_FINDING:
                continue
            if index in edited.turned:
                assert codes[index] == edited.facts.assertions[index], (name, row["report"], edited.text)
            else:
                assert before[name] == after[name], (name, row["report"], edited.text)
    assert num_unlike <= 0.05 * num
    assert num > {"up": 180, "down": 80, "side": 50, "degree": 40}[kind]


def test_an_edit_turns_what_its_kind_says(editor, shard_rows):
    for row, edited in edits(editor, shard_rows, "down"):
        stated = stated_of(row)
        assert all(stated.assertions[index] == STATED_PRESENT for index in edited.turned)
        assert all(edited.facts.assertions[index] != STATED_PRESENT for index in edited.turned)
    for row, edited in edits(editor, shard_rows, "up"):
        (index,) = edited.turned
        assert stated_of(row).assertions[index] != STATED_PRESENT == edited.facts.assertions[index]
    sides = set()
    for row, edited in edits(editor, shard_rows, "side"):
        for index in edited.turned:
            assert 0 < stated_of(row).sides[index] != edited.facts.sides[index] > 0
            sides.add((stated_of(row).sides[index], edited.facts.sides[index]))
    assert sides == set(permutations((SIDE_LEFT, SIDE_RIGHT, SIDE_LEFT | SIDE_RIGHT), 2))
    for row, edited in edits(editor, shard_rows, "degree"):
        (index,) = edited.turned
        assert 0 < stated_of(row).degrees[index] != edited.facts.degrees[index] > 0


def test_a_finding_that_comes_in_takes_out_what_calls_its_region_normal(editor):
    row = {
        "study_id": "1",
        "report": "The lungs are clear. The hila are normal. No acute cardiopulmonary process.",
        "sentences": [],
        "labels": {"no_finding": 1},
    }
    rng = np.random.default_rng(0)
    texts: dict[str, str] = {}
    for _ in range(60):
        edited = editor.edit(row, stated_of(row), "up", rng)
        texts[OBSERVATIONS[edited.turned[0]]] = edited.text
        no_finding = edited.facts.assertions[NO_FINDING]
        is_device = OBSERVATIONS[edited.turned[0]] == "Support Devices"
        assert no_finding == (STATED_PRESENT if is_device else STATED_ABSENT)
    assert "clear" not in texts["Lung Opacity"]
    assert "clear" in texts["Pleural Effusion"]
    assert "cardiopulmonary" not in texts["Pleural Effusion"]
    assert "cardiopulmonary" in texts["Support Devices"]


def test_the_other_denials_of_a_joint_sentence_are_kept(editor):
    denial = {"laterality": "", "severity": "", "assertion": Assertion.ABSENT}
    names = ["Pleural Effusion", "Pneumothorax"]
    row = {
        "study_id": "1",
        "report": "No pleural effusion or pneumothorax.",
        "sentences": [
            {
                "text": "No pleural effusion or pneumothorax.",
                "facts": [{"observation": name, **denial} for name in names],
                "flips": [],
            }
        ],
        "labels": {"pleural_effusion": 0, "pneumothorax": 0, "no_finding": 1},
    }
    rng = np.random.default_rng(0)
    parser = ReportParser("chexpert14")
    seen = set()
    for _ in range(80):
        edited = editor.edit(row, stated_of(row), "up", rng)
        turned = OBSERVATIONS[edited.turned[0]]
        labels = parser.parse(edited.text).labels
        assert [labels[name] for name in names] == [1 if name == turned else 0 for name in names]
        seen.add(turned)
    assert seen >= set(names)


def test_nothing_to_turn_gives_nothing(editor):
    row = {"study_id": "1", "report": "The lungs are clear.", "sentences": [], "labels": {"no_finding": 1}}
    rng = np.random.default_rng(0)
    assert [editor.edit(row, stated_of(row), kind, rng) for kind in ("down", "side", "degree")] == [None] * 3
