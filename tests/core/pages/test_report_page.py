import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from tests.core.toy_corpus import draw
from trrg_core.clue import Clue
from trrg_core.evidence import gather_evidence
from trrg_core.generation.heat_map import HeatMap
from trrg_core.labels import Assertion, LabelSet, load_label_set
from trrg_core.metrics.fact_errors import Disagreement, FactError, compare_facts
from trrg_core.metrics.paired import Estimate
from trrg_core.metrics.score import Prediction, Scores, ScoringOptions, score_predictions
from trrg_core.metrics.study_slices import SliceGain, SliceScores
from trrg_core.metrics.systems import System
from trrg_core.metrics.truth import Rate
from trrg_core.pages.champion_section import ChampionBeside, insert_champion, studies_in
from trrg_core.pages.gate_section import insert_decision
from trrg_core.pages.image_section import ImageRow, ImageSection
from trrg_core.pages.render import render_report
from trrg_core.pages.report_page import ReportPage, StudyPage, choose_studies, study_page
from trrg_core.pages.score_view import sum_up
from trrg_core.pages.shown_film import Film
from trrg_core.pages.study_view import view_study
from trrg_core.registry.check import Check, Verdict
from trrg_core.registry.decision import Decision
from trrg_core.report.parsed import Mention, ParsedReport, Sentence
from trrg_core.report.parser import ReportParser

LABELS = LabelSet(
    name="chexpert-three",
    observations=("Edema", "Fracture", "No Finding"),
    findings={"Edema": ("edema",), "Fracture": ("fracture",)},
    no_finding="No Finding",
)
THRESHOLDS = {"Edema": 0.5, "Fracture": 0.5}
JPEG = b"\xff\xd8\xff\xe0 invented"
HOSTILE = "<script>alert(1)</script> </style> \"quoted' </article> {{ 7*7 }} <img src=x onerror=alert(1)>"


class Page(HTMLParser):
    """Tags with their attributes, as a browser would see them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)

    def all(self, tag: str, css_class: str = "") -> list[dict[str, str | None]]:
        wanted = set(css_class.split())
        return [found for name, found in self.tags if name == tag and wanted <= set((found.get("class") or "").split())]


def sentence(text: str, start: int, word: str = "", assertion: Assertion = Assertion.PRESENT) -> Sentence:
    mentions = ()
    if word:
        at = start + text.index(word)
        mentions = (Mention(finding=word, start=at, end=at + len(word), assertion=assertion, rule="test"),)
    return Sentence(text=text, start=start, end=start + len(text), section="findings", mentions=mentions)


def predict(study_id: str, *sentences: Sentence, text: str = "", clues=None, truth=None, said=None) -> Prediction:
    parsed = ParsedReport(sections=(), sentences=sentences, labels=said or {}, parser_id="test")
    return Prediction(
        subject_id=f"p{study_id}",
        study_id=study_id,
        reference="reference",
        reference_labels=truth or {},
        hypothesis=text or " ".join(item.text for item in sentences),
        parsed=parsed,
        clues=tuple(
            Clue(observation=name, probability=value, threshold=THRESHOLDS[name])
            for name, value in (clues or {"Edema": 0.1, "Fracture": 0.1}).items()
        ),
        has_prior=False,
    )


def shown(prediction: Prediction, reference: tuple[Sentence, ...] = (), films=(Film(jpeg=JPEG, view_position="PA"),)):
    evidence = gather_evidence(
        prediction.parsed, clues=prediction.clues, label_set=LABELS, has_prior=prediction.has_prior
    )
    return study_page(prediction, reference=reference, evidence=evidence, films=films, label_set=LABELS)


def score(predictions, system=System.MODEL, samples=20) -> Scores:
    options = ScoringOptions(
        label_set=LABELS,
        section="findings",
        protocols=("r2gen",),
        bootstrap_samples=samples,
    )
    return score_predictions(predictions, options, system=system)


FINE = predict("fine", sentence("No edema.", 0, "edema", Assertion.ABSENT))
WRONG = predict(
    "wrong",
    sentence("No edema.", 0, "edema", Assertion.ABSENT),
    sentence("New fracture.", 10, "fracture"),
    clues={"Edema": 0.9, "Fracture": 0.2},
    truth={"Edema": 1},
    said={"Edema": 0, "Fracture": 1},
)


def render(*predictions: Prediction, systems=None, **options) -> str:
    systems = systems or (score(predictions), score(predictions, System.MODAL_REPORT))
    studies = tuple(shown(item) for item in predictions)
    return render_report(ReportPage(title="Test", systems=systems, studies=studies, **options))


def test_report_text_is_shown_word_for_word_and_never_runs():
    hostile = predict("1", sentence(HOSTILE, 0))
    page = ReportPage(
        title=HOSTILE,
        systems=(score([hostile]),),
        studies=(shown(hostile, reference=(sentence(HOSTILE, 0, "quoted"),)),),
        lineage={HOSTILE: HOSTILE},
        decision=Decision(checks=(Check(name="text", verdict=Verdict.FAIL, reason=HOSTILE),)),
    )
    html = render_report(page)
    seen = Page(html)
    assert len(seen.all("script")) == 1
    assert len(seen.all("style")) == 1
    assert [image["src"][:15] for image in seen.all("img")] == ["data:image/jpeg"]
    assert not [name for _, found in seen.tags for name in found if name.startswith("on") or name == "style"]
    assert "".join(seen.texts).count(HOSTILE) == 6  # title, heading, lineage twice, gate, hypothesis


DECISION = Decision(
    checks=(
        Check(name="floor.modal_report", verdict=Verdict.FAIL, reason="not better", number=0.01, low=-0.02, high=0.04),
        Check(name="text.modal_share", verdict=Verdict.PASS, reason="few are equal", number=0.1),
    ),
    override="<b>a rehearsal</b>",
)


def test_a_decision_that_is_made_later_takes_its_place_in_the_page():
    later = insert_decision(render(WRONG), DECISION)
    assert later.split() == render(WRONG, decision=DECISION).split()
    text = " ".join(" ".join(Page(later).texts).split())
    assert "Gate: promoted by a person" in text
    assert 'class="card gate overruled"' in later
    assert "<b>a rehearsal</b>" in text
    assert "fail: not better" in text
    assert "few are equal" not in text
    assert "floor.modal_report fail 0.01 -0.020 to +0.040 -" in text
    assert later.count('class="against"') == 1
    # what is not against the model is folded below
    assert "1 other check, none against the model" in text
    assert later.index('class="against"') < later.index('<details class="others">') < later.index("text.modal_share")
    assert 'class="card gate' not in render(WRONG)
    # what a report says is not taken for the place
    hostile = predict("1", sentence("<!-- gate -->", 0))
    assert insert_decision(render(hostile), DECISION).count('class="card gate') == 1


def test_a_hostile_study_id_and_view_stay_inside_their_attributes():
    hostile = predict('"><b onclick=x', sentence("Clear.", 0))
    films = (Film(jpeg=JPEG, view_position='PA" onerror="x'),)
    html = render_report(ReportPage(title="t", systems=(score([hostile]),), studies=(shown(hostile, films=films),)))
    assert not Page(html).all("b")
    assert "onerror" not in Page(html).all("img")[0]


def test_the_page_loads_nothing_and_its_policy_names_its_own_style_and_script():
    html = render(FINE)
    policy = next(found["content"] for found in Page(html).all("meta") if found.get("http-equiv"))
    assert policy.startswith("default-src 'none'; img-src data:;")
    for tag in ("style", "script"):
        inside = re.search(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert not re.search(r"https?://|url\(|@import", html)


def test_each_sentence_is_marked_with_its_status_and_each_mention_with_its_assertion():
    seen = Page(render(WRONG))
    assert len(seen.all("p", "line CONTRADICTED")) == 1
    assert len(seen.all("p", "line UNSUPPORTED")) == 1
    notes = {mark["class"]: mark["title"] for mark in seen.all("mark") if mark.get("title")}
    assert notes["absent"] == "edema, absent, clue Edema 0.90, shown from 0.50"
    assert notes["present"] == "fracture, present, clue Fracture 0.20, shown from 0.50"
    assert any("no prior to compare with" in text for text in seen.texts)


def test_studies_with_the_most_issues_come_first_and_can_be_put_back():
    articles = Page(render(FINE, WRONG)).all("article")
    assert [(item["data-index"], item["data-rank"]) for item in articles] == [("1", "0"), ("0", "1")]
    assert articles[0]["data-issues"] == "contradicted unsupported missed invented false-prior"
    assert articles[0]["data-findings"] == "edema fracture"
    assert articles[1]["data-issues"] == ""


def test_missed_and_invented_findings_leave_no_finding_aside():
    study = shown(predict("1", truth={"Edema": 1, "No Finding": None}, said={"Edema": -1, "No Finding": 1}))
    assert study.missed == ("Edema",)
    assert study.invented == ()


def test_text_that_is_no_sentence_is_still_shown():
    view = view_study(shown(predict("1", sentence("Clear.", 10), text="FINDINGS: Clear. Trailing")))
    assert [line.pieces[0].text for line in view.hypothesis] == ["FINDINGS:", "Clear.", "Trailing"]
    assert [line.status is None for line in view.hypothesis] == [True, False, True]


def test_overlapping_mentions_do_not_double_the_text():
    text = "right pleural effusion"
    mentions = tuple(
        Mention(finding="x", start=start, end=end, assertion=Assertion.PRESENT, rule="test")
        for start, end in ((6, 22), (14, 22), (6, 13))
    )
    line = Sentence(text=text, start=0, end=22, section="findings", mentions=mentions)
    pieces = view_study(shown(predict("1", line))).hypothesis[0].pieces
    assert [piece.text for piece in pieces] == ["right ", "pleural effusion"]


def test_clues_are_drawn_with_probability_and_threshold_and_omitted_ones_are_marked():
    html = render(predict("1", sentence("Clear.", 0), clues={"Edema": 0.8, "Fracture": 0.25}))
    assert 'aria-label="probability 0.80, shown from 0.50"' in html
    assert html.count("<em>omitted</em>") == 1
    assert html.index("probability 0.80") < html.index("probability 0.25")


def test_heat_maps_lie_over_the_films_that_the_model_read_and_can_be_chosen():
    heat = np.linspace(-0.2, 0.3, 16, dtype=np.float32).reshape(1, 4, 4)
    films = tuple(Film(jpeg=draw(number, "e"), view_position=view) for number, view in enumerate(("PA", "LATERAL")))
    study = replace(
        shown(WRONG, films=films),
        heat_maps=(HeatMap(finding="Edema", values_VHW=heat), HeatMap(finding="Fracture", values_VHW=heat - 1)),
    )
    html = render_report(ReportPage(title="t", systems=(score([WRONG]),), studies=(study, shown(FINE))))
    seen = Page(html)
    layers = seen.all("img", "heat")
    # the lateral film was not read: it has none
    assert [(layer["data-heat"], "hidden" in layer) for layer in layers] == [("0", False), ("1", True)]
    choices = [(choice["name"], choice["value"], "checked" in choice) for choice in seen.all("input")]
    assert choices == [("heat-0", "", False), ("heat-0", "0", True), ("heat-0", "1", False)]
    text = " ".join(" ".join(seen.texts).split())
    assert "none Edema Fracture below its threshold, no patch agrees" in text
    assert "it shows where the model looked" in text


def gain(value: float, low: float, high: float) -> Estimate:
    return Estimate(value=value, low=low, high=high)


def test_a_champion_takes_its_place_below_each_report_and_in_the_slices():
    nothing = gain(float("nan"), float("nan"), float("nan"))
    alone = SliceScores(
        name="AP",
        num_studies=31,
        num_patients=20,
        num_positive=12,
        micro_f1=gain(0.5, 0.4, 0.6),
        truth_score=nothing,
        floor_f1=0.25,
    )
    page = render(WRONG, FINE, slices=(alone,))
    assert studies_in(page) == ["wrong", "fine"]
    other = predict("wrong", sentence(HOSTILE, 0), sentence("No edema.", 200, "edema", Assertion.ABSENT))
    beside = ChampionBeside(
        model="models:/trrg/3",
        reports={"wrong": shown(other), "fine": shown(FINE), "unknown": shown(FINE)},
        hypotheses={"wrong": WRONG.hypothesis, "fine": FINE.hypothesis},
        slices=(
            replace(
                alone,
                champion=SliceGain(
                    micro_f1=0.4,
                    micro_f1_gain=gain(0.1, 0.02, 0.2),
                    truth_score=float("nan"),
                    truth_score_gain=nothing,
                ),
            ),
            replace(alone, name="nobody", num_studies=0),
        ),
    )
    html = insert_champion(page, beside)
    seen = Page(html)
    text = " ".join(" ".join(seen.texts).split())
    assert text.count("Champion models:/trrg/3") == 2
    assert text.count("the same text") == 1
    assert HOSTILE in "".join(seen.texts)
    assert len(seen.all("script")) == 1
    assert "AP 0.500 [0.400, 0.600] 0.400 +0.100 [+0.020, +0.200] nothing to count" in text
    assert len(seen.all("td", "number better")) == 1
    assert len(seen.all("section", "card")) == len(Page(page).all("section", "card"))
    # rules that allow one style and one script still hold: nothing but content was added
    assert html.count("<style>") == page.count("<style>") == 1


def test_a_page_keeps_what_no_champion_is_known_of():
    page = render(WRONG)
    assert insert_champion(page, ChampionBeside(model="m")) == page
    assert insert_champion("<p>of an older version</p>", ChampionBeside(model="m")) == "<p>of an older version</p>"
    # what a report says is not taken for a place
    forged = predict("1", sentence("<!-- champion of 31 --> <!-- slices --> <!-- end of slices -->", 0))
    assert studies_in(render(forged)) == ["1"]


def test_bytes_that_are_no_jpeg_are_not_embedded():
    html = render_report(
        ReportPage(title="t", systems=(score([FINE]),), studies=(shown(FINE, films=(Film(jpeg=b"<html>"),)),))
    )
    assert not Page(html).all("img")
    assert "no image" in html


def test_every_image_has_words_for_those_who_do_not_see_it():
    seen = Page(render(FINE, WRONG))
    assert [image["alt"] for image in seen.all("img")] == [
        "Radiograph of study wrong, view PA",
        "Radiograph of study fine, view PA",
    ]
    assert all(found.get("aria-label") or found.get("aria-hidden") for found in seen.all("svg") if "role" in found)


def test_an_absent_score_says_why():
    assert '<span class="absent" title="not requested">' in render(FINE, WRONG)


def test_the_summary_compares_with_the_best_of_the_others():
    hit = predict("1", truth={"Edema": 1}, said={"Edema": 1})
    miss = predict("1", truth={"Edema": 1}, said={})
    model, floor = score([hit], samples=0), score([miss], System.MODAL_REPORT, samples=0)
    assert (
        sum_up((model, floor))
        == "Clinical micro-F1, without No Finding, is 1.000, +1.000 against the best of the others, modal report."
    )
    assert "no floor was scored" in sum_up((model,))


def test_without_studies_or_films_the_page_still_stands():
    empty = render_report(ReportPage(title="t", systems=(score([FINE]),), studies=()))
    assert "Studies (0)" in empty
    bare: StudyPage = shown(FINE, films=())
    assert "no radiograph" in render_report(ReportPage(title="t", systems=(score([FINE]),), studies=(bare,)))
    with pytest.raises(ValueError, match="at least one system"):
        render_report(ReportPage(title="t", systems=(), studies=()))


def test_the_worst_half_is_shown_and_a_random_sample_of_the_rest():
    issues = [0, 5, 1, 0, 3, 0, 0, 0]
    chosen = choose_studies(issues, limit=4, seed=7)
    assert [index for index, is_sampled in chosen if not is_sampled] == [1, 4]
    sampled = {index for index, is_sampled in chosen if is_sampled}
    assert len(sampled) == 2
    assert not sampled & {1, 4}
    assert chosen == choose_studies(issues, limit=4, seed=7)
    assert {tuple(choose_studies(issues, limit=4, seed=seed)) for seed in range(9)} != {tuple(chosen)}
    assert choose_studies([1, 2], limit=60, seed=7) == [(0, False), (1, False)]
    assert choose_studies([], limit=60, seed=7) == []


def test_a_difference_from_the_reference_is_tagged_on_its_sentence():
    study = replace(
        shown(WRONG),
        disagreements=(
            Disagreement(error=FactError.DENIED, observation="Edema", sentences=(0,)),
            Disagreement(error=FactError.SIDE, observation="Fracture", sentences=(1,)),
            Disagreement(error=FactError.OMITTED, observation="Fracture"),
        ),
        is_sampled=True,
    )
    html = render_report(ReportPage(title="T", systems=(score((WRONG,)),), studies=(study,)))
    lines = [line for line in html.splitlines() if 'class="line ' in line and "fracture" in line.lower()]
    assert "Edema: affirmed by the reference" in html
    assert "Fracture: another side in the reference" in html
    assert lines
    assert "random sample</li>" in html
    assert view_study(study).issues["attribute"] == 1


def test_confidence_and_calibration_are_drawn_where_references_are_parsed():
    parser = ReportParser("chexpert14")
    label_set = load_label_set("chexpert14")

    def predicted(number: int, hypothesis: str, reference: str, probability: float) -> Prediction:
        parsed, truth = parser.parse(hypothesis), parser.parse(reference)
        return Prediction(
            subject_id=str(number),
            study_id=str(number),
            reference=reference,
            reference_labels=truth.labels,
            hypothesis=hypothesis,
            parsed=parsed,
            clues=(Clue(observation="Edema", probability=probability, threshold=0.5),),
            parsed_reference=truth,
        )

    rows = [predicted(1, "Edema.", "Edema.", 0.9), predicted(2, "Edema.", "No edema.", 0.6)]
    options = ScoringOptions(label_set=label_set, section="findings", protocols=("r2gen",), bootstrap_samples=20)
    scores = score_predictions(rows, options)
    html = render_report(ReportPage(title="T", systems=(scores,), studies=()))
    # the surer of the two is right: risks 0 and 1/2
    assert "risk against coverage; area 0.250" in html
    assert 'points="100.0,200.0 200.0,0.0"' in html
    assert "probability 0.90: 1 of 1 affirmed" in html
    assert "risk against coverage" not in render(FINE)
    assert compare_facts(rows[1].parsed_reference, rows[1].parsed, label_set).errors[0].error is FactError.AFFIRMED


def test_slices_and_changed_images_are_shown_with_their_numbers_and_intervals():
    nothing = Estimate(value=float("nan"), low=float("nan"), high=float("nan"))
    ap = SliceScores(
        name="age > 60 AND sex = '<F>'",
        num_studies=31,
        num_patients=20,
        num_positive=12,
        micro_f1=Estimate(value=0.5, low=0.4, high=0.6),
        truth_score=nothing,
        floor_f1=0.25,
    )
    images = ImageSection(
        num_studies=64,
        own_f1=0.7,
        rows=(
            ImageRow(
                label="all grey",
                f1=0.2,
                loss=Estimate(value=0.5, low=0.45, high=0.55),
                unchanged=Rate(hits=3, of=64, meaning="same"),
            ),
        ),
    )
    empty = replace(ap, name="nobody", num_studies=0, num_patients=0, num_positive=0)
    html = render(FINE, slices=(ap, empty), images=images)
    text = " ".join(" ".join(Page(html).texts).split())
    assert "age > 60 AND sex = '<F>' 0.500 [0.400, 0.600] nothing to count 0.250 31 20 12" in text
    assert "nobody no study 0 0 0" in text
    assert "all grey 0.200 +0.500 [+0.450, +0.550] 4.7% 3 of 64" in text
    links = [link["href"] for link in Page(html).all("a")]
    assert {"#slices", "#images"} <= set(links)
    without = [link["href"] for link in Page(render(FINE)).all("a")]
    assert not {"#slices", "#images"} & set(without)
