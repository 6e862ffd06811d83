import json

import numpy as np
import pytest

from trrg_core.labels import load_label_set
from trrg_core.metrics.nlg import LanguageOptions
from trrg_core.metrics.report_files.file_scores import (
    FileOptions,
    FileScores,
    canonical_name,
    score_pairs,
    spellings,
)
from trrg_core.metrics.report_files.report_file import ReportFile
from trrg_core.metrics.report_files.report_pairs import pair_reports

OPTIONS = FileOptions(
    language=LanguageOptions(protocols=("raw",)), label_set=load_label_set("chexpert14"), resamples=50
)
REFERENCES = {"1": "small left pleural effusion .", "2": "no pneumothorax .", "3": "the heart is normal ."}


def score(predictions: dict[str, str | None], references: dict[str, str | None] | None = None, **options) -> FileScores:
    files = (ReportFile(path="p", texts=predictions), ReportFile(path="r", texts=references or dict(REFERENCES)))
    return score_pairs(pair_reports(*files), OPTIONS, **options)


def test_identical_texts_have_the_best_scores() -> None:
    scores = score(dict(REFERENCES)).scores
    for name in ("bleu4.raw", "rouge_l.raw", "trrg13.micro.f1.u0", "trrg.facts.f1", "trrg.side.f1"):
        assert scores[name].value == pytest.approx(1.0, abs=1e-6), name
    # the report of three tokens has no 4-gram, and so three quarters of the score
    assert scores["cider.raw"].value == pytest.approx((10 + 7.5 + 10) / 3)
    assert scores["trrg13.micro.f1.u0"].n == 3
    assert scores["trrg.pleural_effusion.recall.u0"].n == 1
    assert scores["truth.distinct_share"].value == 1


def test_errors_against_the_reference_are_rates_of_what_could_be_wrong() -> None:
    references = {
        "1": "Small left pleural effusion. No pneumothorax.",
        "2": "The heart is enlarged.",
        "3": "No pneumothorax.",
        "4": "Mild pulmonary edema.",
    }
    predictions = {
        "1": "Small right pleural effusion. No pneumothorax.",
        "2": "Pneumonia.",
        "3": "There is a pneumothorax.",
        "4": "Severe pulmonary edema, unchanged.",
    }
    scores = score(predictions, references).scores
    # affirmed: effusion, pneumonia, pneumothorax, edema; denied: a pneumothorax
    expected = {
        "truth.hallucinated_rate": (1 / 4, 4),
        "truth.omitted_rate": (1 / 3, 3),
        "truth.negation_flip_rate": (1 / 5, 5),
        "truth.side_error_rate": (1, 1),
        "truth.degree_error_rate": (1 / 2, 2),
        "truth.false_change_rate": (1, 1),
        "truth.hedged_rate": (0, 5),
    }
    for name, (value, number) in expected.items():
        assert (scores[name].value, scores[name].n) == (pytest.approx(value), number), name
    identical = score(references, references)
    assert identical.scores["truth.hallucinated_rate"].value == 0
    assert identical.absent["truth.false_change_rate"] == "nothing to count"


def test_a_single_patient_gives_no_interval() -> None:
    scored = score({"1": "edema"}, {"1": "no edema"})
    assert scored.scores["bleu1.raw"].low is None
    assert scored.scores["truth.negation_flip_rate"].high is None


def test_a_slice_of_a_single_patient_gives_no_interval() -> None:
    (one,) = score({**REFERENCES, "2": "edema"}, slices={"one": np.array([False, True, False])}).slices
    assert one.scores["bleu1.raw"].low is None


def test_disjoint_texts_have_the_worst() -> None:
    scores = score(dict.fromkeys(REFERENCES, "xyz")).scores
    for name in ("bleu1.raw", "rouge_l.raw", "cider.raw", "trrg13.micro.f1.u0", "trrg.facts.recall"):
        assert scores[name].value == pytest.approx(0.0, abs=1e-6), name


def test_null_predictions_are_scored_as_empty_reports_and_counted() -> None:
    scored = score(dict.fromkeys(REFERENCES))
    assert scored.scores["bleu1.raw"].value == pytest.approx(0.0, abs=1e-9)
    assert scored.absent["trrg.facts.precision"] == "nothing to count"
    assert any("3 predictions are null or blank" in warning for warning in scored.warnings)
    assert any("only 0% of the predictions state any finding" in warning for warning in scored.warnings)
    json.dumps(scored.to_json(), allow_nan=False)


def test_one_constant_report_is_named_as_collapsed() -> None:
    assert any(
        text.startswith("collapsed: one report is 100%") for text in score(dict.fromkeys(REFERENCES, "ok")).warnings
    )
    assert not any(text.startswith("collapsed") for text in score(dict(REFERENCES)).warnings)


def test_ids_without_a_partner_are_a_warning() -> None:
    warnings = score({"1": "x", "9": "y"}).warnings
    assert "2 ids have no prediction and are not scored: 2, 3" in warnings
    assert "1 ids have no reference and are not scored: 9" in warnings


def test_the_floor_is_the_most_frequent_reference_for_everyone() -> None:
    references = {"1": "normal .", "2": "normal .", "3": "edema ."}
    assert score(dict(references), references).floor["bleu1.raw"].value == pytest.approx(5 / 6)


def test_a_slice_has_the_scores_of_its_pairs_alone() -> None:
    predictions = {**REFERENCES, "3": "edema ."}
    chosen = np.array([True, True, False])
    scored = score(predictions, slices={"some": chosen, "none": np.zeros(3, dtype=bool)})
    (some,) = scored.slices
    alone = score({key: predictions[key] for key in "12"}, {key: REFERENCES[key] for key in "12"})
    assert (some.name, some.num_pairs) == ("some", 2)
    for name in ("bleu2.raw", "rouge_l.raw", "trrg13.micro.f1.u0", "trrg.facts.f1", "truth.modal_share"):
        assert some.scores[name].value == pytest.approx(alone.scores[name].value), name


def test_a_score_has_every_name_it_is_known_by() -> None:
    assert spellings("rouge_l.full") == ["rouge_l.full", "rouge_l.ptb", "rougeL.full", "rougeL.ptb"]
    assert spellings("bleu4.raw") == ["bleu4.raw"]
    assert spellings("trrg13.micro.f1.u0") == ["trrg13.micro.f1.u0"]
    for name in ("rouge_l.full", "bleu1.full", "rouge_l.raw", "trrg13.micro.f1.u0"):
        assert {canonical_name(one) for one in spellings(name)} == {name}


def test_the_json_has_value_interval_and_number_of_each_score() -> None:
    metrics = score({**REFERENCES, "3": "edema ."}).to_json()["metrics"]
    assert metrics["rougeL.raw"] == metrics["rouge_l.raw"]
    assert metrics["bleu1.raw"].keys() == {"value", "low", "high", "n"}
    assert metrics["bleu1.raw"]["low"] <= metrics["bleu1.raw"]["value"] <= metrics["bleu1.raw"]["high"]
