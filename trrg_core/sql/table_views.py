"""What each view of a catalogue holds, as a SELECT over the Parquet files of one version: no report text and no pixels.

Without text no message of an error can quote a report, and without images no query reads gigabytes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from trrg_core.tables.schema import REJECTS

TEXT, NUMBER = "VARCHAR", "INTEGER"
_WHO = {
    "subject_id": (TEXT, "patient"),
    "study_id": (TEXT, "study"),
    "split": (TEXT, "train, validate or test"),
}
_MENTION_TEXTS = (
    *("assertion", "rule", "cue", "experiencer", "change"),
    *("laterality", "severity", "anatomy", "size", "position"),
)


@dataclass(frozen=True, kw_only=True)
class View:
    """One kind of view.

    Attributes:
        table: of whose versions it is.
        content: what a row is.
        columns: name -> (DuckDB type, meaning).
        select: (source, expressions) -> its SELECT; an expression is NULL where the version has no such column.
    """

    table: str
    content: str
    columns: Mapping[str, tuple[str, str]]
    select: Callable[[str, Mapping[str, str], Any], str]


def view_sql(view: View, paths: Sequence[str], schema: pa.Schema) -> str:
    """The SELECT of a view over the files of a version; without files, over no rows."""
    if not paths:
        nulls = ", ".join(f"CAST(NULL AS {kind}) AS {quote_name(name)}" for name, (kind, _) in view.columns.items())
        return f"SELECT {nulls} WHERE false"
    files = ", ".join(quote_text(path) for path in paths)
    return view.select(f"read_parquet([{files}])", _expressions(view, schema), schema)


def quote_name(name: str) -> str:
    """A name of SQL."""
    return '"' + name.replace('"', '""') + '"'


def quote_text(text: str) -> str:
    """A text of SQL."""
    return "'" + text.replace("'", "''") + "'"


def _expressions(view: View, schema: pa.Schema) -> dict[str, str]:
    known = set(schema.names)
    return {
        name: quote_name(name) if name in known else f"CAST(NULL AS {kind})" for name, (kind, _) in view.columns.items()
    }


def _plain(source: str, expressions: Mapping[str, str], schema: pa.Schema) -> str:
    del schema
    columns = ", ".join(f"{expression} AS {quote_name(name)}" for name, expression in expressions.items())
    return f"SELECT {columns} FROM {source}"


def _labels(source: str, expressions: Mapping[str, str], schema: pa.Schema) -> str:
    del expressions
    kind: Any = schema.field("labels").type
    names = [kind.field(at).name for at in range(kind.num_fields)]
    observations = ", ".join(map(quote_text, names))
    values = ", ".join(f"labels.{quote_name(name)}" for name in names)
    return (
        f"SELECT subject_id, study_id, split, unnest([{observations}]) AS observation, "
        f"CAST(unnest([{values}]) AS INTEGER) AS label FROM {source}"
    )


def _mentions(source: str, expressions: Mapping[str, str], schema: pa.Schema) -> str:
    del expressions
    sentence: Any = schema.field("sentences").type.value_type
    mention: Any = sentence.field("mentions").type.value_type
    known = {mention.field(at).name for at in range(mention.num_fields)}
    fields = [
        f"mention.{quote_name(name)} AS {quote_name(name)}" if name in known else f"CAST(NULL AS {kind}) AS {name}"
        for name, (kind, _) in _MENTION_COLUMNS.items()
    ]
    # generate_subscripts is unnested in step with the sentences
    return (
        f"SELECT subject_id, study_id, split, sentence, section, {', '.join(fields)} FROM ("
        "SELECT subject_id, study_id, split, sentence, stated.section AS section, unnest(stated.mentions) AS mention "
        "FROM (SELECT subject_id, study_id, split, unnest(sentences) AS stated, "
        f"CAST(generate_subscripts(sentences, 1) AS INTEGER) AS sentence FROM {source}))"
    )


_MENTION_COLUMNS: Mapping[str, tuple[str, str]] = {
    "finding": (TEXT, "the finding that is named"),
    "observations": ("VARCHAR[]", "observations of the label set that it counts for"),
    "start": (NUMBER, "of the words, in `studies.report`"),
    "end": (NUMBER, "of the words"),
    **dict.fromkeys(_MENTION_TEXTS, (TEXT, "as in `reports.sentences.mentions`")),
    "historical": ("BOOLEAN", "of an earlier time"),
    "hypothetical": ("BOOLEAN", "a question or a condition"),
}

VIEWS: Mapping[str, View] = {
    "studies": View(
        table="studies",
        content="one row per study",
        columns={
            **_WHO,
            "study_date": (TEXT, "YYYYMMDD"),
            "study_time": (TEXT, "HHMMSS"),
            "prior_study_id": (TEXT, "the patient's study before"),
            "sex": (TEXT, "F, M or empty"),
            "age_years": (NUMBER, "at the study"),
            "report_path": (TEXT, "in the source"),
            "report_flags": ("VARCHAR[]", "repairs of the text"),
        },
        select=_plain,
    ),
    "reports": View(
        table="reports",
        content="one row per parsed report",
        columns={
            **_WHO,
            "parser_id": (TEXT, "version of the rules"),
            "usable": ("BOOLEAN", "has findings or an impression"),
        },
        select=_plain,
    ),
    "labels": View(
        table="reports",
        content="one row per study and observation, also where it is not mentioned",
        columns={
            **_WHO,
            "observation": (TEXT, "name of its column, as pleural_effusion"),
            "label": (NUMBER, "1 positive, 0 negative, -1 uncertain, null not mentioned"),
        },
        select=_labels,
    ),
    "mentions": View(
        table="reports",
        content="one row per mention of a finding",
        columns={
            **_WHO,
            "sentence": (NUMBER, "number of the sentence, from 1"),
            "section": (TEXT, "of the sentence"),
            **_MENTION_COLUMNS,
        },
        select=_mentions,
    ),
    "slices": View(
        table="slices",
        content="one row per train study of a slice",
        columns={
            **_WHO,
            "repeat": (NUMBER, "how often an epoch has it"),
            "sentence_weights": ("FLOAT[]", "one per sentence"),
        },
        select=_plain,
    ),
    "rejects": View(
        table="rejects",
        content="one row per row that was set aside",
        columns=dict.fromkeys(REJECTS.names, (TEXT, "as in `rejects`")),
        select=_plain,
    ),
}
VERSIONS = "versions"
VERSIONS_CONTENT = "one row per version of every table"
VERSION_COLUMNS: Mapping[str, str] = {
    "ref": "as `studies@3`",
    "table_name": "",
    "version": "",
    "name": "of a slice",
    "created": "UTC",
    "num_rows": "null for a removed version",
    "num_files": "null for a removed version",
    "num_bytes": "null for a removed version",
    "is_removed": "its files were deleted",
    "parents": "versions and runs that it was made from",
    "counts": "of the job that made it, by name",
    "rejects": "rows set aside, by reason",
    "code_version": "of TRRG",
    "fingerprint": "of the work",
    "content": "of the rows",
}
