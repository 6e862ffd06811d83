"""Writes `prefect.yaml` from `flows.deployments`: `python -m infra.prefect.deployments [--check]`."""

import sys
from pathlib import Path
from typing import Any

import yaml

from flows.deployments import CRON, DEPLOYMENTS, ONE_AT_A_TIME, TIMEZONE

PLACE = Path(__file__).parents[2] / "prefect.yaml"
HEAD = """\
# Deployments for a worker: `prefect deploy --all` after `prefect work-pool create trrg --type process` (a machine) or
# `--type kubernetes` (a cluster; infra/prefect has its job template). The queue of the pool lets one run at a time use
# the store: `prefect work-queue create store --pool trrg --limit 1`. `trrg up` serves the same deployments without any.
# Written by `python -m infra.prefect.deployments`.
"""
# the flows are installed, by `pip` or in the image: nothing is fetched before a run
PULL = {"prefect.deployments.steps.set_working_directory": {"directory": "/tmp"}}
STORE = "{{ $TRRG_STORE }}"


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
        "parameters": {"store": STORE, **one.parameters},
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
