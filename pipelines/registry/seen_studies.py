"""What the gate refuses a model for that has seen the test: its studies in training, or their labels as clues.

Within one version of `shards` the splits share no patient. A model of an earlier version may be scored on a later one,
whose source assigns the splits otherwise.
"""

from typing import Any

from pipelines.records.fingerprint import have_same_content
from trrg_core.errors import ConfigError
from trrg_core.metrics.outcomes import OutcomeTable
from trrg_core.registry.check import Bound, Check, Verdict, check_number
from trrg_core.runs.results import read_result
from trrg_core.runs.stored_model import trained_settings
from trrg_core.storage.store import Store
from trrg_core.tables.delta import read_table
from trrg_core.tables.table_ref import TableRef


def check_unseen(store: Store, generator: str, table: OutcomeTable, *, shards: str) -> list[Check]:
    """The checks that a model has seen neither the studies of `table`, of a version of `shards`, nor their labels."""
    name, words = "evidence.unseen_studies", "the number of test studies that the model was trained or calibrated on"
    try:
        seen = count_seen(store, generator, table, shards=shards)
        checks = [check_number(name, seen, Bound(relation="<=", value=0), words)]
    except ConfigError as error:  # a version that it was trained on is gone
        checks = [Check(name=name, verdict=Verdict.INSUFFICIENT, reason=f"{words} is unknown: {error}")]
    if (trained_settings(store, generator) or {}).get("finetune", {}).get("clues") == "oracle":
        reason = "its clues are the labels of the reports (finetune.clues=oracle), which no new study has"
        checks.append(Check(name="model.clues", verdict=Verdict.FAIL, reason=f"{reason}: an ablation only"))
    return checks


def count_seen(store: Store, generator: str, table: OutcomeTable, *, shards: str) -> int:
    """How many studies of `table` either stage of a generator was trained, or calibrated, on.

    Args:
        store: the store.
        generator: the run of stage 2, whose input `contrastive` is that of stage 1.
        table: the outcomes of the test studies.
        shards: the version that these are of.

    Raises:
        ConfigError: if a version that the model was trained on is gone, so that nobody can tell.
    """
    tested = set(zip(table.subject_ids, table.study_ids, strict=True))
    seen: set[tuple[str, str]] = set()
    for ref in _trained_on(store, generator):
        if have_same_content(store, ref, shards):
            continue
        rows: list[dict[str, Any]] = read_table(
            store, TableRef.parse(ref), columns=["subject_id", "study_id", "split"]
        ).to_pylist()
        seen |= {(row["subject_id"], row["study_id"]) for row in rows if row["split"] != "test"} & tested
    return len(seen)


def _trained_on(store: Store, generator: str) -> set[str]:
    stage2 = read_result(store, generator)
    stage1 = read_result(store, stage2.inputs.get("contrastive", "")) if stage2 else None
    return {run.inputs["shards"] for run in (stage2, stage1) if run and "shards" in run.inputs}
