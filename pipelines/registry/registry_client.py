"""The model registry in plain values: versions of one registered model, their tags and aliases.

The values are stored as MLflow tags: `score.NAME` for each score, `gate.NAME` for the decision, `trrg.*` for runs and
table versions, `identity` for weights and decoding, `weights`, `mlbom` and `golden` for the sha256 of the
manifest, of the bill of materials and of the golden output, `why` for the last move
of the champion's alias to a version.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from pipelines.registry.mlflow_store import registry
from pipelines.registry.references import SHORTENED, is_missing, no_answer
from trrg_core.config.settings import RegisterConfig
from trrg_core.storage.store import Store

# the best champion so far may be an earlier one than the present: a small drop is allowed at each promotion
CHALLENGER, CHAMPION, BEST_CHAMPION = "challenger", "champion", "best-champion"
SCORE_TAG, GATE_TAG = "score.", "gate."
WHY_TAG, IDENTITY_TAG, WEIGHTS_TAG = "why", "identity", "weights"
BILL_TAG, GOLDEN_TAG = "mlbom", "golden"

# characters; MLflow's column has 5,000, which PostgreSQL and MySQL hold to, and a card has twice as many
MAX_CARD = 4000

_RUN_TAG, _GENERATOR_TAG, _SCORES_TAG = "trrg.run", "trrg.generator", "trrg.scores"


@dataclass(frozen=True, kw_only=True)
class NewVersion:
    """What a new model version refers to: its `register` run, the model folder, the generator and `evaluate` runs."""

    run_id: str
    source: str
    generator: str
    scores: str


@dataclass(frozen=True, kw_only=True)
class KnownVersion:
    """A registered version: its number, its generator and `evaluate` runs, and all of its tags."""

    version: str
    generator: str
    scores: str
    tags: Mapping[str, str]


class ModelVersions:
    """The versions of one registered model."""

    def __init__(self, client: MlflowClient, model_name: str, *, is_remote: bool = False) -> None:
        self._client = client
        self._is_remote = is_remote
        self.name = model_name

    def find(self, run_id: str) -> str | None:
        """The version that an earlier, interrupted attempt of run `run_id` has created."""
        return self.find_tagged(_RUN_TAG, run_id)

    def create(self, version: NewVersion) -> str:
        """A new version; the registered model is created with its first one."""
        try:
            self._client.create_registered_model(self.name, description="Radiology report generator trained by TRRG")
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        tags = {_RUN_TAG: version.run_id, _GENERATOR_TAG: version.generator, _SCORES_TAG: version.scores}
        return str(self._client.create_model_version(self.name, source=version.source, tags=tags).version)

    def describe(self, version: str, *, card: str, tags: Mapping[str, str]) -> None:
        """Store the model card and tags of a version; a server gets the first lines of a long card.

        Scores and checks of an earlier registration that are not among `tags` are removed.
        """
        text = shorten_card(card) if self._is_remote else card
        known = self._client.update_model_version(self.name, version, description=text).tags
        self.tag(version, tags)
        for name in known:
            if name.startswith((SCORE_TAG, GATE_TAG)) and name not in tags:
                self._client.delete_model_version_tag(self.name, version, name)

    def refer(self, version: str, to: NewVersion) -> None:
        """Let an existing version refer to another registration of the same weights and decoding."""
        self.tag(version, {_RUN_TAG: to.run_id, _GENERATOR_TAG: to.generator, _SCORES_TAG: to.scores})

    def tag(self, version: str, tags: Mapping[str, str]) -> None:
        """Store tags of a version."""
        for name, value in tags.items():
            self._client.set_model_version_tag(self.name, version, name, value)

    def find_tagged(self, name: str, value: str) -> str | None:
        """The newest version with this tag."""
        return self._newest(lambda tags: tags.get(name) == value)

    def find_promoted(self) -> str | None:
        """The newest version that was champion at any time."""
        return self._newest(lambda tags: WHY_TAG in tags)

    def _newest(self, is_meant: Callable[[Mapping[str, str]], bool]) -> str | None:
        versions = self._client.search_model_versions(f"name='{self.name}'", max_results=1000)
        found = [int(item.version) for item in versions if is_meant(item.tags)]
        return str(max(found)) if found else None

    def has(self, version: str) -> bool:
        """Whether there is this version."""
        try:
            self._client.get_model_version(self.name, version)
        except MlflowException as error:
            if not is_missing(error):
                raise
            return False
        return True

    def set_alias(self, alias: str, version: str) -> None:
        """Point `alias` at a version."""
        self._client.set_registered_model_alias(self.name, alias, version)

    def delete_alias(self, alias: str) -> None:
        """Remove `alias`; nothing where there is none."""
        if self.at(alias):
            self._client.delete_registered_model_alias(self.name, alias)

    def at(self, alias: str) -> KnownVersion | None:
        """The version that `alias` points at; None when there is none."""
        try:
            found = self._client.get_model_version_by_alias(self.name, alias)
        except MlflowException as error:
            if not is_missing(error):  # a registry that fails has a champion all the same
                raise
            return None
        return KnownVersion(
            version=str(found.version),
            generator=found.tags.get(_GENERATOR_TAG, ""),
            scores=found.tags.get(_SCORES_TAG, ""),
            tags=dict(found.tags),
        )

    def uri(self, version: str) -> str:
        """The address of a version: `models:/trrg/3`."""
        return f"models:/{self.name}/{version}"


def shorten_card(card: str) -> str:
    """A card that fits into the registry of a database server, with the section on withdrawals that may follow."""
    if len(card) <= MAX_CARD:
        return card
    return f"{card[:MAX_CARD].rpartition(chr(10))[0]}\n\n{SHORTENED}"


@contextmanager
def open_registry(store: Store, config: RegisterConfig) -> Iterator[ModelVersions]:
    """The versions of the configured model; changes are kept when the block ends without an error.

    Raises:
        StorageError: if another process is writing to the store's registry, or the registry fails.
    """
    with registry(store, config) as client:
        try:
            yield ModelVersions(client, config.model_name, is_remote=bool(config.tracking_uri))
        except MlflowException as error:
            raise no_answer(error) from error
