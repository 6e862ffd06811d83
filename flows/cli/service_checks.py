"""Checks of what a run needs beside packages: CPUs, a free port, a cluster of the same version, a sound champion."""

import importlib.util
import os
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

from flows.cli.check_result import Check
from trrg_core.config.settings import TrrgConfig
from trrg_core.errors import ConfigError, TrrgError

if TYPE_CHECKING:
    from pipelines.registry.alias_moves import Move


def check_cpus(config: TrrgConfig) -> Check:
    """Whether a local cluster has a CPU for each worker, and the machine has them in fact."""
    engine, wanted = config.engine, config.engine.num_workers
    if engine.local or config.ray.address or config.ray.jobs_address:
        return Check(name="cpus", passed=True, detail="not checked: training runs elsewhere, or as one process")
    logical, real = config.ray.local_cpus, len(os.sched_getaffinity(0))
    numbers = f"{wanted} workers need one CPU each; ray.local_cpus is {logical}, the machine has {real}"
    if wanted > logical:
        advice = f"--set ray.local_cpus={wanted}, or --set engine.num_workers={logical}"
        return Check(name="cpus", passed=False, detail=f"{numbers}: the run would be refused; {advice}")
    slow = "; workers will share CPUs and be slow" if wanted > real else ""
    return Check(name="cpus", passed=True, detail=f"{numbers}{slow}")


def check_port(port: int) -> Check:
    """Whether the port of the UI is free, or ours already."""
    from flows.serving import check_port as probe
    from flows.serving import read_service

    service = read_service(port)
    if service:
        return Check(name="port", passed=True, detail=f"{port}: `trrg up` runs as process {service.pid}")
    try:
        probe("prefect", port)
    except ConfigError as error:
        return Check(name="port", passed=False, detail=str(error))
    return Check(name="port", passed=True, detail=f"{port} is free")


def check_cluster(address: str) -> Check:
    """Whether the cluster answers, takes the token, and runs the same version of Ray."""
    if importlib.util.find_spec("ray") is None:
        return Check(
            name="cluster", passed=False, detail="the extra 'train' is not installed: pip install 'trrg[train]'"
        )
    from pipelines.running.ray_jobs import connect_jobs

    try:
        client = connect_jobs(address)
    except ConfigError as error:
        advice = "" if "token" in str(error) else "; is the head up, and the port forwarded or published?"
        return Check(name="cluster", passed=False, detail=f"{error}{advice}")
    # asked for when the client connects; it has no public name
    theirs, ours = str(getattr(client, "_server_ray_version", "")), version("ray")
    if theirs and theirs != ours:
        detail = f"{address} runs Ray {theirs}, this environment has {ours}: build both from constraints.txt"
        return Check(name="cluster", passed=False, detail=detail)
    return Check(name="cluster", passed=True, detail=f"{address} answers, Ray {theirs or ours}")


def check_champion(store: str, config: TrrgConfig) -> Check:
    """Whether the files of the champion are those that were registered; passes where none was ever champion."""
    if importlib.util.find_spec("mlflow") is None:
        return Check(name="champion", passed=True, detail="not checked: that needs the extra 'flows'")
    from pipelines.registry.alias_moves import list_moves
    from pipelines.registry.model_list import list_models
    from pipelines.registry.verify_model import verify
    from trrg_core.storage.store import open_store

    try:
        opened = open_store(store)
        models = [model for model in list_models(opened, config.register_) if "champion" in model.aliases]
        if not models:
            return _none(list_moves(opened, config.register_.model_name), config)
        wrong = [finding for finding in verify(opened, models[0]) if not finding.passed]
    except (TrrgError, OSError) as error:
        return Check(name="champion", passed=False, detail=f"the registry cannot be read: {error}")
    if wrong:
        detail = "; ".join(f"{finding.name}: {finding.detail}" for finding in wrong)
        return Check(name="champion", passed=False, detail=f"{models[0].model} is not as registered: {detail}")
    return Check(name="champion", passed=True, detail=f"{models[0].model} is as registered")


def _none(moves: "Sequence[Move]", config: TrrgConfig) -> Check:
    if not moves or not moves[-1].after:
        return Check(name="champion", passed=True, detail="none, as a person declared" if moves else "none yet")
    from pipelines.registry.lost_champion import ADVICE

    last = f"models:/{config.register_.model_name}/{moves[-1].after}"
    return Check(name="champion", passed=False, detail=f"none, though {last} became it last: {ADVICE}")
