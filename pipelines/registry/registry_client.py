"""The model registry in plain values: versions of one registered model, their tags, scores and aliases.

The values are stored as MLflow tags: `score.NAME` for each score, `trrg.*` for runs and table versions.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from pipelines.registry.mlflow_store import registry
from trrg_core.config.settings import RegisterConfig
from trrg_core.storage.store import Store

CHALLENGER, CHAMPION = "challenger", "champion"

_RUN_TAG = "trrg.run"
_SCORE_PREFIX = "score."


@dataclass(frozen=True, kw_only=True)
class NewVersion:
    """What a new model version refers to: its `register` run, the model folder, the generator and `evaluate` runs."""

    run_id: str
    source: str
    generator: str
    scores: str


class ModelVersions:
    """The versions of one registered model."""

    def __init__(self, client: MlflowClient, model_name: str) -> None:
        self._client = client
        self._name = model_name

    def find(self, run_id: str) -> str | None:
        """The version that an earlier, interrupted attempt of run `run_id` has created."""
        try:
            versions = self._client.search_model_versions(f"name='{self._name}'")
        except MlflowException:
            return None
        return next((str(item.version) for item in versions if item.tags.get(_RUN_TAG) == run_id), None)

    def create(self, version: NewVersion) -> str:
        """A new version; the registered model is created with its first one."""
        try:
            self._client.create_registered_model(self._name, description="Radiology report generator trained by TRRG")
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        tags = {_RUN_TAG: version.run_id, "trrg.generator": version.generator, "trrg.scores": version.scores}
        return str(self._client.create_model_version(self._name, source=version.source, tags=tags).version)

    def describe(self, version: str, *, card: str, scores: Mapping[str, float]) -> None:
        """Store the model card and the scores of a version."""
        self._client.update_model_version(self._name, version, description=card)
        for name, value in scores.items():
            self._client.set_model_version_tag(self._name, version, f"{_SCORE_PREFIX}{name}", str(value))

    def set_alias(self, alias: str, version: str) -> None:
        """Point `alias` at a version."""
        self._client.set_registered_model_alias(self._name, alias, version)

    def scores_of(self, alias: str) -> dict[str, float] | None:
        """The scores of the version that `alias` points at; None when there is none."""
        try:
            version = self._client.get_model_version_by_alias(self._name, alias)
        except MlflowException:
            return None
        return {
            key.removeprefix(_SCORE_PREFIX): float(value)
            for key, value in version.tags.items()
            if key.startswith(_SCORE_PREFIX)
        }

    def uri(self, version: str) -> str:
        """The address of a version: `models:/trrg/3`."""
        return f"models:/{self._name}/{version}"


@contextmanager
def open_registry(store: Store, config: RegisterConfig) -> Iterator[ModelVersions]:
    """The versions of the configured model; changes are kept when the block ends without an error.

    Raises:
        StorageError: if another process is writing to the store's registry.
    """
    with registry(store, config) as client:
        yield ModelVersions(client, config.model_name)
