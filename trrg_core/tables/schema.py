"""The columns of every table, as pyarrow schemas; each row is of one study, but in `rejects`.

studies -> reports -> shards -> predictions; a slice selects rows of shards; rejected rows are in `rejects`.
"""

from typing import Any

import pyarrow as pa

from trrg_core.labels import LabelSet, column_name

TEXT = pa.string()
BYTES: pa.DataType = pa.binary()
AGE: pa.DataType = pa.int16()

IMAGE = pa.struct(
    [
        ("dicom_id", TEXT),
        ("view_position", TEXT),
        ("path", TEXT),
        ("sha256", TEXT),
        ("rows", pa.int32()),
        ("columns", pa.int32()),
        ("jpeg", pa.binary()),
        ("kept_tags", pa.list_(TEXT)),
        ("text_rows", pa.int16()),
    ]
)

# `report_flags`: repairs of the text; `report_signature`: for `near_duplicates`; `source_stamp`: changes with the study
STUDIES = pa.schema(
    [
        ("subject_id", TEXT),
        ("study_id", TEXT),
        ("split", TEXT),
        ("study_date", TEXT),
        ("study_time", TEXT),
        ("prior_study_id", TEXT),
        ("sex", TEXT),
        ("age_years", AGE),
        ("report_path", TEXT),
        ("report_sha256", TEXT),
        ("report", TEXT),
        ("report_flags", pa.list_(TEXT)),
        ("report_signature", BYTES),
        ("source_stamp", TEXT),
        ("images", pa.list_(IMAGE)),
    ]
)

MENTION = pa.struct(
    [
        ("finding", TEXT),
        ("observations", pa.list_(TEXT)),
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("assertion", TEXT),
        ("rule", TEXT),
        ("cue", TEXT),
        ("historical", pa.bool_()),
        ("hypothetical", pa.bool_()),
        ("experiencer", TEXT),
        ("change", TEXT),
        ("laterality", TEXT),
        ("severity", TEXT),
        ("anatomy", TEXT),
        ("size", TEXT),
        ("position", TEXT),
    ]
)
SENTENCE = pa.struct(
    [
        ("text", TEXT),
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("section", TEXT),
        ("mentions", pa.list_(MENTION)),
    ]
)
SECTION = pa.struct([("name", TEXT), ("start", pa.int32()), ("end", pa.int32()), ("rule", TEXT)])

# laterality, severity and anatomy are empty where the sentence does not state them
FACT = pa.struct(
    [("observation", TEXT), ("assertion", TEXT), ("laterality", TEXT), ("severity", TEXT), ("anatomy", TEXT)]
)
# the sentence with one fact turned round (`trrg_core.report.flips`), of which observation, and how
FLIP = pa.struct([("kind", TEXT), ("observation", TEXT), ("text", TEXT)])
# `in_report`: the sentence is of the target section, so that stage 2 learns it
SHARD_SENTENCE = pa.struct(
    [("text", TEXT), ("facts", pa.list_(FACT)), ("flips", pa.list_(FLIP)), ("in_report", pa.bool_())]
)
VIEW = pa.struct([("view_position", TEXT), ("jpeg", pa.binary())])

# raw scores of stage 1 by study; not a stored table. Side scores are left and right in turn,
# null where the study shows no side of the observation; degree scores are slight, moderate and severe in turn
PAIR_SCORE = pa.struct(
    [
        ("observation", TEXT),
        ("kind", TEXT),
        ("source", TEXT),
        ("assertion", pa.int8()),
        ("margin", pa.float64()),
        ("other_image_margin", pa.float64()),
    ]
)
STUDY_SCORES = pa.schema(
    [
        ("study_id", TEXT),
        ("subject_id", TEXT),
        ("scores", pa.list_(pa.float64())),
        ("side_scores", pa.list_(pa.float64())),
        ("stated", pa.list_(pa.int8())),
        ("sides", pa.list_(pa.int8())),
        ("degree_scores", pa.list_(pa.float64())),
        ("degrees", pa.list_(pa.int8())),
        ("pairs", pa.list_(PAIR_SCORE)),
    ]
)

# left and right are null where the observation has no side, degrees (three probabilities) where it is not graded
CLUE = pa.struct(
    [
        ("observation", TEXT),
        ("probability", pa.float32()),
        ("left", pa.float32()),
        ("right", pa.float32()),
        ("degrees", pa.list_(pa.float32())),
    ]
)

PREDICTIONS = pa.schema(
    [
        ("subject_id", TEXT),
        ("study_id", TEXT),
        ("split", TEXT),
        ("hypothesis", TEXT),
        ("clues", pa.list_(CLUE)),
        ("neighbour_study_id", TEXT),
    ]
)

WEIGHTS: pa.DataType = pa.list_(pa.float32())
REPEAT: pa.DataType = pa.int16()
# one row per train study that is in the slice; one weight in 0..1 per sentence of its shard row, in that order
SLICES = pa.schema(
    [
        ("subject_id", TEXT),
        ("study_id", TEXT),
        ("split", TEXT),
        ("repeat", REPEAT),
        ("sentence_weights", WEIGHTS),
    ]
)

REJECTS = pa.schema(
    [
        ("job", TEXT),
        ("fingerprint", TEXT),
        ("reason", TEXT),
        ("subject_id", TEXT),
        ("study_id", TEXT),
        ("dicom_id", TEXT),
        ("path", TEXT),
        ("detail", TEXT),
    ]
)


def labels_type(label_set: LabelSet) -> pa.StructType:
    """One nullable int8 per observation: 1, 0, -1, or null where the report does not mention it."""
    return pa.struct([pa.field(column_name(name), pa.int8()) for name in label_set.observations])


def reports_schema(label_set: LabelSet) -> pa.Schema:
    """Parsed reports: sections, sentences with mentions, and the labels of `label_set`."""
    fields: list[pa.Field[Any]] = [
        pa.field("subject_id", TEXT),
        pa.field("study_id", TEXT),
        pa.field("split", TEXT),
        pa.field("parser_id", TEXT),
        pa.field("sections", pa.list_(SECTION)),
        pa.field("sentences", pa.list_(SENTENCE)),
        pa.field("labels", labels_type(label_set)),
        pa.field("findings", TEXT),
        pa.field("impression", TEXT),
        pa.field("usable", pa.bool_()),
    ]
    return pa.schema(fields)


def shards_schema(label_set: LabelSet) -> pa.Schema:
    """What training reads: small images, the target report, its sentences with their facts, and labels.

    `indication` and `prior_report`, the target section of the earlier study, are empty where there is none.
    """
    fields: list[pa.Field[Any]] = [
        pa.field("subject_id", TEXT),
        pa.field("study_id", TEXT),
        pa.field("split", TEXT),
        pa.field("has_prior", pa.bool_()),
        pa.field("prior_study_id", TEXT),
        pa.field("indication", TEXT),
        pa.field("prior_report", TEXT),
        pa.field("sex", TEXT),
        pa.field("age_years", AGE),
        pa.field("views", pa.list_(VIEW)),
        pa.field("report", TEXT),
        pa.field("sentences", pa.list_(SHARD_SENTENCE)),
        pa.field("labels", labels_type(label_set)),
    ]
    return pa.schema(fields)
