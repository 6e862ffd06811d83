"""Rows of `shards`: the target text, the facts of its sentences, small images, and why a study has no row."""

import numpy as np
import pytest

from trrg_core.config.settings import ShardConfig
from trrg_core.errors import DataError
from trrg_core.imaging.decode import decode_image, encode_jpeg
from trrg_core.labels import load_label_set
from trrg_core.report.flips import SentenceFlipper
from trrg_core.report.parser import ReportParser
from trrg_core.tables.rows import shard_row as codec
from trrg_core.tables.rows.shard_row import stated_facts

CONFIG = ShardConfig(section="findings", max_side_px=64)
PARSER = ReportParser("chexpert14")
FLIPPER = SentenceFlipper(PARSER)


def shard_row(of_study: dict, parsed: dict | None, config: ShardConfig, prior: dict | None = None) -> dict:
    labels = load_label_set("chexpert14")
    return codec.shard_row(of_study, parsed, config, flipper=FLIPPER, label_set=labels, prior=prior)


def mention(observations: list[str], assertion: str = "PRESENT", **of: object) -> dict:
    """A mention as it is in a row of `reports`."""
    finding = {"finding": "pleural_effusion", "start": 0, "end": 1, "rule": "toy", "cue": ""}
    details = {"change": "", "laterality": "", "severity": "", "anatomy": "", "size": ""}
    deciding = {"historical": False, "hypothetical": False, "experiencer": "patient"}
    return {**finding, **details, "observations": observations, "assertion": assertion, **deciding, **of}


def image(height: int, width: int, view: str = "PA") -> dict:
    pixels = np.add.outer(np.arange(height), np.arange(width)).astype(np.uint8)
    return {"view_position": view, "rows": height, "columns": width, "jpeg": encode_jpeg(pixels)}


def study(**other: object) -> dict:
    ids = {"subject_id": "1", "study_id": "2", "split": "train"}
    return {
        **ids,
        "study_date": "20300102",
        "prior_study_id": "",
        "sex": "F",
        "age_years": 62,
        "report": "",
        "images": [image(40, 30)],
        **other,
    }


def report(**other: object) -> dict:
    effusion = mention(["Pleural Effusion"], start=13, end=21, laterality="left", severity="small")
    sentences = [
        {"text": "Small\n  left effusion.", "start": 0, "end": 22, "section": "findings", "mentions": [effusion]},
        {"text": "Comparison is made.", "start": 24, "end": 43, "section": "findings", "mentions": []},
    ]
    columns = {"findings": "Small\n  left effusion.  Comparison is made.", "impression": "", "labels": {"edema": None}}
    return {"sections": [], "sentences": sentences, **columns, **other}


def section(name: str, start: int, end: int) -> dict:
    return {"name": name, "start": start, "end": end, "rule": "toy"}


def test_a_row_tells_why_the_study_was_made_and_what_the_earlier_one_showed() -> None:
    text = "HISTORY: asthma\nINDICATION:  Cough,\n fever."
    sections = [section("history", 8, 15), section("indication", 27, len(text))]
    prior = {"study_id": "1", "findings": "Clear\n lungs.", "impression": "Normal."}
    of_study = study(report=text, prior_study_id="1")
    row = shard_row(of_study, report(sections=sections), CONFIG, prior)
    assert (row["indication"], row["prior_study_id"], row["prior_report"]) == ("Cough, fever.", "1", "Clear lungs.")
    assert shard_row(of_study, report(sections=sections[:1]), CONFIG)["indication"] == "asthma"


def test_without_a_reason_or_an_earlier_report_the_context_is_empty() -> None:
    row = shard_row(study(), report(), CONFIG)
    assert (row["indication"], row["prior_study_id"], row["prior_report"]) == ("", "", "")
    no_findings = {"study_id": "1", "findings": "", "impression": "Normal."}
    assert shard_row(study(), report(), CONFIG, no_findings)["prior_report"] == ""


def test_a_row_has_the_target_text_and_the_sentences_that_state_something() -> None:
    row = shard_row(study(), report(), CONFIG)
    assert row["report"] == "Small left effusion. Comparison is made."
    (sentence,) = row["sentences"]
    assert sentence["text"] == "Small left effusion."
    assert sentence["facts"] == [
        {
            "observation": "Pleural Effusion",
            "assertion": "PRESENT",
            "laterality": "left",
            "severity": "small",
            "anatomy": "",
        }
    ]
    flips = {flip["kind"]: flip["text"] for flip in sentence["flips"]}
    assert flips["side"] == "Small right effusion."
    assert set(flips) == {"polarity", "side", "severity"}
    assert {flip["observation"] for flip in sentence["flips"]} == {"Pleural Effusion"}
    assert (row["sex"], row["age_years"], row["has_prior"]) == ("F", 62, False)


@pytest.mark.parametrize(
    ("date", "prior", "has_prior"), [("20300102", "", False), ("20300102", "1", True), ("", "", None), ("", "1", True)]
)
def test_without_a_date_it_is_unknown_whether_there_is_a_prior(date, prior, has_prior) -> None:
    row = shard_row(study(study_date=date, prior_study_id=prior), report(), CONFIG)
    assert row["has_prior"] is has_prior


def test_an_image_is_shrunk_only_when_it_is_larger_than_asked() -> None:
    images = [image(40, 30), image(200, 100, "LATERAL")]
    views = shard_row(study(images=images), report(), CONFIG)["views"]
    assert views[0]["jpeg"] == images[0]["jpeg"]
    assert decode_image(views[1]["jpeg"]).shape == (64, 32)
    assert [view["view_position"] for view in views] == ["PA", "LATERAL"]


@pytest.mark.parametrize(
    ("of_study", "parsed", "section", "reason"),
    [
        ({"images": []}, report(), "findings", "no_image"),
        ({}, None, "findings", "no_parsed_report"),
        ({}, report(), "impression", "no_impression"),
        ({}, report(findings=" \n"), "findings+impression", "no_findings_or_impression"),
    ],
)
def test_a_study_that_cannot_be_learned_from_has_its_reason(
    of_study: dict, parsed: dict | None, section: str, reason: str
) -> None:
    with pytest.raises(DataError) as caught:
        shard_row(study(**of_study), parsed, ShardConfig(section=section))
    assert caught.value.reason == reason
    assert "ffusion" not in str(caught.value)


def test_sections_are_joined_in_the_order_asked() -> None:
    row = shard_row(study(), report(impression="No  change."), ShardConfig(section="findings+impression"))
    assert row["report"] == "Small left effusion. Comparison is made. No change."


def test_facts_are_of_this_patient_now_and_each_is_stated_once() -> None:
    mentions = [
        mention(["Edema"], "ABSENT"),
        mention(["Edema", "Lung Opacity"], "ABSENT"),
        mention(["Edema"], "PRESENT"),
        mention(["Pneumonia"], historical=True),
        mention(["Pneumonia"], hypothetical=True),
        mention(["Pneumonia"], experiencer="family"),
    ]
    assert [(fact["observation"], fact["assertion"]) for fact in stated_facts(mentions)] == [
        ("Edema", "ABSENT"),
        ("Lung Opacity", "ABSENT"),
        ("Edema", "PRESENT"),
    ]
