"""What a store of an earlier version of TRRG needs: some of it is added here, the rest names the command that makes it.

Nothing is rewritten: tables and runs are never changed. Added are tags of the registry, the first record of moves,
and HMACs of manifests that have none.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pyarrow as pa

from pipelines.registry.alias_moves import BY_GATE, Move, list_moves, record_move
from pipelines.registry.bill_of_materials import write_bill
from pipelines.registry.lock import registry_lock
from pipelines.registry.model_list import ListedModel, list_models
from pipelines.registry.registry_client import BILL_TAG, CHAMPION, WEIGHTS_TAG, open_registry
from pipelines.registry.unsealed import find_unsealed, seal_all
from pipelines.registry.verify_model import weights_digest
from trrg_core.config.settings import TrrgConfig
from trrg_core.errors import DataError
from trrg_core.labels import load_label_set
from trrg_core.metrics.outcomes import OUTCOMES_FILE
from trrg_core.model.calibration import FORMAT_VERSION as PERCEPTION_FORMAT
from trrg_core.runs.results import read_result, run_path
from trrg_core.runs.stored_model import model_path
from trrg_core.signing.manifest_key import ManifestKey, read_manifest_key
from trrg_core.storage.store import Store
from trrg_core.storage.stored_record import read_record
from trrg_core.tables.commit_history import history
from trrg_core.tables.delta import read_schema
from trrg_core.tables.schema import PREDICTIONS, SLICES, STUDIES, reports_schema, shards_schema

MAKERS: Mapping[str, str] = {
    "studies": "trrg ingest",
    "reports": "trrg parse",
    "shards": "trrg shard",
    "slices": "trrg reslice",
    "predictions": "trrg generate",
}


class Need(StrEnum):
    """What a part of a store needs."""

    NOTHING = "ok"
    ADDED = "add"  # by the migration
    MADE = "make"  # by a command, which the detail names


@dataclass(frozen=True, kw_only=True)
class Step:
    """A part of a store and what it needs; `detail` says what was found, and for MADE which command to run."""

    part: str
    need: Need
    detail: str


def plan_migration(store: Store, config: TrrgConfig) -> list[Step]:
    """What each part of the store needs; nothing is changed."""
    models = list_models(store, config.register_)
    champion = next((model for model in models if CHAMPION in model.aliases), None)
    moves = _moves(store, config.register_.model_name, champion)
    steps = [*_tables(store, config), *_manifests(store, config), *_weights(store, models), *moves]
    return [*steps, *(_champion(store, champion) if champion else ())]


def migrate(store: Store, config: TrrgConfig) -> list[Step]:
    """Add what can be added; the steps of the store as they were before.

    Raises:
        StorageError: if another process changes the registry.
    """
    steps = plan_migration(store, config)
    if key := _manifest_key(store, config):
        seal_all(store, key)
    if not list_models(store, config.register_):
        return steps
    with registry_lock(store):
        listed = list_models(store, config.register_)
        with open_registry(store, config.register_) as models:
            for model in listed:
                if not model.tags.get(WEIGHTS_TAG) and (digest := weights_digest(store, model.generator)):
                    models.tag(model.version, {WEIGHTS_TAG: digest})
                if _needs_bill(store, model):
                    bill = write_bill(store, model.registration, name=model.model, generator=model.generator)
                    models.tag(model.version, {BILL_TAG: bill})
            champion = models.at(CHAMPION)
        name, reason = config.register_.model_name, "before moves were kept"
        if champion and not list_moves(store, name):
            record_move(store, Move(before="", after=champion.version, kind=BY_GATE, reason=reason, name=name))
    return steps


def _tables(store: Store, config: TrrgConfig) -> Iterator[Step]:
    labels = load_label_set(config.parse.label_set)
    schemas = {
        "studies": STUDIES,
        "reports": reports_schema(labels),
        "shards": shards_schema(labels),
        "slices": SLICES,
        "predictions": PREDICTIONS,
    }
    for name, schema in schemas.items():
        versions = history(store, name)
        if not versions:
            continue
        ref = versions[0].ref
        missing = missing_fields(schema, read_schema(store, ref))
        if missing:
            shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
            detail = f"lacks {shown}: run `{MAKERS[name]}`, which writes a new version"
            yield Step(part=str(ref), need=Need.MADE, detail=detail)
        else:
            yield Step(part=str(ref), need=Need.NOTHING, detail="has every column")


def missing_fields(wanted: pa.Schema, found: pa.Schema) -> list[str]:
    """The columns, and the fields inside them, that are wanted and not found, as dotted paths."""
    return _missing("", pa.struct(list(wanted)), pa.struct(list(found)))


def _missing(path: str, wanted: pa.DataType, found: pa.DataType) -> list[str]:
    if pa.types.is_list(wanted) and pa.types.is_list(found):
        return _missing(path, wanted.value_type, found.value_type)
    if not pa.types.is_struct(wanted) or not pa.types.is_struct(found):
        return []
    present = {field.name: field.type for field in found}
    missing: list[str] = []
    for field in wanted:
        below = f"{path}.{field.name}".removeprefix(".")
        missing += _missing(below, field.type, present[field.name]) if field.name in present else [below]
    return missing


def _needs_bill(store: Store, model: ListedModel) -> bool:
    """Whether a version has no bill of materials, and what one is made from is in the store."""
    is_known = bool(model.registration) and read_result(store, model.generator) is not None
    return is_known and not model.tags.get(BILL_TAG) and bool(weights_digest(store, model.generator))


def _manifest_key(store: Store, config: TrrgConfig) -> ManifestKey | None:
    return read_manifest_key(config.engine.manifest_key_file, store.uri)


def _manifests(store: Store, config: TrrgConfig) -> Iterator[Step]:
    if _manifest_key(store, config) is None:
        return
    for path in find_unsealed(store):
        yield Step(part=path, need=Need.ADDED, detail="the HMAC of its manifest, which the configured key gives")


def _weights(store: Store, models: list[ListedModel]) -> Iterator[Step]:
    for model in models:
        if _needs_bill(store, model):
            detail = "a bill of materials, with the packages that are installed now"
            yield Step(part=model.model, need=Need.ADDED, detail=detail)
        if model.tags.get(WEIGHTS_TAG):
            continue
        if weights_digest(store, model.generator):
            detail = "the digest of its files, which `trrg verify` compares"
            yield Step(part=model.model, need=Need.ADDED, detail=detail)
        else:
            detail = f"its model folder {model.generator or '(none)'} is gone or unfinished: train and register again"
            yield Step(part=model.model, need=Need.MADE, detail=detail)


def _moves(store: Store, name: str, champion: ListedModel | None) -> Iterator[Step]:
    if champion and not list_moves(store, name):
        detail = f"that {champion.model} is champion, for later rollbacks; earlier champions are not known"
        yield Step(part="moves", need=Need.ADDED, detail=detail)


def _champion(store: Store, champion: ListedModel) -> Iterator[Step]:
    again = "train again with `trrg run --from pretrain`"
    path = f"{model_path(champion.generator)}/perception.json"
    if champion.generator and store.exists(path):
        try:
            found = read_record(store, path, dict[str, Any]).get("format")
            detail = f"perception of format {found}, this version reads {PERCEPTION_FORMAT}: {again}"
        except DataError as error:
            found, detail = None, f"{error}, or {again}"
        if found != PERCEPTION_FORMAT:
            yield Step(part=champion.model, need=Need.MADE, detail=detail)
    if not store.exists(f"{run_path(champion.scores_run)}/{OUTCOMES_FILE}"):
        detail = "no outcomes of single studies: the gate scores it again on the next `trrg register`"
        yield Step(part=f"scores of {champion.model}", need=Need.NOTHING, detail=detail)
