"""The page of written reports: what it shows, every text escaped, and nothing that can run but its own script."""

import base64
import hashlib
import re
from dataclasses import replace

import numpy as np
import pytest

from tests.core.pages.test_perception_page import Page
from tests.core.toy_corpus import draw
from trrg_core.clue import Clue, KnownFindings
from trrg_core.evidence import gather_evidence
from trrg_core.generation.film_reading import ReadFilm, RejectedFilm
from trrg_core.generation.given_clues import GivenClue, parse_given_clues
from trrg_core.generation.heat_map import HeatMap
from trrg_core.generation.report_writer import WrittenStudy
from trrg_core.labels import load_label_set
from trrg_core.pages.written_page import WrittenPage, render_written
from trrg_core.report.parser import ReportParser

HOSTILE = "<script>alert(1)</script> \"quoted' </article> {{ 7*7 }} <img src=x onerror=alert(1)>"
CLUES = (
    Clue(observation="Pleural Effusion", probability=0.9, threshold=0.4, left=0.85, right=0.1),
    Clue(observation="Cardiomegaly", probability=0.8, threshold=0.5),
    Clue(observation="Pneumothorax", probability=0.1, threshold=0.4, left=0.1, right=0.1),
)


def study(report: str = "No pneumothorax. Right pleural effusion.", **changed: object) -> WrittenStudy:
    label_set = load_label_set("chexpert14")
    parsed = ReportParser(label_set).parse(report)
    heat = np.linspace(-0.2, 0.3, 32, dtype=np.float32).reshape(2, 4, 4)
    films = tuple(
        ReadFilm(name=f"{view}.jpg", view_position=view, jpeg=b"small", picture=draw(n, "e"))
        for n, view in enumerate(("PA", ""))
    )
    made = WrittenStudy(
        study_id="s1",
        films=films,
        report=report,
        parsed=parsed,
        clues=CLUES,
        evidence=gather_evidence(parsed, clues=CLUES, label_set=label_set, has_prior=None),
        heat_maps=(
            HeatMap(finding="Pleural Effusion", values_VHW=heat),
            HeatMap(finding="Cardiomegaly", values_VHW=heat - 1),
        ),
    )
    return replace(made, **changed)


def unread(name: str) -> tuple[ReadFilm, ...]:
    return (ReadFilm(name=name, view_position="", jpeg=b"", picture=b""),)


def page(*studies: WrittenStudy, rejected: tuple[RejectedFilm, ...] = ()) -> WrittenPage:
    return WrittenPage(title="Generated reports", model="models:/m/1", studies=studies, rejected=rejected)


def test_report_evidence_clues_and_heat_maps_are_shown() -> None:
    shown = Page(render_written(page(study())))
    assert "Generated text, not for clinical use." in shown.text
    assert "Written by models:/m/1" in shown.text
    assert "supported" in shown.text
    assert "unsupported" in shown.text
    assert "Not mentioned, though the clues show it: Cardiomegaly" in shown.text
    assert "right 0.10, left 0.85" in shown.text
    assert "Cardiomegaly no patch agrees" in shown.text
    layers = shown.all("img", "heat")
    assert [layer["data-heat"] for layer in layers] == ["0", "1", "0", "1"]
    assert ["hidden" in layer for layer in layers] == [False, True, False, True]
    assert "view unknown" in shown.text


def test_the_heat_map_of_a_finding_below_its_threshold_is_not_shown_at_first() -> None:
    heat = study().heat_maps[0]
    shown = Page(render_written(page(study(heat_maps=(replace(heat, finding="Pneumothorax"),)))))
    assert "Pneumothorax below its threshold" in shown.text
    assert all("hidden" in layer for layer in shown.all("img", "heat"))
    checked = [choice for choice in shown.all("input") if "checked" in choice]
    assert [choice["value"] for choice in checked] == [""]
    assert shown.all("input")
    assert not Page(render_written(page(study(heat_maps=())))).all("input")


def test_films_that_were_not_read_and_images_set_aside_are_named() -> None:
    bad = RejectedFilm(name="cut.jpg", reason="jpeg_truncated", message="Premature end")
    shown = Page(render_written(page(study(unread=unread("third.jpg")), rejected=(bad,))))
    assert "takes 2 views at most: third.jpg" in shown.text
    assert "cut.jpg jpeg_truncated Premature end" in shown.text
    assert "No study to show" in Page(render_written(page(rejected=(bad,)))).text


FINDINGS = KnownFindings(
    observations=("Pleural Effusion", "Pneumothorax", HOSTILE),
    sided=("Pleural Effusion",),
    graded=("Pleural Effusion",),
)


def test_a_person_may_say_what_holds_of_each_finding_that_the_model_can_be_given() -> None:
    shown = Page(render_written(replace(page(study()), findings=FINDINGS)))
    labels = [choice["aria-label"] for choice in shown.all("select")]
    effusion = [f"Pleural Effusion: {what}" for what in ("what you say", "side", "degree")]
    assert labels == [*effusion, "Pneumothorax: what you say"]
    assert [item["data-finding"] for item in shown.all("li") if "data-finding" in item] == [
        "Pleural Effusion",
        "Pneumothorax",
    ]
    # a file that is kept has no choice that does nothing: the script of the server's page shows them
    hidden = [
        *shown.all("span", "says"),
        *shown.all("span", "how"),
        *shown.all("div", "again"),
        *shown.all("p", "correct"),
    ]
    assert len(hidden) == 2 * 2 + 2
    assert all("hidden" in part for part in hidden)
    # every word is one that the server reads
    words = [option["value"] for option in shown.all("option") if option["value"]]
    assert all(parse_given_clues([f"Pleural Effusion={word}"], FINDINGS) for word in words)
    assert not Page(render_written(page(study()))).all("select")


@pytest.mark.parametrize(
    ("words", "chosen"),
    [
        ("absent", ["absent"]),
        ("present", ["present"]),
        ("right", ["present", "right"]),
        ("bilateral moderate", ["present", "bilateral", "moderate"]),
    ],
)
def test_what_a_person_gave_is_marked_and_can_be_taken_back(words: str, chosen: list[str]) -> None:
    given = parse_given_clues([f"Pleural Effusion={words}"], FINDINGS)
    shown = Page(render_written(replace(page(study(given=given)), findings=FINDINGS)))
    assert "Revised for what a person gave: Pleural Effusion." in shown.text
    assert "Pleural Effusion given by a person right 0.10, left 0.85" in shown.text
    assert shown.text.count("given by a person") == 2  # once in the words on how to read the page
    assert [option["value"] for option in shown.all("option") if "selected" in option and option["value"]] == chosen
    # of the two sentences, that on the effusion
    assert shown.text.count("by a given clue") == 1


def test_no_text_becomes_markup_and_only_our_script_may_run() -> None:
    bad = RejectedFilm(name=HOSTILE, reason=HOSTILE, message=HOSTILE)
    clues = (*CLUES, Clue(observation=HOSTILE, probability=0.9, threshold=0.4))
    evidence = replace(study().evidence, clues=clues, sentences=study(HOSTILE).evidence.sentences)
    given = (GivenClue(observation=HOSTILE, is_present=True),)
    written = study(HOSTILE, study_id=HOSTILE, unread=unread(HOSTILE), given=given, clues=clues, evidence=evidence)
    html = render_written(replace(page(written, rejected=(bad,)), model=HOSTILE, findings=FINDINGS))
    shown = Page(html)
    assert len(shown.all("script")) == 1
    assert not [attributes for _, attributes in shown.tags if any(name.startswith("on") for name in attributes)]
    assert all((image["src"] or "").startswith("data:image/") for image in shown.all("img"))
    assert not re.search(r"(src|href)=\"?https?:", html)
    policy = next(one["content"] for one in shown.all("meta") if one.get("http-equiv") == "Content-Security-Policy")
    for tag in ("style", "script"):
        (source,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "style=" not in html
