from dataclasses import replace

import pytest

from tests.core.toy_corpus import OBSERVATIONS, toy_config
from trrg_core.clue import KnownFindings
from trrg_core.errors import ConfigError
from trrg_core.generation import decoding
from trrg_core.generation.decoding import write_reports
from trrg_core.generation.drafts import Draft
from trrg_core.generation.given_clues import GivenClue, check_given_clues, parse_given_clues
from trrg_core.labels import SIDE_LEFT, SIDE_RIGHT, load_label_set
from trrg_core.model.model_folder import LoadedGenerator
from trrg_core.training.collate import collate_images

FINDINGS = KnownFindings(
    observations=OBSERVATIONS, sided=("Pleural Effusion", "Pneumothorax"), graded=("Pleural Effusion", "Cardiomegaly")
)


@pytest.mark.parametrize(
    ("text", "clue"),
    [
        ("Pleural Effusion=left", GivenClue(observation="Pleural Effusion", is_present=True, sides=SIDE_LEFT)),
        (
            " pleural  effusion = Bilateral moderate",
            GivenClue(observation="Pleural Effusion", is_present=True, sides=SIDE_LEFT | SIDE_RIGHT, degree=2),
        ),
        ("cardiomegaly=present", GivenClue(observation="Cardiomegaly", is_present=True)),
        ("Cardiomegaly=severe", GivenClue(observation="Cardiomegaly", is_present=True, degree=3)),
        ("Pneumothorax=absent", GivenClue(observation="Pneumothorax", is_present=False)),
    ],
)
def test_a_clue_is_read_from_its_words(text, clue):
    assert parse_given_clues([text], FINDINGS) == (clue,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Pneumothorax", "expected FINDING=WORDS"),
        ("Pneumothorax=", "expected FINDING=WORDS"),
        ("Pneumotorax=left", "did you mean 'Pneumothorax'"),
        ("Gallstones=present", "expected one of Pleural Effusion"),
        ("Pneumothorax=huge", "unknown word 'huge'"),
        ("Pneumothorax=absent left", "neither of an absent finding"),
        ("Pneumothorax=left right", r"one side \(bilateral for both\) and one degree at most"),
        ("Pneumothorax=present absent", "expected present or absent, not both"),
        ("x" * 5000, "^clue of 5000 characters, at most 200 are read: expected FINDING=WORDS"),
    ],
)
def test_a_clue_that_cannot_be_read_is_refused_with_what_was_expected(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_given_clues([text], FINDINGS)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["Pneumothorax=absent", "Pneumothorax=left"], "'Pneumothorax': given twice"),
        (["Cardiomegaly=left"], "'Cardiomegaly': the model knows no side of it; expected one of Pleural Effusion"),
        (["Pneumothorax=large"], "'Pneumothorax': the model knows no degree of it; expected one of Cardiomegaly"),
        (["No Finding=present"], "'No Finding': no sentence states it"),
    ],
)
def test_a_word_that_would_be_left_out_is_refused(words, message):
    known = replace(
        FINDINGS, observations=(*OBSERVATIONS, "No Finding"), graded=("Cardiomegaly",), no_finding="No Finding"
    )
    with pytest.raises(ConfigError, match=message):
        parse_given_clues(words, known)
    parse_given_clues(["Pleural Effusion=left"], known)


@pytest.mark.parametrize(
    ("parent", "child"),
    [("Lung Opacity", "Edema"), ("Consolidation", "Pneumonia"), ("Enlarged Cardiomediastinum", "Cardiomegaly")],
)
def test_a_finding_is_not_given_as_absent_beside_one_of_its_kinds(parent, child):
    known = KnownFindings(observations=load_label_set("chexpert14").observations)
    for words in ([f"{child}=present", f"{parent}=absent"], [f"{parent}=absent", f"{child}=present"]):
        with pytest.raises(ConfigError, match=f"'{parent}' is given as absent and '{child}', which is a kind of it"):
            parse_given_clues(words, known)
    parse_given_clues([f"{child}=absent", f"{parent}=present"], known)
    # another set of labels has a hierarchy of its own
    parse_given_clues([f"{child}=present", f"{parent}=absent"], KnownFindings(observations=(parent, child)))


def test_clues_of_another_model_and_of_one_without_are_refused():
    given = parse_given_clues(["Pleural Effusion=left"], FINDINGS)
    with pytest.raises(ConfigError, match=r"'Pleural Effusion': unknown finding; expected one of Mass$"):
        check_given_clues(given, KnownFindings(observations=("Mass", "Normal"), no_finding="Normal"))
    with pytest.raises(ConfigError, match=r"the model knows no side of it; nor of any other$"):
        check_given_clues(given, replace(FINDINGS, sided=()))
    for check in (lambda: check_given_clues(given, KnownFindings()), lambda: parse_given_clues(["x"], KnownFindings())):
        with pytest.raises(ConfigError, match=r"trained without \(finetune\.clues=off\): give none"):
            check()


def test_a_given_side_is_known_also_of_a_lateral_film(stage2, rows):
    loaded = LoadedGenerator(config=toy_config(), generator=stage2.model, text_tokenizer=None)
    lateral = [{**row, "views": [{**view, "view_position": "LATERAL"} for view in row["views"]]} for row in rows[:2]]
    batch = collate_images(lateral, observations=OBSERVATIONS, config=toy_config().pretrain)
    effusion = GivenClue(observation="Pleural Effusion", is_present=True, sides=SIDE_RIGHT)
    given, plain = write_reports(
        loaded, batch, toy_config("generate.max_new_tokens=4").generate, given=[[effusion], []]
    )
    assert given.clues[0].sides == SIDE_RIGHT
    assert [clue.left for clue in given.clues[1:]] == [None, None]
    assert [clue.left for clue in plain.clues] == [None, None, None]


@pytest.mark.parametrize("candidates", [1, 2])
def test_given_clues_stand_for_their_study_alone(candidates, stage2, rows):
    loaded = LoadedGenerator(config=toy_config(), generator=stage2.model, text_tokenizer=None)
    batch = collate_images(rows[:2], observations=OBSERVATIONS, config=toy_config().pretrain)
    config = toy_config(f"generate.candidates={candidates}", "generate.max_new_tokens=20").generate
    effusion = GivenClue(observation="Pleural Effusion", is_present=True, sides=SIDE_RIGHT)
    given = write_reports(loaded, batch, config, given=[[effusion], []])
    plain = write_reports(loaded, batch, config)
    clue = given[0].clues[0]
    assert (clue.observation, clue.probability > 0.99, clue.sides) == ("Pleural Effusion", True, SIDE_RIGHT)
    assert given[0].clues[1:] == plain[0].clues[1:]
    assert given[1] == plain[1]


def test_a_report_is_kept_but_for_what_it_says_of_given_findings(stage2, rows, monkeypatch):
    loaded = LoadedGenerator(config=toy_config(), generator=stage2.model, text_tokenizer=None)
    batch = collate_images(rows[:1], observations=OBSERVATIONS, config=toy_config().pretrain)
    effusion = GivenClue(observation="Pleural Effusion", is_present=False)

    def write(_, prompts, config):
        is_given = config.guidance == config.denied_guidance
        text = "No effusion. Big heart." if is_given else "Large effusion. Normal heart size."
        for _ in prompts:
            yield [Draft(text=text, log_probability=0.0)]

    monkeypatch.setattr(decoding, "write_drafts", write)
    texts = [
        write_reports(
            loaded,
            batch,
            toy_config(f"generate.revise={revise}", "generate.check_margin=null").generate,
            given=[[effusion]],
        )[0].text
        for revise in ("true", "false")
    ]
    assert texts == ["No effusion. Normal heart size.", "No effusion. Big heart."]


@pytest.mark.parametrize(("revise", "written"), [("true", 2 + 3), ("false", 3)])
def test_only_studies_with_given_clues_are_written_again(revise, written, stage2, rows, monkeypatch):
    loaded = LoadedGenerator(config=toy_config(), generator=stage2.model, text_tokenizer=None)
    batch = collate_images(rows[:3], observations=OBSERVATIONS, config=toy_config().pretrain)
    present, absent = (GivenClue(observation="Pleural Effusion", is_present=value) for value in (True, False))
    prompted = []

    def write(_, prompts, config):
        for prompt in prompts:
            prompted.append((prompt.study_id, config.guidance))
            yield [Draft(text="No effusion.", log_probability=0.0)]

    monkeypatch.setattr(decoding, "write_drafts", write)
    settings = (
        f"generate.revise={revise}",
        "generate.check_margin=null",
        "generate.guidance=0.5",
        "generate.denied_guidance=1",
    )
    config = toy_config(*settings).generate
    reports = write_reports(loaded, batch, config, given=[[present], [], [absent]])
    assert [report.study_id for report in reports] == list(batch.study_ids)
    assert len(prompted) == written
    first, second, third = batch.study_ids
    assert {(first, 0.5), (second, 0.5), (third, 1.0)} <= set(prompted)


@pytest.mark.parametrize(
    ("settings", "guidance"),
    [
        (["generate.guidance=0.5"], 1.0),
        (["generate.guidance=1.5"], 1.5),
        (["generate.guidance=0", "generate.num_beams=2"], 0.0),
    ],
)
def test_denied_findings_are_decoded_under_stronger_guidance_unless_beams_exclude_it(settings, guidance):
    config = toy_config("generate.denied_guidance=1", *settings).generate
    assert config.for_denied_findings().guidance == guidance
