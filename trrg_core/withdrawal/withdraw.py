"""The whole withdrawal: plan it without a change, carry it out, and prove that no id is left.

It can be interrupted at any moment and run again: the rows, which tell what is the patient's, are erased last, and logs
are compared with the files as they are.
"""

import csv
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from trrg_core.errors import ConfigError, DataError
from trrg_core.runs.results import RESULT
from trrg_core.storage.folders import RUN_FOLDER
from trrg_core.storage.given_file import read_given_text
from trrg_core.storage.store import Store
from trrg_core.tables.log_retention import tables_with_cut_log
from trrg_core.tables.stored_files import check_is_quiet, list_stored_files, newest_write_s
from trrg_core.withdrawal.erase import (
    erase_mentions,
    erase_rows,
    find_left_behind,
    find_mentions,
    mend_logs,
)
from trrg_core.withdrawal.learned import find_learned, models_of
from trrg_core.withdrawal.record import (
    Withdrawal,
    WithdrawalKey,
    check_key,
    read_withdrawals,
    write_withdrawals,
)
from trrg_core.withdrawal.search import Request, Traces, find_traces

_COMMENT = re.compile(r"(?:^|\s)#.*")

Models = Mapping[str, Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class PatientShare:
    """What a plan holds of one of its patients: rows by table, runs that learned from them, and models of these."""

    request: Request
    rows: Mapping[str, int]
    learned: Mapping[str, str]
    models: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class WithdrawalPlan:
    """What a withdrawal will erase, and what cannot be unlearned.

    Attributes:
        shares: the patients.
        traces: what the store holds of them.
        learned: finished runs that learned from them, and how.
        models: registered models that such a run made.
        unfinished_runs: runs that will be deleted, because they would go on with other samples.
        newest_write_s: of the store.
    """

    shares: tuple[PatientShare, ...]
    traces: Traces
    learned: Mapping[str, str]
    models: tuple[str, ...]
    unfinished_runs: tuple[str, ...]
    newest_write_s: float


@dataclass(frozen=True, kw_only=True)
class WithdrawalReport:
    """What a withdrawal did: files written again and deleted, and the record without any id."""

    rewritten: tuple[str, ...]
    deleted: tuple[str, ...]
    withdrawals: tuple[Withdrawal, ...]


def read_requests(path: Path) -> list[Request]:
    """The patients in a file: one per line, `PATIENT` or `PATIENT,STUDY`; empty lines and `#` comments are ignored.

    A comment starts a line or follows a space. An id with a comma stands in double quotes, as in CSV.

    Raises:
        ConfigError: if there is no such file, or it names nobody; a line has three fields or an open quote.
    """
    lines = read_given_text(path, "--file").splitlines()
    studies: dict[str, list[str]] = {}
    whole: set[str] = set()
    for number, line in enumerate(lines, 1):
        content = _COMMENT.sub("", line).strip()
        if not content:
            continue
        fields = _fields(content)
        if len(fields) not in (1, 2) or not fields[0]:
            raise ConfigError(f"--file {path}, line {number}: expected PATIENT or PATIENT,STUDY")
        studies.setdefault(fields[0], []).extend(fields[1:])
        if len(fields) == 1:
            whole.add(fields[0])
    if not studies:
        raise ConfigError(f"--file {path} names no patient: expected one per line, PATIENT or PATIENT,STUDY")
    return [
        Request(subject_id=patient, study_ids=() if patient in whole else tuple(dict.fromkeys(ids)))
        for patient, ids in studies.items()
    ]


def _fields(line: str) -> list[str]:
    """The fields of a line; none for one that is not CSV."""
    try:
        return [field.strip() for field in next(csv.reader([line], skipinitialspace=True, strict=True))]
    except csv.Error:
        return []


def plan_withdrawal(
    store: Store, requests: Sequence[Request], *, training_jobs: Collection[str], models: Models
) -> WithdrawalPlan:
    """What a withdrawal of `requests` would do; nothing is changed.

    Args:
        store: the store.
        requests: the patients.
        training_jobs: jobs whose runs learn from `shards`.
        models: the references that each registered model version names.

    Raises:
        ConfigError: if a study is of another patient than given, or the log of a table was cut.
    """
    files = list_stored_files(store)
    cut = tables_with_cut_log(file.path for file in files)
    if cut:
        raise ConfigError(f"the log of {', '.join(cut)} in {store.uri} lacks entries: it cannot be mended")
    traces = find_traces(store, requests, [file.path for file in files])
    own = traces.by_patient(requests)
    learned, *by_patient = find_learned(store, [traces, *own], training_jobs)
    return WithdrawalPlan(
        shares=tuple(
            PatientShare(request=request, rows=one.rows_by_table(), learned=runs, models=models_of(runs, models))
            for request, one, runs in zip(requests, own, by_patient, strict=True)
        ),
        traces=traces,
        learned=learned,
        models=models_of(learned, models),
        unfinished_runs=_unfinished([file.path for file in files]) if traces.files else (),
        newest_write_s=newest_write_s(files),
    )


def carry_out(
    store: Store,
    plan: WithdrawalPlan,
    key: WithdrawalKey,
    *,
    min_age_hours: float,
    mark_models: Callable[[Sequence[str], str], None] = lambda models, day: None,
) -> WithdrawalReport:
    """Erase the patients of `plan` from the store, and record their withdrawal.

    Plan and carry out while `withdrawal_lock` is held: else one withdrawal could write a file again that it read before
    another erased a patient there, and a job could commit rows that the plan does not have.

    Args:
        store: the store.
        plan: from `plan_withdrawal`.
        key: of the record.
        min_age_hours: refuse if anything was written within this time.
        mark_models: marks registered models that learned from a withdrawn patient, with the day.

    Raises:
        ConfigError: if a job may be running, or the key is not that of the record.
        DataError: `still_mentioned`, naming the files in which an id is left; the withdrawal stays unfinished.
    """
    check_key(store, key)
    check_is_quiet(plan.newest_write_s, min_age_hours=min_age_hours)
    names = plan.traces.names
    # first: ingests refuse the patients from now on, and a second attempt still tells who learned from them
    records = [_record(store, share, key) for share in plan.shares]
    write_withdrawals(store, key, records)
    for run_id in plan.unfinished_runs:
        store.delete(f"{RUN_FOLDER}/{run_id}")
    models = tuple(dict.fromkeys(model for record in records for model in record.models))
    mark_models(models, records[0].day)
    # rows last, and only when nothing else names anyone: they alone tell a second attempt which ids it has to look for
    mentions = erase_mentions(store, names, [file.path for file in list_stored_files(store)])
    notes = mend_logs(store, names)
    left_behind = find_left_behind(store, plan.traces)
    _check_gone(find_mentions(store, names, sorted({*store.list()} - left_behind), with_rows=False))
    rows = erase_rows(store, plan.traces)
    logs = mend_logs(store, names)
    _check_gone(find_mentions(store, names, (*rows.rewritten, *logs.rewritten)))
    finished = [replace(record, is_finished=True) for record in records]
    write_withdrawals(store, key, finished)
    return WithdrawalReport(
        rewritten=tuple(dict.fromkeys((*rows.rewritten, *notes.rewritten, *logs.rewritten, *mentions.rewritten))),
        deleted=(*rows.deleted, *notes.deleted, *logs.deleted, *mentions.deleted, *plan.unfinished_runs),
        withdrawals=tuple(finished),
    )


def _check_gone(left: Sequence[str]) -> None:
    if left:
        raise DataError("still_mentioned", f"{len(left)} files still name a patient or study: {', '.join(left[:20])}")


def _record(store: Store, share: PatientShare, key: WithdrawalKey) -> Withdrawal:
    """The record of one patient, with what an interrupted attempt has found."""
    request = share.request
    new = Withdrawal(
        patient="" if request.study_ids else key.hash_patient(request.subject_id),
        studies=tuple(key.hash_study(study) for study in request.study_ids),
        day=datetime.now(UTC).date().isoformat(),
        rows=dict(share.rows),
        learned=dict(share.learned),
        models=share.models,
    )
    earlier = [one for one in read_withdrawals(store) if one.identity == new.identity]
    if not earlier:
        return new
    before = earlier[0]
    return replace(
        new,
        rows={name: max(new.rows.get(name, 0), before.rows.get(name, 0)) for name in {**before.rows, **new.rows}},
        learned={**before.learned, **new.learned},
        models=tuple(dict.fromkeys((*before.models, *new.models))),
    )


def _unfinished(paths: Collection[str]) -> tuple[str, ...]:
    runs = {path.split("/")[1] for path in paths if path.startswith(f"{RUN_FOLDER}/") and path.count("/") > 1}
    return tuple(sorted(run for run in runs if f"{RUN_FOLDER}/{run}/{RESULT}" not in paths))
