"""`trrg withdraw`: erase a patient who withdrew consent from every table, version, run and page of a store."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import DEFAULT_STORE, JsonOption, MinAgeOption, PresetOption, SetOption, StoreOption
from trrg_core.errors import ConfigError

app = typer.Typer()


@app.command(
    rich_help_panel="Versions",
    epilog="Examples: trrg withdraw --patient 10000032 --dry-run; trrg withdraw --file ids.txt",
)
def withdraw(
    patient: Annotated[str, typer.Option("--patient", help="The patient's subject_id.")] = "",
    study: Annotated[
        list[str] | None, typer.Option("--study", help="Only this study of the patient. Can be repeated.")
    ] = None,
    file: Annotated[
        str, typer.Option("--file", help="Text file, one patient per line: PATIENT or PATIENT,STUDY.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be erased.")] = False,
    min_age: MinAgeOption = 24,
    preset: PresetOption = "tiny",
    settings: SetOption = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Erase a patient from every table, version, run and page; name the models that learned from them.

    The record of it holds hashes made with the secret TRRG_WITHDRAWAL_KEY of the environment, never an id; later
    ingests need the same secret and refuse the patient. --preset or --set selects a registry on a server.
    """
    from flows.render.withdrawal import describe_plan, print_plan
    from pipelines.registry.references import registered_models
    from pipelines.running.catalog import JOBS
    from trrg_core.config.load import load_config
    from trrg_core.storage.store import open_store
    from trrg_core.storage.withdrawal_lock import withdrawal_lock
    from trrg_core.withdrawal.record import check_key, read_key
    from trrg_core.withdrawal.search import Request
    from trrg_core.withdrawal.withdraw import carry_out, plan_withdrawal, read_requests

    if bool(patient) == bool(file) or (file and study):
        raise ConfigError("give --patient, with --study for single studies, or --file")
    requests = read_requests(Path(file)) if file else [Request(subject_id=patient, study_ids=tuple(study or ()))]
    opened_store, config = open_store(store), load_config(preset, settings or ())
    if not opened_store.exists():
        raise ConfigError(f"there is no store {opened_store.uri}, so that nobody was withdrawn; --store names another")
    key = None if dry_run else read_key()
    if key:
        check_key(opened_store, key)
    training_jobs = [job.name for job in JOBS.values() if job.group == "training"]
    # from the search to the end: neither another withdrawal nor a commit comes in between
    with withdrawal_lock(opened_store) if key else nullcontext():
        models = registered_models(opened_store, config.register_)
        plan = plan_withdrawal(opened_store, requests, training_jobs=training_jobs, models=models)
        values = describe_plan(plan)
        if not as_json:
            print_plan(values)
        if key:
            from pipelines.registry.withdrawn_models import mark_withdrawn

            report = carry_out(
                opened_store,
                plan,
                key,
                min_age_hours=min_age,
                mark_models=lambda names, day: mark_withdrawn(opened_store, config.register_, names, day),
            )
            values |= {"rewritten": list(report.rewritten), "deleted": list(report.deleted)}
    if as_json:
        typer.echo(json.dumps({**values, "withdrawn": not dry_run}, indent=1))
    elif key:
        typer.echo(
            f"withdrawn: {len(values['rewritten']):,} files written again, {len(values['deleted']):,} deleted; no file "
            "of the store names them any more"
        )
    else:
        typer.echo("dry run, nothing changed")
