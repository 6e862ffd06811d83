"""`studies` + `reports` -> `shards`: one row per study with small images, target text, sentence facts, labels.

Training, generation and evaluation read nothing else.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

import pyarrow as pa
import ray

from pipelines.ray_data.cluster import connect
from pipelines.ray_data.read import stream_table
from pipelines.ray_data.write import Made, write_parts
from pipelines.records.commit import TableWork, commit_output, find_existing
from pipelines.records.fingerprint import job_fingerprint
from pipelines.records.job_result import JobResult
from trrg_core.config.settings import ShardConfig, TrrgConfig
from trrg_core.errors import DataError
from trrg_core.imaging.decode import decode_image, encode_jpeg, resize_long_side
from trrg_core.labels import load_label_set
from trrg_core.storage.store import Store
from trrg_core.study import Reject
from trrg_core.tables.delta import TableRef, count_rows
from trrg_core.tables.lookup import index_studies, read_studies
from trrg_core.tables.schema import shards_schema

STUDY_COLUMNS = ["subject_id", "study_id", "split", "prior_study_id", "sex", "age_years", "images"]
REPORT_COLUMNS = ["study_id", "sentences", "labels", "findings", "impression"]


def run(config: TrrgConfig, store: Store, inputs: Mapping[str, str]) -> JobResult:
    """Join images and parsed reports into a version of `shards`."""
    studies, reports = TableRef.parse(inputs["studies"]), TableRef.parse(inputs["reports"])
    work = TableWork(
        job="shard",
        store=store,
        table="shards",
        schema=shards_schema(load_label_set(config.parse.label_set)),
        fingerprint=job_fingerprint("shard", [config.shard, config.parse.label_set], store, inputs),
        parents=(str(studies), str(reports)),
    )
    if found := find_existing(work):
        return found
    connect(config.ray)
    where = ray.put(index_studies(store, reports))
    written = write_parts(
        work,
        stream_table(store, studies, STUDY_COLUMNS),
        shard_batch,
        {
            "config": config.shard,
            "label_set": config.parse.label_set,
            "store": store,
            "reports": reports,
            "where": where,
        },
        batch_rows=config.shard.rows_per_file,
        total=count_rows(store, studies),
    )
    return commit_output(work, written, counts={"studies_in": written.num_in, **_split_counts(written.parts)})


def shard_batch(batch: pa.Table, settings: Mapping[str, object]) -> Made:
    """Shard rows of a batch of studies; a study whose target section is empty is set aside."""
    config, label_set = settings["config"], load_label_set(str(settings["label_set"]))
    assert isinstance(config, ShardConfig)
    reports = _read_reports(batch["study_id"].to_pylist(), settings)
    rows, rejects = [], []
    for study in batch.to_pylist():
        try:
            rows.append(shard_row(study, reports.get(study["study_id"]), config))
        except DataError as error:
            ids = {"subject_id": study["subject_id"], "study_id": study["study_id"]}
            rejects.append(Reject(reason=error.reason, detail=str(error), **ids))
    return Made(rows=pa.Table.from_pylist(rows, schema=shards_schema(label_set)), rejects=rejects)


def shard_row(study: Mapping, report: Mapping | None, config: ShardConfig) -> dict:
    """One row of `shards`.

    Raises:
        DataError: `no_image`, `no_parsed_report`, or `no_<section>` when the target section is empty.
    """
    if not study["images"]:
        raise DataError("no_image", "the study has no image to learn from")
    if report is None:
        raise DataError("no_parsed_report", "the study is not in the table of parsed reports")
    names = config.section.split("+")
    target = " ".join(text for name in names if (text := " ".join(report[name].split())))
    if not target:
        reason = f"no_{config.section.replace('+', '_or_')}"
        raise DataError(reason, f"the report has no {config.section} text (shard.section)")
    return {
        "subject_id": study["subject_id"],
        "study_id": study["study_id"],
        "split": study["split"],
        "has_prior": bool(study["prior_study_id"]),
        "sex": study["sex"],
        "age_years": study["age_years"],
        "views": [_view(image, config.max_side_px) for image in study["images"]],
        "report": target,
        "sentences": [
            {"text": " ".join(sentence["text"].split()), "facts": facts}
            for sentence in report["sentences"]
            if (facts := sentence_facts(sentence["mentions"]))
        ],
        "labels": report["labels"],
    }


def sentence_facts(mentions: Iterable[Mapping]) -> list[dict]:
    """What a sentence states of this patient now: each (observation, assertion) once, in text order."""
    facts: dict[tuple[str, str], dict] = {}
    for mention in mentions:
        if mention["historical"] or mention["hypothetical"] or mention["experiencer"] != "patient":
            continue
        for observation in mention["observations"]:
            fact = {"observation": observation, "assertion": mention["assertion"]}
            facts.setdefault((observation, mention["assertion"]), fact)
    return list(facts.values())


def _view(image: Mapping, max_side_px: int) -> dict:
    jpeg = image["jpeg"]
    if max(image["rows"], image["columns"]) > max_side_px:
        pixels = decode_image(jpeg)
        if max(pixels.shape) > max_side_px:
            jpeg = encode_jpeg(resize_long_side(pixels, max_side_px))
    return {"view_position": image["view_position"], "jpeg": jpeg}


def _read_reports(study_ids: list[str], settings: Mapping[str, object]) -> dict[str, dict]:
    store, ref = settings["store"], settings["reports"]
    assert isinstance(store, Store)
    assert isinstance(ref, TableRef)
    rows = read_studies(store, ref, study_ids, REPORT_COLUMNS, index=ray.get(settings["where"]))
    return {row["study_id"]: row for row in rows.to_pylist()}


def _split_counts(parts: Iterable) -> dict[str, int]:
    counts: Counter = Counter()
    for part in parts:
        counts[part.split] += part.num_rows
    return dict(counts)
