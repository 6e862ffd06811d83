import json
from dataclasses import replace

import pytest

from trrg_core.clue import Clue
from trrg_core.errors import DataError
from trrg_core.labels import Assertion, LabelSet
from trrg_core.metrics.bootstrap import Interval
from trrg_core.metrics.score import Prediction, ScoringOptions, gain_interval, score_predictions, score_systems
from trrg_core.metrics.systems import System
from trrg_core.pages.score_view import describe_basis
from trrg_core.report.parsed import Mention, ParsedReport, Sentence

LABELS = LabelSet(name="chexpert-two", observations=("Edema", "Fracture"), findings={"Edema": ("edema",)})


def parsed(text: str, edema: int | None) -> ParsedReport:
    mentions = ()
    if edema is not None:
        assertion = Assertion.PRESENT if edema else Assertion.ABSENT
        mentions = (Mention(finding="edema", start=0, end=len(text), assertion=assertion, rule="test"),)
    sentence = Sentence(text=text, start=0, end=len(text), section="findings", mentions=mentions)
    labels = {"Edema": edema, "Fracture": None}
    return ParsedReport(sections=(), sentences=(sentence,), labels=labels, parser_id="test")


def prediction(study_id: str, *, said: int | None, truth: int | None, clue: float, subject_id: str = "") -> Prediction:
    words = {1: "Edema is present.", 0: "No edema is seen.", None: "The heart is normal."}
    return Prediction(
        subject_id=subject_id or f"p{study_id}",
        study_id=study_id,
        reference=words[truth],
        reference_labels={"Edema": truth, "Fracture": None},
        hypothesis=words[said],
        parsed=parsed(words[said], said),
        clues=(Clue(observation="Edema", probability=clue, threshold=0.5),),
        has_prior=False,
    )


MODEL = [
    prediction("1", said=1, truth=1, clue=0.9),
    prediction("2", said=1, truth=0, clue=0.2),
    prediction("3", said=None, truth=1, clue=0.8),
]
MODAL = [prediction(str(n), said=None, truth=truth, clue=0.1) for n, truth in ((1, 1), (2, 0), (3, 1))]


def score(rows=MODEL, **options):
    system = options.pop("system", System.MODEL)
    settings = {"section": "findings", "protocols": ("r2gen",), "bootstrap_samples": 50} | options
    return score_predictions(rows, ScoringOptions(label_set=LABELS, **settings), system=system)


def test_one_call_gathers_language_labels_and_truth():
    scores = score()
    assert scores.values["trrg2.micro.f1.u0"] == pytest.approx(0.5)  # one hit, one false alarm, one miss
    assert scores.values["bleu1.r2gen"] > 0
    assert scores.values["truth.unsupported_positive_rate"] == 0.5  # study 2 affirms what no clue shows
    assert scores.values["truth.omitted_clue_rate"] == 0.5  # study 3 leaves out one of two shown clues
    assert scores.rates["truth.omitted_clue_rate"].of == 2


def test_a_score_that_does_not_exist_is_absent_with_its_reason_never_zero():
    scores = score()
    assert "truth.contradicted_negation_rate" not in scores.values
    assert scores.absent["truth.contradicted_negation_rate"] == "nothing to count"
    assert scores.absent["meteor.r2gen"] == "not requested"


def test_the_basis_is_shown_with_the_scores():
    assert describe_basis(score()) == "n = 3 studies of 3 patients, section findings"
    one = score([prediction("1", said=1, truth=1, clue=0.9)])
    assert describe_basis(one) == "n = 1 study of 1 patient, section findings"
    assert "not CheXbert" in score().conventions["trrg2"]


def test_the_order_of_studies_changes_no_score():
    assert score(MODEL[::-1]).values == pytest.approx(score().values)


def test_a_study_predicted_twice_is_refused():
    with pytest.raises(DataError, match="study 1 is predicted 2 times") as caught:
        score([MODEL[0], MODEL[0]])
    assert caught.value.reason == "duplicate_study"
    with pytest.raises(DataError, match="no predictions"):
        score([])


def test_each_finding_has_its_own_interval_around_its_f1():
    scores = score()
    interval = scores.observation_intervals["Edema"]
    # Edema is the only finding here, so its F1 is the pooled one
    assert interval == scores.intervals["trrg2.micro.f1.u0"]
    assert scores.observation_intervals["Fracture"] == Interval(low=0.0, high=0.0)


def test_no_resamples_give_no_intervals():
    scores = score(bootstrap_samples=0)
    assert scores.intervals == {}
    assert scores.observation_intervals == {}
    assert gain_interval(scores, scores, "trrg2.micro.f1.u0") is None


def test_a_gain_is_resampled_pair_by_pair():
    model, modal = score(), score(MODAL, system=System.MODAL_REPORT)
    assert gain_interval(model, model, "trrg2.micro.f1.u0") == Interval(low=0.0, high=0.0)
    # the modal report scores 0 on every draw, so the gain is the model's own score
    assert gain_interval(model, modal, "trrg2.micro.f1.u0") == model.intervals["trrg2.micro.f1.u0"]
    with pytest.raises(ValueError, match="not resampled on the same patients"):
        gain_interval(model, score(MODAL, bootstrap_samples=9), "trrg2.micro.f1.u0")


def test_scores_survive_json():
    scores = score()
    data = json.loads(json.dumps(scores.to_json(), allow_nan=False))
    assert data["values"] == scores.values
    assert data["observations"][0]["observation"] == "Edema"
    assert data["intervals"]["trrg2.micro.f1.u0"].keys() == {"low", "high"}
    assert "resamples" not in data


def test_no_report_text_leaks_into_the_scores():
    data = json.dumps(score().to_json())
    assert "Edema is" not in data
    assert "heart" not in data


def test_every_score_but_the_rates_has_an_interval_around_it():
    scores = score(bootstrap_samples=200)
    assert set(scores.intervals) == {name for name in scores.values if not name.startswith("truth.")}
    for name, interval in scores.intervals.items():
        assert interval.low <= scores.values[name] + 1e-12, name
        # a corpus that repeats a study may have a CIDEr above that of the whole
        assert interval.high >= scores.values[name] - 1e-12, name


def test_systems_are_scored_together_as_each_by_itself():
    options = ScoringOptions(label_set=LABELS, section="findings", protocols=("r2gen",), bootstrap_samples=20)
    together = score_systems({System.MODEL: MODEL, System.MODAL_REPORT: MODAL}, options)
    assert [item.system for item in together] == [System.MODEL, System.MODAL_REPORT]
    assert together[1].values == score_predictions(MODAL, options, system=System.MODAL_REPORT).values


def test_facts_are_scored_where_the_references_are_parsed():
    rows = [replace(row, parsed_reference=parsed(row.reference, row.reference_labels["Edema"])) for row in MODEL]
    scores = score(rows, bootstrap_samples=50)
    # stated: edema affirmed twice, once wrongly; expected: affirmed twice and denied once
    assert scores.values["trrg.facts.precision"] == pytest.approx(1 / 2)
    assert scores.values["trrg.facts.recall"] == pytest.approx(1 / 3)
    assert scores.absent["trrg.side.agreement"] == "nothing to count"
    assert "trrg.facts.recall" in scores.intervals
    json.dumps(scores.to_json(), allow_nan=False)
    assert "trrg.facts.f1" not in score().values
