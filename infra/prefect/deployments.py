"""Writes `prefect.yaml` from `flows.deployments`: `python -m infra.prefect.deployments [--check]`."""

import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from flows.deployments import CRON, DEPLOYMENTS, ONE_AT_A_TIME, TIMEZONE

PLACE = Path(__file__).parents[2] / "prefect.yaml"
HEAD = """\
# Deployments for a worker, on a machine or in a cluster (infra/prefect): after
#   prefect work-pool create trrg --type process
#   prefect work-queue create store --pool trrg --limit 1     (one run at a time uses the store)
# `prefect deploy --all` makes them, with TRRG_STORE, TRRG_SOURCE, TRRG_PRESET and TRRG_JOBS_ADDRESS of its environment;
# for a machine without a cluster the last is `""`, with its quotes. `trrg up` serves the same deployments without this.
# Written by `python -m infra.prefect.deployments`.
"""
# the flows are installed, by `pip` or in the image: nothing is fetched before a run
PULL = {"prefect.deployments.steps.set_working_directory": {"directory": "/tmp"}}
# taken from the environment of `prefect deploy`
PARAMETERS = {
    "store": "{{ $TRRG_STORE }}",
    "preset": "{{ $TRRG_PRESET }}",
    "settings": ["ray.jobs_address={{ $TRRG_JOBS_ADDRESS }}"],
}
SOURCE = {"source_root": "{{ $TRRG_SOURCE }}"}


def to_yaml() -> str:
    """The content of `prefect.yaml`."""
    return HEAD + yaml.safe_dump(
        {"name": "trrg", "pull": [PULL], "deployments": [_entry(one) for one in DEPLOYMENTS]},
        sort_keys=False,
        width=110,
    )


def _entry(one: Any) -> dict[str, Any]:
    entry = {
        "name": one.name,
        "entrypoint": one.entrypoint,
        "description": one.description,
        "tags": ["trrg", *one.tags],
        "parameters": {**deepcopy(PARAMETERS), **(SOURCE if "source_root" in one.flow.parameters.properties else {})},
        "work_pool": {"name": "trrg", "work_queue_name": "store"},
        "concurrency_limit": {
            "limit": ONE_AT_A_TIME.limit,
            "collision_strategy": ONE_AT_A_TIME.collision_strategy.value,
        },
    }
    schedule = {"cron": CRON, "timezone": TIMEZONE, "active": False}
    return entry | ({"schedules": [schedule]} if one.is_scheduled else {})


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        sys.exit(
            0 if PLACE.read_text("utf-8") == to_yaml() else "prefect.yaml is old: python -m infra.prefect.deployments"
        )
    PLACE.write_text(to_yaml(), "utf-8")
