"""Small stores written by hand: versions of every table without a job, and the rows they are made of."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trrg_core.imaging.decode import encode_jpeg
from trrg_core.labels import Assertion, aggregate, column_name, load_label_set
from trrg_core.report.parsed import Mention
from trrg_core.storage.store import Store
from trrg_core.study import SPLITS
from trrg_core.tables.commit_history import CommitMetadata
from trrg_core.tables.delta import commit_parts
from trrg_core.tables.parquet import write_part
from trrg_core.tables.schema import STUDIES, reports_schema, shards_schema
from trrg_core.tables.table_ref import TableRef

LABEL_SET = load_label_set("chexpert14")
FINDINGS = {"Edema": "edema", "Pneumonia": "pneumonia", "Cardiomegaly": "cardiomegaly", "Pneumothorax": "pneumothorax"}
OPENING = {Assertion.PRESENT: "There is ", Assertion.ABSENT: "No ", Assertion.UNCERTAIN: "Possible "}
YES, NO, MAYBE = Assertion.PRESENT, Assertion.ABSENT, Assertion.UNCERTAIN

Stated = Mapping[str, Assertion]


def write_version(
    store: Store, name: str, rows: Sequence[Mapping[str, Any]], schema: pa.Schema, *, fingerprint: str, **metadata: Any
) -> TableRef:
    """A version of a table, one file per split."""
    table = pa.Table.from_pylist(list(rows), schema=schema)
    parts = [
        write_part(store, name, f"parts/{fingerprint}/{split}-a.parquet", kept, split=split)
        for split in SPLITS
        if (kept := table.filter(pc.equal(table["split"], split))).num_rows
    ]
    store.write_bytes(f"tables/{name}/parts/{fingerprint}/a.json", b"{}")
    return commit_parts(store, name, parts, schema, CommitMetadata(fingerprint=fingerprint, **metadata))


def report_text(stated: Stated) -> str:
    """A report that states this, one sentence per observation."""
    return " ".join(f"{OPENING[assertion]}{FINDINGS[name]}." for name, assertion in stated.items())


def study_row(study_id: str, stated: Stated, split: str = "train", report: str = "") -> dict[str, Any]:
    """A row of `studies` with one grey image."""
    image = {
        "dicom_id": f"d{study_id}",
        "view_position": "PA",
        "path": f"{study_id}.jpg",
        "rows": 8,
        "columns": 8,
        "jpeg": encode_jpeg(np.full((8, 8), 128, np.uint8)),
    }
    who = {"subject_id": f"p{study_id}", "study_id": study_id, "split": split}
    return who | {"report": report or report_text(stated), "images": [image]}


def report_row(study_id: str, stated: Stated, split: str = "train", rule: str = "toy") -> dict[str, Any]:
    """A row of `reports`, as the parser would write it of `report_text`."""
    sentences, end = [], 0
    for name, assertion in stated.items():
        text = f"{OPENING[assertion]}{FINDINGS[name]}."
        start = end + len(OPENING[assertion])
        mention = Mention(
            finding=FINDINGS[name], start=start, end=start + len(FINDINGS[name]), assertion=assertion, rule=rule
        )
        mentions = [asdict(mention) | {"observations": [name]}]
        sentences.append(
            {"text": text, "start": end, "end": end + len(text), "section": "findings", "mentions": mentions}
        )
        end += len(text) + 1
    return {
        "subject_id": f"p{study_id}",
        "study_id": study_id,
        "split": split,
        "parser_id": "toy-1",
        "sections": [],
        "sentences": sentences,
        "labels": _labels(stated),
        "findings": report_text(stated),
        "impression": "",
        "usable": True,
    }


def shard_row(study_id: str, stated: Stated, split: str = "train") -> dict[str, Any]:
    """A row of `shards`."""
    return {
        "subject_id": f"p{study_id}",
        "study_id": study_id,
        "split": split,
        "has_prior": False,
        "sex": "",
        "age_years": None,
        "views": [{"view_position": "PA", "jpeg": encode_jpeg(np.full((8, 8), 128, np.uint8))}],
        "report": report_text(stated),
        "sentences": [
            {
                "text": f"{OPENING[assertion]}{FINDINGS[name]}.",
                "facts": [{"observation": name, "assertion": str(assertion)}],
            }
            for name, assertion in stated.items()
        ],
        "labels": _labels(stated),
    }


def write_chain(store: Store, stated: Mapping[str, tuple[str, Stated]], *, run: str = "1") -> dict[str, TableRef]:
    """Versions of studies, reports and shards of the same studies: id -> (split, what its report states)."""
    rows = {
        "studies": ([study_row(one, what, split) for one, (split, what) in stated.items()], STUDIES),
        "reports": ([report_row(one, what, split) for one, (split, what) in stated.items()], reports_schema(LABEL_SET)),
        "shards": ([shard_row(one, what, split) for one, (split, what) in stated.items()], shards_schema(LABEL_SET)),
    }
    refs: dict[str, TableRef] = {}
    for name, (table, schema) in rows.items():
        parents = [str(ref) for ref in refs.values()]
        refs[name] = write_version(store, name, table, schema, fingerprint=f"{name}-{run}", parents=parents)
    return refs


def _labels(stated: Stated) -> dict[str, int | None]:
    return {column_name(name): aggregate([stated[name]] if name in stated else []) for name in LABEL_SET.observations}
