"""The folder by which MLflow opens a registered model: a description, and where the weights and the decoding are.

The weights stay in the folder of their training run, which is the one that was evaluated; nothing is copied.
"""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trrg_core.config.settings import GenerateConfig
from trrg_core.runs.results import run_path
from trrg_core.storage.store import Store

FOLDER = "mlflow"
REFERENCE = "trrg_model.json"
LOADER = "pipelines.serving.pyfunc_model"

# how many studies are decoded together and which split is scored do not change a report
_NOT_DECODING = {"batch_size", "split"}


def decoding_of(config: GenerateConfig) -> dict[str, Any]:
    """The settings that decide what the model writes for an image."""
    return config.model_dump(mode="json", exclude=_NOT_DECODING)


def write_mlflow_model(store: Store, run_id: str, *, generator: str, decoding: Mapping[str, Any]) -> str:
    """The address of a folder, in run `run_id`, that `mlflow.pyfunc.load_model` opens as the model of `generator`."""
    from mlflow import pyfunc
    from mlflow.models import Model

    path = f"{run_path(run_id)}/{FOLDER}"
    reference = {"store": store.uri, "generator": generator, "decoding": dict(decoding)}
    with tempfile.TemporaryDirectory() as local:
        model = Model(run_id=None, metadata={"generator": generator})
        pyfunc.add_to_model(model, loader_module=LOADER, data=REFERENCE)
        model.save(str(Path(local) / "MLmodel"))
        (Path(local) / REFERENCE).write_text(json.dumps(reference, indent=1, sort_keys=True), "utf-8")
        store.upload_dir(Path(local), path)
    return store.join(path)
