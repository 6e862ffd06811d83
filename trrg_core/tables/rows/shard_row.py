"""Rows of `shards`: a row of `studies` and the row of `reports` of the same study, joined to what training reads."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from trrg_core.config.settings import ShardConfig
from trrg_core.errors import DataError
from trrg_core.imaging.decode import shrink_jpeg
from trrg_core.labels import LabelSet
from trrg_core.report.current_fact import is_current_fact
from trrg_core.report.flips import SentenceFlipper
from trrg_core.report.parsed import Sentence
from trrg_core.report.target_sentences import find_sentences
from trrg_core.tables.rows.report_row import parsed_report

Row = Mapping[str, Any]

_DETAILS = ("assertion", "laterality", "severity", "anatomy")

STUDY_COLUMNS = (
    "subject_id",
    "study_id",
    "split",
    "study_date",
    "prior_study_id",
    "sex",
    "age_years",
    "report",
    "images",
)
TARGET_COLUMNS = ("study_id", "findings", "impression")
REPORT_COLUMNS = (*TARGET_COLUMNS, "sections", "sentences", "labels")
_INDICATIONS = ("indication", "history")  # the first that a report has


def shard_row(
    study: Row,
    report: Row | None,
    config: ShardConfig,
    *,
    flipper: SentenceFlipper,
    label_set: LabelSet,
    prior: Row | None = None,
) -> dict[str, Any]:
    """One row of `shards`.

    Args:
        study: `STUDY_COLUMNS` of a row of `studies`.
        report: `REPORT_COLUMNS` of its row of `reports`; None when it has none.
        config: the target section and the largest image side.
        flipper: turns facts of sentences round, for hard negatives.
        label_set: which findings count towards which observation.
        prior: `TARGET_COLUMNS` of the row of `reports` of the earlier study; None when there is none.

    Raises:
        DataError: `no_image`, `no_parsed_report`, or `no_<section>` when the target section is empty.
    """
    if not study["images"]:
        raise DataError("no_image", "the study has no image to learn from")
    if report is None:
        raise DataError("no_parsed_report", "the study is not in the table of parsed reports")
    target = _target_text(report, config.section)
    if not target:
        reason = f"no_{config.section.replace('+', '_or_')}"
        raise DataError(reason, f"the report has no {config.section} text (shard.section)")
    sentences = [
        {"text": _one_line(row["text"]), "facts": facts, "flips": _flips(sentence, flipper, label_set)}
        for row, sentence in zip(report["sentences"], parsed_report(report).sentences, strict=True)
        if (facts := stated_facts(row["mentions"]))
    ]
    places = find_sentences(target, (str(sentence["text"]) for sentence in sentences))
    return {
        "subject_id": study["subject_id"],
        "study_id": study["study_id"],
        "split": study["split"],
        "has_prior": _has_prior(study),
        "prior_study_id": study["prior_study_id"],
        "indication": _indication(study["report"], report["sections"]),
        "prior_report": _target_text(prior, config.section) if prior else "",
        "sex": study["sex"],
        "age_years": study["age_years"],
        "views": [_view(image, config.max_side_px) for image in study["images"]],
        "report": target,
        "sentences": [{**sentence, "in_report": place >= 0} for sentence, place in zip(sentences, places, strict=True)],
        "labels": report["labels"],
    }


def _has_prior(study: Row) -> bool | None:
    """Whether the study has an earlier one; None, unknown, where its date is: no date is no proof of a first study."""
    if study["prior_study_id"]:
        return True
    return False if study["study_date"] else None


def stated_facts(mentions: Iterable[Row]) -> list[dict[str, str]]:
    """The current facts of a sentence, each once, in text order."""
    facts = {
        (observation, *(mention[name] for name in _DETAILS)): None
        for mention in mentions
        if is_current_fact(mention)
        for observation in mention["observations"]
    }
    return [dict(zip(("observation", *_DETAILS), fact, strict=True)) for fact in facts]


def _flips(sentence: Sentence, flipper: SentenceFlipper, label_set: LabelSet) -> list[dict[str, str]]:
    return [
        {"kind": flip.kind, "observation": observation, "text": _one_line(flip.text)}
        for flip in flipper.flips(sentence)
        for observation in label_set.observations_of(flip.finding)
    ]


def _target_text(report: Row, section: str) -> str:
    """The text of the target section on one line; empty when the report has none."""
    return " ".join(text for name in section.split("+") if (text := _one_line(report[name])))


def _indication(text: str, sections: Sequence[Row]) -> str:
    """Why the study was made, on one line; empty when the report does not say."""
    found = {row["name"]: text[row["start"] : row["end"]] for row in sections}
    return next((_one_line(found[name]) for name in _INDICATIONS if name in found), "")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _view(image: Row, max_side_px: int) -> dict[str, Any]:
    jpeg = image["jpeg"]
    if max(image["rows"], image["columns"]) > max_side_px:
        jpeg = shrink_jpeg(jpeg, max_side_px)
    return {"view_position": image["view_position"], "jpeg": jpeg}
