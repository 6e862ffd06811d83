"""Rows of `shards`: the target text, the facts of its sentences, small images, and why a study has no row."""

import numpy as np
import pytest

from trrg_core.config.settings import ShardConfig
from trrg_core.errors import DataError
from trrg_core.imaging.decode import decode_image, encode_jpeg
from trrg_core.tables.rows.shard_row import shard_row, stated_facts

CONFIG = ShardConfig(section="findings", max_side_px=64)


def mention(observations: list[str], assertion: str = "PRESENT", **of: object) -> dict:
    deciding = {"historical": False, "hypothetical": False, "experiencer": "patient"}
    return {"observations": observations, "assertion": assertion, **deciding, **of}


def image(height: int, width: int, view: str = "PA") -> dict:
    pixels = np.add.outer(np.arange(height), np.arange(width)).astype(np.uint8)
    return {"view_position": view, "rows": height, "columns": width, "jpeg": encode_jpeg(pixels)}


def study(**other: object) -> dict:
    ids = {"subject_id": "1", "study_id": "2", "split": "train"}
    return {**ids, "prior_study_id": "", "sex": "F", "age_years": 62, "images": [image(40, 30)], **other}


def report(**other: object) -> dict:
    sentences = [
        {"text": "Small\n effusion.", "mentions": [mention(["Pleural Effusion"])]},
        {"text": "Comparison is made.", "mentions": []},
    ]
    columns = {"findings": "Small\n effusion.  Comparison is made.", "impression": "", "labels": {"edema": None}}
    return {"sentences": sentences, **columns, **other}


def test_a_row_has_the_target_text_and_the_sentences_that_state_something() -> None:
    row = shard_row(study(), report(), CONFIG)
    assert row["report"] == "Small effusion. Comparison is made."
    fact = {"observation": "Pleural Effusion", "assertion": "PRESENT"}
    assert row["sentences"] == [{"text": "Small effusion.", "facts": [fact]}]
    assert (row["sex"], row["age_years"], row["has_prior"]) == ("F", 62, False)


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
    assert row["report"] == "Small effusion. Comparison is made. No change."


def test_facts_are_of_this_patient_now_and_each_is_told_once() -> None:
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
