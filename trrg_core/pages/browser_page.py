"""A version of a table -> the content of its browser page.

Images and reports are those of `studies`, labels and sentences those of `reports`; `shards` and `slices` only select
studies, the latter with repeats.
"""

from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from trrg_core.errors import ConfigError
from trrg_core.label_stats.labelled_version import find_observations
from trrg_core.labels import LABEL_OF_ASSERTION, Assertion, column_name
from trrg_core.pages.browser import BrowserPage, StudyCard
from trrg_core.pages.shown_film import Film
from trrg_core.slicing.constraints import find_observation
from trrg_core.storage.store import Store
from trrg_core.study import SPLITS
from trrg_core.tables.commit_history import find_commit, history
from trrg_core.tables.delta import read_table
from trrg_core.tables.lookup import read_studies
from trrg_core.tables.rows.report_row import parsed_report
from trrg_core.tables.table_ref import TableRef


@dataclass(frozen=True, kw_only=True)
class StudyFilter:
    """Which studies to show: of a split, with a label of `finding` that is `assertion` (None: any), at most `limit`."""

    finding: str = ""
    assertion: Assertion | None = None
    split: str = ""
    limit: int = 200


@dataclass(frozen=True, kw_only=True)
class _Versions:
    """The versions that a version derives from; `selection` is the one that determines its studies."""

    selection: TableRef
    studies: TableRef
    reports: TableRef | None
    slice: TableRef | None = None


def build_browser_page(store: Store, ref: TableRef, study_filter: StudyFilter, *, label_set: str = "") -> BrowserPage:
    """The page of a version of `studies`, `reports`, `shards` or `slices`; studies are sorted by patient and id.

    Raises:
        ConfigError: for another table, a filter by label without labels, or an unknown split or observation.
    """
    versions = _source_versions(store, ref)
    observations = find_observations(store, versions.reports, label_set) if versions.reports else ()
    rows, repeats = _select_studies(store, versions, study_filter, observations)
    shown = rows.slice(0, study_filter.limit)
    lineage = {"version": str(ref), "studies": str(versions.studies)}
    lineage |= {"reports": str(versions.reports)} if versions.reports else {}
    return BrowserPage(
        title=f"Studies of {ref}" + _describe_filter(study_filter),
        cards=tuple(_cards(store, versions, shown, observations, repeats)),
        num_matching=rows.num_rows,
        observations=observations,
        lineage=lineage,
    )


def _source_versions(store: Store, ref: TableRef) -> _Versions:
    parents = {
        parent.rpartition("@")[0]: TableRef.parse(parent) for parent in find_commit(store, ref).parents if "@" in parent
    }
    if ref.name == "slices" and "shards" in parents:
        return replace(_source_versions(store, parents["shards"]), slice=ref)
    if ref.name == "shards" and {"studies", "reports"} <= set(parents):
        return _Versions(selection=ref, studies=parents["studies"], reports=parents["reports"])
    if ref.name == "reports" and "studies" in parents:
        return _Versions(selection=ref, studies=parents["studies"], reports=ref)
    if ref.name == "studies":
        parses = [commit.ref for commit in history(store, "reports") if str(ref) in commit.parents]
        return _Versions(selection=ref, studies=ref, reports=parses[0] if parses else None)
    raise ConfigError(f"{ref} has no studies to show: give a version of studies, reports, shards or slices")


def _select_studies(
    store: Store, versions: _Versions, study_filter: StudyFilter, observations: tuple[str, ...]
) -> tuple[pa.Table, dict[str, int]]:
    """Ids of the selected studies, sorted by patient and study, and the repeats of each in a slice."""
    if study_filter.split and study_filter.split not in SPLITS:
        raise ConfigError(f"no split {study_filter.split!r}: expected one of {', '.join(SPLITS)}")
    rows = read_table(store, versions.selection, columns=["subject_id", "study_id", "split"], split=study_filter.split)
    repeats: dict[str, int] = {}
    if versions.slice is not None:
        slice_rows = read_table(store, versions.slice, columns=["study_id", "repeat"]).to_pylist()
        repeats = {row["study_id"]: row["repeat"] for row in slice_rows}
        rows = _only(rows, list(repeats))
    if study_filter.finding:
        rows = _only(rows, _labelled_ids(store, versions, study_filter, observations))
    elif study_filter.assertion:
        raise ConfigError(f"{study_filter.assertion} without a finding: name the finding too")
    return rows.sort_by([("subject_id", "ascending"), ("study_id", "ascending")]), repeats


def _labelled_ids(
    store: Store, versions: _Versions, study_filter: StudyFilter, observations: tuple[str, ...]
) -> list[str]:
    if versions.reports is None:
        raise ConfigError(f"no version of reports is of {versions.studies}: its studies have no labels yet")
    name = column_name(find_observation(study_filter.finding, observations))
    rows = read_table(store, versions.reports, columns=["study_id", "labels"])
    labels: Any = pc.struct_field(rows["labels"], [name])
    if study_filter.assertion is None:
        return _ids(rows.filter(pc.is_valid(labels)))
    return _ids(rows.filter(pc.equal(labels, pa.scalar(int(LABEL_OF_ASSERTION[study_filter.assertion])))))


def _only(rows: pa.Table, study_ids: list[str]) -> pa.Table:
    return rows.filter(pc.is_in(rows["study_id"], value_set=pa.array(study_ids, pa.string())))


def _cards(
    store: Store, versions: _Versions, rows: pa.Table, observations: tuple[str, ...], repeats: dict[str, int]
) -> list[StudyCard]:
    ids = _ids(rows)
    studies = {row["study_id"]: row for row in _rows(store, versions.studies, ids, ("report", "images"))}
    parses = {}
    if versions.reports is not None:
        parses = {row["study_id"]: row for row in _rows(store, versions.reports, ids, ("sentences", "labels"))}
    names = {column_name(observation): observation for observation in observations}
    cards = []
    for row in rows.to_pylist():
        parsed = parsed_report(parses[row["study_id"]]) if row["study_id"] in parses else None
        study = studies.get(row["study_id"], {"report": "", "images": ()})
        cards.append(
            StudyCard(
                **row,
                films=tuple(_film(image) for image in study["images"]),
                report=study["report"] or "",
                sentences=parsed.sentences if parsed else (),
                labels={names[column]: label for column, label in parsed.labels.items()} if parsed else {},
                repeats=repeats.get(row["study_id"], 1),
            )
        )
    return cards


def _ids(rows: pa.Table) -> list[str]:
    column: Any = rows["study_id"]
    return list(column.to_pylist())


def _rows(store: Store, ref: TableRef, ids: list[str], columns: tuple[str, ...]) -> list[dict[str, Any]]:
    return read_studies(store, ref, ids, ("study_id", *columns)).to_pylist()


def _film(image: dict[str, Any]) -> Film:
    return Film(jpeg=image["jpeg"] or b"", view_position=image["view_position"] or "")


def _describe_filter(study_filter: StudyFilter) -> str:
    words = [study_filter.split] if study_filter.split else []
    if study_filter.finding:
        assertion = study_filter.assertion.lower() if study_filter.assertion else "mentioned"
        words.insert(0, f"{study_filter.finding} {assertion}")
    return f": {', '.join(words)}" if words else ""
