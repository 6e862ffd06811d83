"""Reports that contradict their clues: which clues count as contradicted, and what becomes of the text."""

from dataclasses import replace

import pytest

from tests.core.toy_corpus import OBSERVATIONS, toy_config
from trrg_core.clue import Clue
from trrg_core.generation import decoding
from trrg_core.generation.clue_check import contradicted_clues, follow_given, overrule, settle_contradictions
from trrg_core.generation.decoding import EncodedStudies, encode_studies, stream_reports, write_reports
from trrg_core.generation.drafts import Draft
from trrg_core.generation.given_clues import GivenClue
from trrg_core.generation.revision import ReportReviser
from trrg_core.labels import SIDE_LEFT, SIDE_RIGHT
from trrg_core.model.model_folder import LoadedGenerator
from trrg_core.report.parser import ReportParser
from trrg_core.training.collate import collate_images

PARSER = ReportParser("chexpert14")
REVISER = ReportReviser(PARSER)
EFFUSION, EDEMA, PNEUMONIA = "Pleural Effusion", "Edema", "Pneumonia"


def clue(name: str, probability: float, threshold: float = 0.5, **more: object) -> Clue:
    return replace(Clue(observation=name, probability=probability, threshold=threshold), **more)


@pytest.mark.parametrize(
    ("text", "probability", "expected"),
    [
        ("No edema.", 0.75, [True]),  # log odds 1.1
        ("The heart is normal in size.", 0.75, [True]),  # left out
        ("No edema.", 0.7, []),  # .85: not clear enough
        ("There is edema.", 0.25, [False]),
        ("There is edema.", 0.3, []),
        ("There is edema.", 0.9, []),
        ("No edema.", 0.1, []),
        ("Possible edema.", 0.99, []),  # doubt contradicts nothing
        ("Possible edema.", 0.01, []),
        ("Edema has resolved.", 0.99, [True]),
    ],
)
def test_a_clue_is_contradicted_where_it_is_clear_and_the_text_says_otherwise(text, probability, expected):
    found = contradicted_clues(text, [clue(EDEMA, probability)], margin=1.0, shift=0.0, parser=PARSER)
    assert [one.is_present for one in found] == expected


def test_the_margin_counts_from_the_threshold_of_the_finding_and_with_the_shift():
    rare = [clue(EDEMA, 0.3, threshold=0.1)]  # log odds -.85 and -2.2
    assert contradicted_clues("No edema.", rare, margin=1.0, shift=0.0, parser=PARSER)
    assert not contradicted_clues("No edema.", rare, margin=1.0, shift=-0.5, parser=PARSER)
    certain = [clue(EDEMA, 1.0), clue(PNEUMONIA, 0.0)]
    assert len(contradicted_clues("Pneumonia.", certain, margin=9.0, shift=0.0, parser=PARSER)) == 2


def test_a_contradicted_clue_is_given_with_its_side_and_its_likeliest_degree():
    effusion = clue(EFFUSION, 0.9, left=0.88, right=0.1, degrees=(0.2, 0.7, 0.1))
    normal = clue("No Finding", 0.99)
    found = contradicted_clues("No pleural effusion.", [effusion, normal], margin=1.0, shift=0.0, parser=PARSER)
    assert found == (GivenClue(observation=EFFUSION, is_present=True, sides=SIDE_LEFT, degree=2),)


@pytest.mark.parametrize(
    ("rewritten", "expected"),
    [
        ("Left effusion. No edema.", "Left effusion. No edema. Normal heart size."),
        ("Left effusion. Mild edema.", "Left effusion. Normal heart size."),  # affirmed in spite of its clue
        ("No edema. No effusion.", "There is a left pleural effusion. No edema. Normal heart size."),  # denied likewise
        ("", "There is a left pleural effusion. Normal heart size."),
    ],
)
def test_a_draft_takes_what_the_rewritten_text_says_of_contradicted_findings(rewritten, expected):
    given = [
        GivenClue(observation=EFFUSION, is_present=True, sides=SIDE_LEFT),
        GivenClue(observation=EDEMA, is_present=False),
    ]
    draft = "No effusion. Moderate edema. Normal heart size."
    assert overrule(draft, rewritten, given, parser=PARSER, reviser=REVISER) == expected


def test_a_report_of_one_overruled_finding_denies_it():
    given = [GivenClue(observation=EDEMA, is_present=False)]
    assert overrule("Mild edema.", "Mild edema.", given, parser=PARSER, reviser=REVISER) == "No pulmonary edema."


@pytest.mark.parametrize(
    ("text", "sides", "degree", "expected"),
    [
        ("Small left effusion.", SIDE_LEFT, 1, "Small left effusion."),
        ("Small left effusion.", SIDE_LEFT, 0, "Small left effusion."),
        ("Small right effusion, edema.", SIDE_LEFT, 0, "There is a left pleural effusion. Edema."),
        ("Left effusion. Edema.", SIDE_LEFT, 3, "There is a large left pleural effusion. Edema."),
        ("Small left effusion.", SIDE_LEFT | SIDE_RIGHT, 2, "There are moderate bilateral pleural effusions."),
        ("Possible effusion. Edema.", 0, 0, "There is a pleural effusion. Edema."),
        ("Edema.", 0, 2, "There is a moderate pleural effusion. Edema."),
    ],
)
def test_a_report_states_the_side_and_the_degree_that_a_person_gives(text, sides, degree, expected):
    given = [GivenClue(observation=EFFUSION, is_present=True, sides=sides, degree=degree)]
    assert follow_given(text, given, parser=PARSER, reviser=REVISER) == expected


@pytest.mark.parametrize("text", ["No effusion. Edema.", "Edema.", "Possible effusion. Edema.", "Effusion. Edema."])
def test_a_report_does_not_call_possible_what_a_person_denies(text):
    given = [GivenClue(observation=EFFUSION, is_present=False)]
    followed = follow_given(text, given, parser=PARSER, reviser=REVISER)
    assert followed == text if text.startswith(("No", "Edema")) else followed == "No pleural effusion. Edema."


@pytest.mark.parametrize(
    ("text", "probability", "expected"),
    [
        ("Mild edema. No effusion or edema.", 0.6, "Mild edema. No effusion."),
        ("No edema. No edema. Edema.", 0.6, "Edema."),
        ("Mild edema. No effusion or edema.", 0.4, "No effusion or edema."),
        ("Mild edema. The lungs are clear. No effusion.", 0.6, "Mild edema. No effusion."),
        ("Mild edema. The lungs are clear. No effusion.", 0.4, "The lungs are clear. No effusion."),
        ("Left effusion. No right effusion. Mild edema.", 0.4, "Left effusion. No right effusion. Mild edema."),
    ],
)
def test_of_a_finding_that_is_affirmed_and_denied_the_clue_decides_which_stays(text, probability, expected):
    found = settle_contradictions(text, [clue(EDEMA, probability)], shift=0.0, parser=PARSER, reviser=REVISER)
    assert found == expected


@pytest.fixture
def written(monkeypatch):
    """Drafts affirm an effusion and a pneumothorax, rewritten texts deny both; (study, guidance) of each text."""
    prompted = []

    def write(_, prompts, config):
        for prompt in prompts:
            prompted.append((prompt.study_id, config.guidance))
            text = "No effusion or pneumothorax." if config.guidance == 2.0 else "Effusion. Pneumothorax."
            yield [Draft(text=text, log_probability=0.0)]

    def show(clues, _):
        probability = [[0.02, 0.9, 0.5], [0.9, 0.9, 0.5], [0.9, 0.02, 0.5]]
        return [
            tuple(clue(name, value) for name, value in zip(OBSERVATIONS, study, strict=True))
            for study in (probability * 2)[: len(clues.mask_BK)]
        ]

    monkeypatch.setattr(decoding, "write_drafts", write)
    monkeypatch.setattr(decoding, "read_clues", show)
    return prompted


def settings(*more: str):
    return toy_config("generate.guidance=0.5", "generate.denied_guidance=2", *more).generate


def test_reports_are_written_again_only_where_they_contradict_their_clues(written, stage2, rows):
    loaded = LoadedGenerator(config=toy_config(), generator=stage2.model, text_tokenizer=None)
    batches = [
        collate_images(rows[at : at + 3], observations=OBSERVATIONS, config=toy_config().pretrain) for at in (0, 3)
    ]
    studies = [EncodedStudies(batch=batch, features=encode_studies(stage2.model, batch)) for batch in batches]
    checked = list(stream_reports(loaded, studies, settings("generate.check_margin=1")))
    ids = [name for batch in batches for name in batch.study_ids]
    assert [report.study_id for report in checked] == ids
    index = {name: at for at, name in enumerate(OBSERVATIONS)}
    assert index["Pleural Effusion"] == 0
    texts = [report.text for report in checked]
    assert texts[0] == texts[3] != texts[1] == texts[4] == "Effusion. Pneumothorax."
    assert texts[0] == "No effusion. Pneumothorax."
    overruled = {report.overruled for report in (checked[at] for at in (0, 3))}
    assert overruled == {("Pleural Effusion",)}
    assert checked[1].overruled == checked[4].overruled == ()
    assert {name for name, guidance in written if guidance == 2.0} == {ids[at] for at in (0, 2, 3, 5)}
    written.clear()
    plain = list(stream_reports(loaded, studies, settings("generate.check_margin=null")))
    assert {report.text for report in plain} == {"Effusion. Pneumothorax."}
    assert len(written) == len(ids)


def test_what_a_person_denies_is_never_affirmed(stage2, rows, monkeypatch):
    loaded = LoadedGenerator(config=toy_config(), generator=stage2.model, text_tokenizer=None)
    batch = collate_images(rows[:1], observations=OBSERVATIONS, config=toy_config().pretrain)

    def write(_, prompts, config):
        for _ in prompts:
            yield [Draft(text="Large effusion. The film is rotated.", log_probability=0.0)]

    monkeypatch.setattr(decoding, "write_drafts", write)
    denied = GivenClue(observation=EFFUSION, is_present=False)
    for revise in ("true", "false"):
        config = settings("generate.check_margin=1", f"generate.revise={revise}")
        (report,) = write_reports(loaded, batch, config, given=[[denied]])
        assert "effusion" not in report.text
        assert "The film is rotated." in report.text
