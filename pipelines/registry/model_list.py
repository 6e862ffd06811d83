"""The registered versions as a person compares them: alias, data, scores with intervals, decision."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipelines.registry.lineage import score_values
from pipelines.registry.references import CARD, SHORTENED, no_answer, read_only_client
from trrg_core.config.settings import RegisterConfig
from trrg_core.errors import ConfigError, DataError
from trrg_core.label_stats.labelled_version import SHIPPED_SETS
from trrg_core.labels import load_label_set
from trrg_core.metrics.score_file import SCORES_FILE
from trrg_core.metrics.systems import headline
from trrg_core.runs.results import read_result, run_path
from trrg_core.storage.store import Store
from trrg_core.storage.stored_record import read_record

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ScoreValue:
    """A score with its interval over patients; no interval where none was computed."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class ListedModel:
    """A version. `data` are the table versions it was trained on; `why` says how it became champion, if it did."""

    model: str
    version: str
    aliases: tuple[str, ...]
    generator: str
    scores_run: str
    registration: str
    ruling: str
    against: tuple[str, ...]
    why: str
    created_ms: int
    data: Mapping[str, str] = field(default_factory=dict)
    scores: Mapping[str, ScoreValue] = field(default_factory=dict)
    card: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Ends:
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class _Scored:
    """What is read of a system in a file of scores."""

    intervals: dict[str, _Ends] = field(default_factory=dict)


def list_models(store: Store, config: RegisterConfig) -> list[ListedModel]:
    """The versions of the configured model, the newest first; none where there is no registry.

    Raises:
        StorageError: if the registry cannot be read.
    """
    with read_only_client(store, config) as client:
        if client is None:
            return []
        from mlflow.exceptions import MlflowException

        try:
            found = client.search_model_versions(f"name='{config.model_name}'", max_results=1000)
            aliases = dict(client.get_registered_model(config.model_name).aliases) if found else {}
        except MlflowException as error:
            raise no_answer(error) from error
    newest_first = sorted(found, key=lambda version: -int(version.version))
    return [_listed(store, version, aliases) for version in newest_first]


def find_listed(store: Store, config: RegisterConfig, name: str) -> ListedModel:
    """The version that `name` means: a number, an alias, `models:/NAME/VERSION` or `models:/NAME@ALIAS`.

    Raises:
        ConfigError: if there is none.
    """
    wanted = name.removeprefix(f"models:/{config.model_name}").lstrip("/@") or "champion"
    models = list_models(store, config)
    for model in models:
        if wanted == model.version or wanted in model.aliases:
            return model
    known = ", ".join(model.version for model in models) or "none"
    raise ConfigError(f"{name!r}: no such version or alias of {config.model_name} in {store.uri}; versions: {known}")


def shown_scores(models: Sequence[ListedModel], limit: int) -> list[str]:
    """Names of the first scores of a first look that any version has, at most `limit`."""
    known = {name for model in models for name in model.scores}
    preferred = [name for set_ in SHIPPED_SETS for name in headline(load_label_set(set_))]
    return [name for name in dict.fromkeys(preferred) if name in known][:limit] or sorted(known)[:limit]


def _listed(store: Store, version: "ModelVersion", aliases: Mapping[str, str]) -> ListedModel:
    tags = dict(version.tags)
    generator, scores = tags.get("trrg.generator", ""), tags.get("trrg.scores", "")
    trained = read_result(store, generator) if generator else None
    return ListedModel(
        model=f"models:/{version.name}/{version.version}",
        version=str(version.version),
        aliases=tuple(sorted(alias for alias, number in aliases.items() if str(number) == str(version.version))),
        generator=generator,
        scores_run=scores,
        registration=tags.get("trrg.run", ""),
        ruling=tags.get("gate.ruling", ""),
        against=tuple(
            f"{name.removeprefix('gate.')}: {value}"
            for name, value in sorted(tags.items())
            if name.startswith("gate.") and value.startswith(("fail", "insufficient"))
        ),
        why=tags.get("why", ""),
        created_ms=int(version.creation_timestamp or 0),
        data={name: ref for name, ref in (trained.inputs if trained else {}).items() if "@" in ref},
        scores=_scores(store, scores, tags),
        card=_card(store, tags.get("trrg.run", ""), version.description or ""),
        tags=tags,
    )


def _scores(store: Store, run_id: str, tags: Mapping[str, str]) -> dict[str, ScoreValue]:
    """The scores in the tags, with the intervals of the `evaluate` run while it is in the store."""
    intervals = _intervals(store, run_id)
    values = score_values(tags)
    return {name: ScoreValue(value=value, **intervals.get(name, {})) for name, value in values.items()}


def _card(store: Store, run_id: str, description: str) -> str:
    """The card in the registry, or the whole one where that has only its first lines."""
    path = f"{run_path(run_id)}/{CARD}"
    if not run_id or SHORTENED not in description or not store.exists(path):
        return description
    return store.read_bytes(path).decode("utf-8", "replace")


def _intervals(store: Store, run_id: str) -> dict[str, dict[str, Any]]:
    path = f"{run_path(run_id)}/{SCORES_FILE}"
    if not run_id or not store.exists(path):
        return {}
    try:
        systems = read_record(store, path, list[_Scored])
    except DataError as error:
        logger.warning("warning: %s; its intervals are not shown", error)
        return {}
    found: dict[str, dict[str, Any]] = systems[0].get("intervals", {}) if systems else {}
    return {name: {"low": ends["low"], "high": ends["high"]} for name, ends in found.items()}
