"""A registered model behind MLflow: `mlflow.pyfunc.load_model("models:/trrg@champion").predict(["film.png"])`.

MLflow calls `_load_pyfunc` with the file `trrg_model.json`, which names a store and a training run. Where the store has
moved since, the environment variable TRRG_STORE names the new place.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.registry.find_model import FoundModel
from pipelines.registry.mlflow_model import settings_of
from pipelines.serving.load_writer import load_writer
from trrg_core.errors import ConfigError
from trrg_core.generation.report_writer import ReportWriter
from trrg_core.generation.study_files import StudyFiles
from trrg_core.generation.written_files import write_files
from trrg_core.storage.store import open_store

if TYPE_CHECKING:
    import pandas as pd

STORE_VARIABLE = "TRRG_STORE"
IMAGE, VIEW = "image", "view_position"


class TrrgModel:
    """Writes reports for image files."""

    def __init__(self, writer: ReportWriter) -> None:
        self._writer = writer

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> "pd.DataFrame":
        """One row per study: `study_id`, `report`, `clues`, and `rejected`, the reason where it has no report.

        Args:
            model_input: image paths, each a study, or a table with the column `image` (a path, or a list of paths of
                one study) and, if known, `study_id` and `view_position`.
            params: not used; MLflow passes them.

        Raises:
            ConfigError: for a table without the column `image`.
        """
        import pandas as pd

        rows = []
        for done in write_files(self._writer, list(_studies(model_input))):
            written = done.written
            clues = written.clues if written else ()
            rows.append(
                {
                    "study_id": done.study_id,
                    "report": written.report if written else None,
                    "clues": {clue.observation: round(clue.probability, 4) for clue in clues},
                    "rejected": "; ".join(f"{film.name}: {film.reason}" for film in done.rejected),
                }
            )
        return pd.DataFrame(rows, columns=["study_id", "report", "clues", "rejected"])


def _load_pyfunc(path: str) -> TrrgModel:
    reference = json.loads(Path(path).read_text("utf-8"))
    store = open_store(os.environ.get(STORE_VARIABLE) or reference["store"])
    model = FoundModel(name=f"run {reference['generator']}", run_id=reference["generator"])
    return TrrgModel(load_writer(store, model, settings_of(reference["decoding"])))


def _studies(model_input: Any) -> Iterable[StudyFiles]:
    if isinstance(model_input, str | Path):
        model_input = [model_input]
    if not hasattr(model_input, "columns"):
        for path in model_input:
            yield _study([path], "", "")
        return
    if IMAGE not in model_input.columns:
        raise ConfigError(f"expected a column {IMAGE!r} with paths of images, found {', '.join(model_input.columns)}")
    for row in model_input.to_dict("records"):
        images = row[IMAGE]
        paths = [images] if isinstance(images, str | Path) else list(images)
        yield _study(paths, str(row.get("study_id") or ""), str(row.get(VIEW) or ""))


def _study(paths: list[Any], study_id: str, view_position: str) -> StudyFiles:
    files = tuple(Path(str(path)) for path in paths)
    name = study_id or (files[0].stem if files else "")
    return StudyFiles(study_id=name, paths=files, view_positions=(view_position,) * len(files))
