"""The champion by its alias, which alone says which version it is: where it comes from, and why it is the champion."""

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from pipelines.registry.references import is_missing, no_answer, read_only_client
from trrg_core.config.settings import RegisterConfig
from trrg_core.runs.results import read_result
from trrg_core.storage.store import Store

CHAMPION = "champion"


@dataclass(frozen=True, kw_only=True)
class Champion:
    """The version that the alias `champion` points at; `why` says how it came there."""

    model: str
    generator: str
    why: str
    scores: Mapping[str, float] = field(default_factory=dict)


def find_champion(store: Store, config: RegisterConfig) -> Champion | None:
    """The champion of the registry; None where there is none.

    Raises:
        StorageError: if the registry cannot be read.
    """
    with read_only_client(store, config) as client:
        if client is None:
            return None
        from mlflow.exceptions import MlflowException

        try:
            version = client.get_model_version_by_alias(config.model_name, CHAMPION)
        except MlflowException as error:
            if is_missing(error):
                return None
            raise no_answer(error) from error
    tags = dict(version.tags)
    return Champion(
        model=f"models:/{version.name}/{version.version}",
        generator=tags.get("trrg.generator", ""),
        why=tags.get("why", "") or tags.get("gate.ruling", "") or "the alias was set by hand",
        scores=score_values(tags),
    )


def score_values(tags: Mapping[str, str]) -> dict[str, float]:
    """The scores in the tags of a version; a tag that a person wrote and that is no number is none of them."""
    found: dict[str, float] = {}
    for name, text in tags.items():
        if name.startswith("score."):
            with suppress(ValueError):
                found[name.removeprefix("score.")] = float(text)
    return {name: value for name, value in found.items() if math.isfinite(value)}


def champion_shards(store: Store, config: RegisterConfig) -> str:
    """The version of `shards` that the champion was trained on; empty without a champion or its training run."""
    champion = find_champion(store, config)
    generator = read_result(store, champion.generator) if champion and champion.generator else None
    return generator.inputs.get("shards", "") if generator else ""
