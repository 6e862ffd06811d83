"""The numbers of a training over its steps: a file in the run's folder, which its charts and MLflow are made from."""

import json
from collections.abc import Mapping, Sequence

from trrg_core.errors import DataError, StorageError
from trrg_core.storage.store import Store
from trrg_core.storage.stored_record import read_record

METRICS_FILE = "metrics.json"  # in the folder of a run
STEP, TIME = "step", "time_ms"  # of a point; its other entries are numbers by name


def write_points(store: Store, path: str, points: Sequence[Mapping[str, float]]) -> None:
    """Write the points to the file `path`, in place of those that it has."""
    store.write_bytes(path, json.dumps(points).encode())


def read_points(store: Store, path: str) -> list[dict[str, float]]:
    """The points in the file `path`, by step; none if there is no such file or it is damaged."""
    try:
        points: list[dict[str, float]] = read_record(store, path, list[dict[str, float]])
    except (DataError, StorageError):
        return []
    return [point for point in points if STEP in point and TIME in point]
