"""Flow records, table commits, registry -> the dashboard: what happened each night, and which model is champion."""

import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pipelines.registry.alias_moves import BY_GATE, BY_PERSON, Move, list_moves
from pipelines.registry.model_list import ListedModel, ScoreValue, list_models, shown_scores
from trrg_core.config.settings import RegisterConfig
from trrg_core.errors import DataError
from trrg_core.pages.dashboard_page import DashboardPage, DataRow, ModelRow, Night, Reign, Score
from trrg_core.registry.decision import Ruling
from trrg_core.runs.flow_record import FlowRecord, Outcome, StageRecord, read_flow_history
from trrg_core.runs.results import run_path
from trrg_core.storage.store import Store
from trrg_core.tables.commit_history import Commit, history

CHAMPION = "champion"
DATA_TABLES = ("studies", "reports", "shards", "slices")
SHOWN_NIGHTS, SHOWN_VERSIONS, SHOWN_SCORES = 90, 60, 2
_HOW = {BY_GATE: "by the gate", BY_PERSON: "by a person"}
_SPLITS = ("train", "validate", "test")


def build_dashboard(store: Store, config: RegisterConfig, *, pages: str | None = None) -> DashboardPage:
    """The dashboard of a store.

    Args:
        store: the store.
        config: where the registry is.
        pages: address of a server of the store's pages, `""` for links within it; None links to files of the store.

    Raises:
        StorageError: if the registry or the store does not answer.
    """
    models = list_models(store, config)
    found = read_flow_history(store)
    names = tuple(shown_scores(models, SHOWN_SCORES))
    reigns = _reigns(models, list_moves(store, config.model_name), config.model_name)
    rows = [_model_row(store, model, names, pages) for model in models]
    nights = _nights(
        store, [one for one in found.records if one.is_night], {row.model: row for row in rows}, names, pages
    )
    data = sorted(
        (commit for name in DATA_TABLES for commit in history(store, name, with_removed=True)),
        key=lambda commit: commit.created_ms,
        reverse=True,
    )
    return DashboardPage(
        store=store.uri,
        made_ms=time.time_ns() // 1_000_000,
        nights=tuple(nights[:SHOWN_NIGHTS]),
        models=tuple(rows),
        reigns=tuple(reigns),
        data=tuple(_data_row(commit) for commit in data[:SHOWN_VERSIONS]),
        score_names=names,
        unreadable=found.unreadable,
        hidden={"nights": max(0, len(nights) - SHOWN_NIGHTS), "data": max(0, len(data) - SHOWN_VERSIONS)},
    )


def _nights(
    store: Store,
    records: Sequence[FlowRecord],
    models: Mapping[str, ModelRow],
    names: Sequence[str],
    pages: str | None,
) -> list[Night]:
    """The nights, newest first; the records are too."""
    nights: list[Night] = []
    studies: int | None = None
    for number, record in enumerate(reversed(records), 1):
        read = _num_studies(record)
        registered = record.find_stage("register")
        model = models.get(registered.notes.get("model", "")) if registered else None
        more = None if read is None or studies is None else read - studies
        drift = record.drift
        nights.append(
            Night(
                number=number,
                started_ms=record.started_ms,
                seconds=max(0, record.finished_ms - record.started_ms) / 1000 if record.finished_ms else _spent(record),
                outcome=record.outcome,
                what=_what(record),
                studies=read,
                more=more,
                rejects=_rejects(record.stages),
                alarms=drift.alarms if drift else 0,
                drift=_drift_words(record),
                model=model.model if model else "",
                score=model.find_score(names[0]) if model and names else None,
                report=_report(store, registered.ref, pages) if registered else "",
                is_override=bool(registered and registered.notes.get("ruling") == Ruling.OVERRIDDEN)
                and record.outcome is Outcome.PROMOTED,
            )
        )
        studies = studies if read is None else read
    return nights[::-1]


def _what(record: FlowRecord) -> tuple[str, ...]:
    """What happened in words, the most important first."""
    lines: list[str] = []
    if record.outcome is Outcome.FAILED:
        code = f" {record.reason}" if record.reason else ""
        lines.append(
            f"{record.stage or 'the run'} failed with {record.error}{code}{': ' if record.cause else ''}{record.cause}"
        )
    elif record.outcome is Outcome.STOPPED:
        lines.append(f"it was cancelled, or asked to end, in {record.stage or 'its first step'}")
    elif record.outcome is Outcome.UNFINISHED:
        lines.append(f"it still runs, or was killed, in {record.stage or 'its first step'}")
    lines += _drift_words(record)
    registered = record.find_stage("register")
    if registered and record.outcome is not Outcome.NOTHING_NEW:
        reasons = [line for line in registered.notes.get("reasons", "").splitlines() if line]
        ruling = f"{registered.notes.get('model', 'the model')} {registered.notes.get('ruling', '')}".strip()
        if reasons and record.outcome is Outcome.PROMOTED:
            ruling += f" against {len(reasons)} check{'' if len(reasons) == 1 else 's'} of the gate"
        lines += [*([] if reasons and record.outcome is Outcome.REFUSED else [ruling]), *reasons]
    rejects = _rejects(record.stages)
    if rejects:
        lines.append("set aside: " + ", ".join(f"{name} {count:,}" for name, count in rejects))
    if record.outcome is Outcome.NOTHING_NEW:
        lines.insert(0, "the source, the settings and the code are those of an earlier run: all results were reused")
    return tuple(lines)


def _drift_words(record: FlowRecord) -> tuple[str, ...]:
    drift = record.drift
    if drift is None or not drift.alarms:
        return ()
    alarms = "1 alarm," if drift.alarms == 1 else f"{drift.alarms} alarms, the largest"
    return (f"drift from {drift.baseline}, the data of the champion: {alarms} {', '.join(drift.largest)}",)


def _rejects(stages: Sequence[StageRecord]) -> tuple[tuple[str, int], ...]:
    """Rows set aside by job and reason, the most frequent first."""
    found = Counter({f"{stage.job} {reason}": count for stage in stages for reason, count in stage.rejects.items()})
    return tuple(found.most_common())


def _num_studies(record: FlowRecord) -> int | None:
    """Studies that the run read; None for one that read no source."""
    ingested = record.find_stage("ingest")
    count = ingested.counts.get("studies", math.nan) if ingested else math.nan
    return int(count) if math.isfinite(count) else None


def _spent(record: FlowRecord) -> float:
    return sum(stage.seconds for stage in record.stages)


def _model_row(store: Store, model: ListedModel, names: Sequence[str], pages: str | None) -> ModelRow:
    return ModelRow(
        version=model.version,
        model=model.model,
        aliases=model.aliases,
        registered_ms=model.created_ms,
        data=", ".join(model.data.values()),
        scores=tuple((name, _score(model.scores[name])) for name in names if name in model.scores),
        ruling=model.ruling,
        against=model.against,
        why=model.why,
        report=_report(store, model.registration, pages),
    )


def _score(score: ScoreValue) -> Score:
    return Score(value=score.value, low=score.low, high=score.high)


def _reigns(models: Sequence[ListedModel], moves: Sequence[Move], name: str) -> list[Reign]:
    """Who was champion when, newest first; an alias that was moved by hand was moved at an unknown time."""
    reigns: list[Reign] = []
    for at, move in enumerate(moves):
        if not move.after:  # a person declared that there is none
            continue
        until = moves[at + 1].when_ms if at + 1 < len(moves) else 0
        how = _HOW.get(move.kind, move.kind)
        reigns.append(
            Reign(
                model=f"models:/{name}/{move.after}",
                from_ms=move.when_ms,
                until_ms=until,
                how=how,
                reason=move.reason,
                by=move.by,
            )
        )
    now = next((model for model in models if CHAMPION in model.aliases), None)
    if reigns and (now is None or reigns[-1].model != now.model) and moves[-1].after:
        reigns[-1] = replace(reigns[-1], until_ms=None)
    if now and (not reigns or reigns[-1].model != now.model):
        reigns.append(Reign(model=now.model, from_ms=0, how="alias set by hand"))
    return reigns[::-1]


def _data_row(commit: Commit) -> DataRow:
    counts = commit.counts
    by_split = sum(counts.get(split, 0) for split in _SPLITS)
    rows = counts.get(commit.ref.name, by_split or counts.get("rows", 0))
    rejects = tuple(Counter(commit.rejects).most_common())
    return DataRow(ref=str(commit.ref), created_ms=commit.created_ms, rows=int(rows), rejects=rejects)


def _report(store: Store, run_id: str, pages: str | None) -> str:
    """The address of the report of a registration; empty where there is none."""
    path = f"{run_path(run_id)}/report.html"
    try:
        if not run_id or store.is_s3 or not store.exists(path):
            return ""
    except DataError:  # a record or a tag that somebody changed names no run
        return ""
    return f"file://{store.join(path)}" if pages is None else f"{pages}/{path}"
