"""A store with the first two tables of an invented corpus, made without a cluster."""

from pathlib import Path

from pipelines.jobs import ingest
from pipelines.jobs.parse import parse_batch
from trrg_core.config.load import load_config
from trrg_core.labels import load_label_set
from trrg_core.sources.sample.layout import write_sample
from trrg_core.storage.store import Store, open_store
from trrg_core.study import SPLITS
from trrg_core.tables.commit_history import CommitMetadata
from trrg_core.tables.delta import commit_parts, read_table
from trrg_core.tables.parquet import write_part
from trrg_core.tables.schema import reports_schema
from trrg_core.tables.table_ref import TableRef


def make_store(folder: Path, num_studies: int) -> Store:
    """`studies@0` and `reports@0` of an invented corpus of `num_studies`."""
    write_sample(folder / "corpus", num_studies=num_studies, seed=3)
    store = open_store(str(folder / "trrg-store"))
    config = load_config("tiny", [f"source.root={folder / 'corpus'}"])
    parse_studies(store, ingest.run(config, store, {}).ref)
    return store


def parse_studies(store: Store, studies: str) -> TableRef:
    """The reports of a version of `studies`, parsed in this process and committed; nothing of them may be set aside."""
    config = load_config("tiny").parse
    rows = read_table(store, TableRef.parse(studies), columns=["subject_id", "study_id", "split", "report"])
    reports = parse_batch(rows, config).rows
    schema = reports_schema(load_label_set(config.label_set))
    parts = []
    for split in SPLITS:
        of_split = reports.filter([value == split for value in reports["split"].to_pylist()])
        parts.append(write_part(store, "reports", f"parts/invented/{split}.parquet", of_split, split=split))
    return commit_parts(store, "reports", parts, schema, CommitMetadata(fingerprint="invented", parents=(studies,)))
