"""The folder by which MLflow opens a registered model: a description, and where the weights and the decoding are.

The weights stay in the folder of their training run, which is the one that was evaluated; nothing is copied.
"""

import json
import re
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trrg_core.config.settings import GenerateConfig
from trrg_core.errors import ConfigError
from trrg_core.runs.results import run_path
from trrg_core.storage.store import Store
from trrg_core.storage.stored_record import read_record

# notes of predictions and of their evaluation: how the reports were decoded
DECODING = "decoding"
FOLDER = "mlflow"
REFERENCE = "trrg_model.json"
LOADER = "pipelines.serving.pyfunc_model"

# how many studies are decoded together and which split is scored do not change a report
_NOT_DECODING = {"batch_size", "split"}
_RUN_OF_SOURCE = re.compile(rf"runs/([^/]+)/{FOLDER}/?")


@dataclass(frozen=True, kw_only=True)
class _Reference:
    """What is read of the description here."""

    decoding: dict[str, Any]


def decoding_of(config: GenerateConfig) -> dict[str, Any]:
    """The settings that decide what the model writes for an image."""
    return config.model_dump(mode="json", exclude=_NOT_DECODING)


def settings_of(decoding: Mapping[str, Any]) -> tuple[str, ...]:
    """A decoding as settings, `generate.NAME=VALUE`."""
    return tuple(f"generate.{name}={json.dumps(value)}" for name, value in sorted(decoding.items()))


def check_decoding(config: GenerateConfig, noted: Collection[str], *, of: str) -> None:
    """Check that reports were decoded as `config` says; nothing is known of those of an earlier version.

    Args:
        config: how the model that is scored or registered decodes.
        noted: how the reports were decoded, as settings.
        of: what the reports are, for the message.

    Raises:
        ConfigError: if a setting differs.
    """
    present = settings_of(decoding_of(config))
    if other := sorted(set(noted) - set(present)):
        now = ", ".join(sorted(set(present) - set(noted))) or "none of them"
        raise ConfigError(
            f"{of} was decoded with {', '.join(other)}, this run has {now}: give it the same settings by --set, "
            "or generate and evaluate again"
        )


def registered_decoding(store: Store, source: str) -> tuple[str, ...]:
    """The decoding that a version with this source was registered with, as settings; none of another program's.

    Raises:
        DataError: `damaged_record`, if the description is damaged.
    """
    match = _RUN_OF_SOURCE.search(source)
    path = f"{run_path(match[1])}/{FOLDER}/{REFERENCE}" if match else ""
    if not path or not store.exists(path):
        return ()
    return settings_of(read_record(store, path, _Reference)["decoding"])


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
