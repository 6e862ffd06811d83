"""Shard rows for the tests of slicing: ids, labels and the facts of sentences, no report and no image."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from trrg_core.label_stats.label_table import LabelTable, label_table
from trrg_core.labels import LabelSet, column_name
from trrg_core.tables.schema import shards_schema

OBSERVATIONS = ("Edema", "Pneumothorax", "Pleural Effusion")
LABEL_SET = LabelSet(name="three", observations=OBSERVATIONS, findings={})
SCHEMA = shards_schema(LABEL_SET)
# one letter an assertion, so that a sentence reads "Edema+ Pneumothorax-"
_SAID = {"+": "PRESENT", "-": "ABSENT", "?": "UNCERTAIN"}
_LABEL = {"+": 1, "-": 0, "?": -1}


def study(
    study_id: str,
    labels: str = "",
    *,
    patient: str = "",
    split: str = "train",
    views: Sequence[str] = ("PA",),
    sentences: Sequence[str] | None = None,
    words: int = 3,
    sex: str = "",
    age: int | None = None,
    elsewhere: Sequence[str] = (),
) -> dict[str, Any]:
    """A shard row; `labels` as in "Edema+ Pneumothorax-", `sentences` likewise, by default one per label.

    Sentences `elsewhere` are of a section that the writer does not learn.
    """
    stated = _parse(labels)
    sentence_texts = labels.split(", ") if sentences is None and labels else (sentences or [])
    return {
        "subject_id": patient or f"p-{study_id}",
        "study_id": study_id,
        "split": split,
        "has_prior": False,
        "sex": sex,
        "age_years": age,
        "views": [{"view_position": view, "jpeg": b"film"} for view in views],
        "report": " ".join(["word"] * words),
        "sentences": [
            *({"text": "invented", "facts": _facts(text), "in_report": True} for text in sentence_texts),
            *({"text": "other", "facts": _facts(text), "in_report": False} for text in elsewhere),
        ],
        "labels": {column_name(name): _LABEL[sign] for name, sign in stated},
    }


def table_of(rows: Sequence[Mapping[str, Any]]) -> LabelTable:
    """The label table of some studies."""
    return label_table(pa.Table.from_pylist(list(rows), schema=SCHEMA), OBSERVATIONS)


def _facts(text: str) -> list[dict[str, str]]:
    return [{"observation": name, "assertion": _SAID[sign]} for name, sign in _parse(text)]


def _parse(text: str) -> list[tuple[str, str]]:
    pairs = []
    for word in text.replace(",", " ").replace("Pleural Effusion", "Effusion").split():
        name = "Pleural Effusion" if word[:-1] == "Effusion" else word[:-1]
        assert name in OBSERVATIONS, word
        pairs.append((name, word[-1]))
    return pairs
