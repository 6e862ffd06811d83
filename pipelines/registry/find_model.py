"""The model that a user names: `models:/trrg@champion`, `models:/trrg/3`, a run of the store, or a model folder."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.registry.mlflow_model import registered_decoding
from pipelines.registry.references import is_missing, no_answer, read_only_client
from trrg_core.config.settings import RegisterConfig
from trrg_core.errors import ConfigError, StorageError
from trrg_core.runs.stored_model import MODEL, fetched_model, model_path
from trrg_core.storage.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

DEFAULT_MODEL = "models:/trrg@champion"
_DESCRIPTION = "config.json"  # of a model folder
_REGISTERED = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>[0-9]+))")


@dataclass(frozen=True, kw_only=True)
class FoundModel:
    """A trained model. `name` is what its reports are marked with; it has a run of the store or a local folder.

    `digest` is the sha256 of its manifest as registered; empty where the registry has none, or was not asked.
    `decoding` are the settings that it was scored and registered with, over those in its folder.
    """

    name: str
    run_id: str = ""
    folder: str = ""
    digest: str = ""
    decoding: tuple[str, ...] = ()


def find_model(store: Store, config: RegisterConfig, reference: str) -> FoundModel:
    """The model that `reference` names now: an alias may point at another one later.

    Raises:
        ConfigError: if there is no such model.
        DataError: `damaged_record`, if the description of a registered one is damaged.
        StorageError: if the registry cannot be read.
    """
    if not reference.startswith("models:"):
        return _find_unregistered(store, reference)
    named = _REGISTERED.fullmatch(reference)
    if named is None:
        raise ConfigError(f"model {reference!r}: expected models:/NAME@ALIAS or models:/NAME/VERSION")
    with read_only_client(store, config) as client:
        if client is None:
            raise ConfigError(f"{store.uri} has no registered model: run `trrg run`, or name a run or a model folder")
        version = _find_version(client, named, reference)
    name = f"models:/{version.name}/{version.version}"
    if run_id := version.tags.get("trrg.generator", ""):
        digest, decoding = version.tags.get("weights", ""), registered_decoding(store, version.source or "")
        return FoundModel(name=f"{name}, run {run_id}", run_id=run_id, digest=digest, decoding=decoding)
    return FoundModel(name=name, folder=str(version.source or "").removeprefix("file://"))


def is_deleted(store: Store, config: RegisterConfig, reference: str) -> bool:
    """Whether a registered version, `models:/NAME/VERSION`, is gone; a registry that does not answer has it."""
    try:
        find_model(store, config, reference)
    except ConfigError:
        return True
    except StorageError:
        return False
    return False


@contextmanager
def opened_model(store: Store, model: FoundModel) -> Iterator[Path]:
    """The local folder of a model, valid within the block; a model in a bucket is downloaded for it.

    Raises:
        ConfigError: if it has no such folder.
    """
    if model.folder or not store.is_s3:
        folder = Path(model.folder or store.join(model_path(model.run_id)))
        if not folder.is_dir():
            raise ConfigError(f"{model.name}: there is no model folder {folder}")
        yield folder
        return
    with fetched_model(store, model.run_id) as folder:
        yield folder


def _find_unregistered(store: Store, reference: str) -> FoundModel:
    if (Path(reference) / _DESCRIPTION).is_file():
        return FoundModel(name=reference, folder=reference)
    if "/" not in reference and store.exists(model_path(reference)):
        return FoundModel(name=f"run {reference}", run_id=reference)
    raise ConfigError(
        f"model {reference!r}: expected models:/NAME@ALIAS, models:/NAME/VERSION, a run with a trained model in "
        f"{store.uri}, or a model folder{_meant(Path(reference))}"
    )


def _meant(path: Path) -> str:
    """A hint where the model folder is next to what was named: within a folder of a run, or around a file."""
    near = (path / MODEL, path.parent)
    found = next((folder for folder in near if path.exists() and (folder / _DESCRIPTION).is_file()), None)
    return f"; did you mean {found}?" if found else ""


def _find_version(client: "MlflowClient", named: re.Match[str], reference: str) -> "ModelVersion":
    from mlflow.exceptions import MlflowException

    try:
        if named["alias"]:
            return client.get_model_version_by_alias(named["name"], named["alias"])
        return client.get_model_version(named["name"], named["version"])
    except MlflowException as error:
        if is_missing(error):
            raise ConfigError(f"{reference}: the model registry has no such version or alias") from error
        raise no_answer(error) from error
