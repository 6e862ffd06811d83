"""The page of what stage 1 sees: every text escaped, missing values named, nothing that can run but its own script."""

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from scipy.special import softmax

from trrg_core.labels import NOT_STATED, SIDE_LEFT, SIDE_RIGHT, STATED_ABSENT, STATED_PRESENT
from trrg_core.metrics.perception_scores import score_perception, split_scores
from trrg_core.pages.perception_page import PerceptionPage, render_perception
from trrg_core.pages.perception_view import draw_reliability, finding_levels, view_case
from trrg_core.pages.seen_study import SeenFilm, SeenFinding, SeenStudy
from trrg_core.pages.shown_film import Film

HOSTILE = "<script>alert(1)</script> \"quoted' </article> {{ 7*7 }} <img src=x onerror=alert(1)>"
OBSERVATIONS = ("Pleural Effusion", "Edema <b>")


class Page(HTMLParser):
    """Tags with their attributes, and all text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, tag: str, css_class: str = "") -> list[dict[str, str | None]]:
        wanted = set(css_class.split())
        return [found for name, found in self.tags if name == tag and wanted <= set((found.get("class") or "").split())]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def row(number: int, score: float, stated: int, side: int, side_scores: tuple[float | None, float | None]) -> dict:
    pairs = [{"observation": "Edema", "kind": "side", "source": "flip", "assertion": 1, "margin": score}]
    pairs[0]["other_image_margin"] = 1.0 if number == 1 else -1.0
    return {
        "study_id": f"s{number}",
        "subject_id": f"p{number}",
        "scores": [score, -score],
        "side_scores": [*side_scores, None, None],
        "stated": [stated, STATED_ABSENT],
        "sides": [side, 0],
        "degree_scores": [1.0, 0.0, 0.0] * 2,
        "degrees": [int(stated == STATED_PRESENT), 0],
        "pairs": pairs,
    }


ROWS = [
    row(1, 2.0, STATED_PRESENT, SIDE_LEFT, (1.0, -1.0)),
    row(2, 1.0, STATED_PRESENT, SIDE_RIGHT, (1.0, -1.0)),
    row(3, -1.0, STATED_ABSENT, 0, (None, None)),
    row(4, -2.0, NOT_STATED, 0, (0.5, 0.0)),
]


def finding(name: str = "Pleural Effusion", **changed: object) -> SeenFinding:
    values: dict = {
        "observation": name,
        "probability": 0.8,
        "threshold": 0.4,
        "side_probabilities": (0.7, 0.1),
        "stated": STATED_PRESENT,
        "sides": SIDE_LEFT,
    }
    return SeenFinding(**values | changed)


STUDY = SeenStudy(
    study_id="s1",
    report="Left pleural effusion.",
    films=(SeenFilm(film=Film(jpeg=b"\xff\xd8 invented", view_position="PA"), heat_png=b"\x89PNG"),),
    findings=(finding(), finding("Edema <b>", side_probabilities=None, sides=0)),
    heat_finding="Pleural Effusion",
    heat_max=0.25,
    has_frontal=True,
)


def page(rows: list[dict] = ROWS, studies: tuple[SeenStudy, ...] = (STUDY,), **changed: object) -> PerceptionPage:
    split = split_scores(rows, 2)
    scores = score_perception(
        split,
        1 / (1 + np.exp(-split.score_NO)),
        1 / (1 + np.exp(-split.side_score_NO2)),
        softmax(split.degree_score_NO3, axis=-1),
        observations=OBSERVATIONS,
        seed=0,
    )
    made = PerceptionPage(
        title="What stage 1 sees",
        split="test",
        num_studies=len(rows),
        num_patients=len(rows),
        is_zero_shot=False,
        scores=scores,
        studies=studies,
        lineage={"run": "pretrain-1"},
    )
    return replace(made, **changed)


def test_scores_and_studies_are_shown_with_numbers() -> None:
    shown = Page(render_perception(page()))
    assert "n = 4 studies of 4 patients, split test; supervised perception" in shown.text
    assert "The mean AUROC of its findings is 1.000" in shown.text
    assert "the likelier side is the stated one in 50% of 2 one-sided findings" in shown.text
    assert "states a side , the false one is the same sentence with the other side flip_side 50.0 %" in shown.text
    assert "of 4 pairs; other image 25.0 %" in shown.text
    assert shown.text.count("no pair") == 6
    assert "right 0.10 left 0.70 present, left agrees side agrees" in shown.text
    assert "Left and right are the patient's" in shown.text
    assert "It is no proof" in shown.text
    assert "Heat map of Pleural Effusion (0.80) agreement up to 0.25" in shown.text
    assert [image["src"][:22] for image in shown.all("img")] == ["data:image/jpeg;base64", "data:image/png;base64,"]
    assert len(shown.all("circle", "point")) == len(draw_reliability(page().scores.detection.reliability)) > 2


@pytest.mark.parametrize(("is_zero_shot", "words"), [(True, "scores are zero-shot"), (False, "not zero-shot")])
def test_the_page_states_whether_labels_trained_the_prompts(is_zero_shot: bool, words: str) -> None:
    assert words in Page(render_perception(page(is_zero_shot=is_zero_shot))).text


def test_a_finding_without_a_side_has_no_side_and_no_side_accuracy() -> None:
    shown = Page(render_perception(page()))
    assert "Edema <b> 0.80 from 0.40 no side present agrees" in shown.text
    assert finding_levels(page().scores.detection.findings[1])["side_accuracy"] == 0
    lateral = replace(STUDY, findings=(finding(side_probabilities=None, sides=0),), has_frontal=False)
    assert "no frontal view present agrees" in Page(render_perception(page(studies=(lateral,)))).text


def test_an_empty_split_and_no_studies_are_a_page_too() -> None:
    shown = Page(render_perception(page(rows=[], studies=())))
    assert "No study of this split can be scored." in shown.text
    assert "no decision to count" in shown.text
    assert "No study to show." in shown.text
    assert not shown.all("circle", "point")


def test_a_study_without_radiographs_or_listed_findings_is_shown() -> None:
    nothing = replace(STUDY, films=(), findings=(finding(probability=0.1, stated=NOT_STATED, sides=0),), report="")
    shown = Page(render_perception(page(studies=(nothing,))))
    assert "no radiograph" in shown.text
    assert "no finding near its threshold, and none stated" in shown.text
    assert "empty report" in shown.text
    assert not shown.all("label", "switch")
    below = Page(render_perception(page(studies=(replace(nothing, films=STUDY.films, heat_max=-0.1),))))
    assert "Heat map of Pleural Effusion (0.10, below its threshold) no patch agrees" in below.text


@pytest.mark.parametrize(
    ("changed", "verdict", "side_verdict"),
    [
        ({}, "agrees", "side agrees"),
        ({"sides": SIDE_RIGHT}, "agrees", "other side"),
        ({"side_probabilities": (0.5, 0.5)}, "agrees", "other side"),
        ({"sides": SIDE_LEFT | SIDE_RIGHT}, "agrees", ""),
        ({"probability": 0.1}, "missed", ""),
        ({"stated": STATED_ABSENT, "sides": 0}, "disagrees", ""),
        ({"stated": NOT_STATED, "sides": 0}, "not confirmed", ""),
        ({"stated": NOT_STATED, "sides": 0, "probability": 0.3}, "below threshold", ""),
    ],
)
def test_perception_is_compared_with_the_report(changed: dict, verdict: str, side_verdict: str) -> None:
    (line,) = view_case(replace(STUDY, findings=(finding(**changed),))).lines
    assert (line.verdict, line.side_verdict) == (verdict, side_verdict)


def test_findings_far_below_their_threshold_are_left_out_unless_the_report_states_them() -> None:
    listed = view_case(
        replace(
            STUDY,
            findings=(
                finding(probability=0.1, stated=NOT_STATED),
                finding("Edema", probability=0.1),
                finding("Pneumonia", probability=0.1, stated=STATED_ABSENT),
                finding("Fracture", probability=0.27, stated=NOT_STATED),
            ),
        )
    ).lines
    assert [line.finding.observation for line in listed] == ["Fracture", "Edema"]


def test_markup_in_data_is_text_and_nothing_else_can_run() -> None:
    film = SeenFilm(film=Film(jpeg=b"GIF89a<script>", view_position=HOSTILE), heat_png=b"<script>")
    study = replace(
        STUDY,
        study_id=HOSTILE,
        report=HOSTILE,
        films=(film, replace(film, film=Film(jpeg=b"\xff\xd8", view_position=HOSTILE))),
        findings=(finding(HOSTILE),),
        heat_finding=HOSTILE,
    )
    text = render_perception(page(studies=(study,), title=HOSTILE, lineage={HOSTILE: HOSTILE}))
    shown = Page(text)
    assert len(shown.all("script")) == 1
    assert len(shown.all("article")) == 1
    assert not shown.all("b")
    assert len(shown.all("img")) == 2  # the film that is no JPEG is left out, with its heat map
    assert "{{ 7*7 }}" in text
    assert not [name for _, attributes in shown.tags for name in attributes if name.startswith("on")]
    assert not [name for _, attributes in shown.tags for name in attributes if name == "style"]
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.S)
    (policy,) = [one["content"] for one in shown.all("meta") if one.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in policy
    assert not re.search(r"https?://", text)
