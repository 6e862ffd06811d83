"""The champion changes: by the gate, or by a person who promotes a version or goes back. Every move is kept.

The alias alone says which version is the champion; the moves say how it came there and where a rollback leads.
"""

import getpass
import json
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

from pipelines.registry.find_model import find_model
from pipelines.registry.lock import registry_lock
from pipelines.registry.model_signature import check_stored
from pipelines.registry.registry_client import BEST_CHAMPION, CHAMPION, WHY_TAG, ModelVersions, open_registry
from trrg_core.config.settings import RegisterConfig
from trrg_core.errors import ConfigError
from trrg_core.storage.folders import REGISTRY_FOLDER
from trrg_core.storage.store import Store
from trrg_core.storage.stored_record import read_record

MOVES = f"{REGISTRY_FOLDER}/moves"
BY_GATE, BY_PERSON, BACK = "gate", "person", "rollback"
NONE = "none"  # in place of a version: a person says that there is no champion
_VERSION = re.compile("[1-9][0-9]*")


@dataclass(frozen=True, kw_only=True)
class Move:
    """One change of the champion. `before` is empty for the first; `kind` is `gate`, `person` or `rollback`.

    `after` is empty where a person declared that there is no champion.
    `name` is that of the registered model; earlier records have none.
    """

    before: str
    after: str
    kind: str
    reason: str
    by: str = ""
    when_ms: int = 0
    name: str = ""

    def uris(self, model_name: str) -> tuple[str, str]:
        """The champions of `model_name` before and after it, as `models:/NAME/VERSION`, or `none`."""
        before, after = (f"models:/{model_name}/{one}" if one else NONE for one in (self.before, self.after))
        return before, after


def record_move(store: Store, move: Move) -> None:
    """Keep a move, for a person to read and for a rollback."""
    values = {**asdict(move), "when_ms": move.when_ms or time.time_ns() // 1_000_000}
    store.write_bytes(f"{MOVES}/{time.time_ns():020d}-{move.after}.json", json.dumps(values).encode())


def list_moves(store: Store, name: str = "") -> list[Move]:
    """All moves, or those of the registered model `name`; the oldest first.

    Raises:
        DataError: `damaged_record`, naming the file: without a move no rollback knows where it leads.
    """
    paths = store.list(MOVES) if store.exists(MOVES) else ()
    known = [field.name for field in fields(Move)]
    records = (read_record(store, path, Move) for path in paths)
    moves = [Move(**{field: record[field] for field in known if field in record}) for record in records]
    return [move for move in moves if not name or move.name in ("", name)]


def promote(store: Store, config: RegisterConfig, version: str, reason: str) -> Move:
    """Make `version` the champion, for the reason of a person; `NONE` declares that the lost one has no successor.

    Raises:
        ConfigError: without a reason, or if there is no such version, it is the champion already, or its files are
            not those that were registered and signed; for `NONE`, if there is a champion.
        StorageError: if another process changes the registry.
    """
    if version == NONE:
        return _declare_none(store, config, reason)
    if not _VERSION.fullmatch(version):
        raise ConfigError(f"version {version!r}: expected its number, e.g. 3; `trrg models` lists them")
    return _move(store, config, version, kind=BY_PERSON, reason=reason)


def rollback(store: Store, config: RegisterConfig, reason: str) -> Move:
    """Make the champion before the present one champion again; twice goes back two steps.

    Raises:
        ConfigError: without a champion, or if no move led to it, or if the files of the one before are not those that
            were registered and signed.
        StorageError: if another process changes the registry.
    """
    return _move(store, config, "", kind=BACK, reason=reason)


def _move(store: Store, config: RegisterConfig, version: str, *, kind: str, reason: str) -> Move:
    _check_reason(reason)
    with registry_lock(store), open_registry(store, config) as models:
        champion = models.at(CHAMPION)
        before = champion.version if champion else ""
        after = version or _earlier(list_moves(store, config.model_name), models, before)
        if after == before:
            raise ConfigError(f"{models.uri(after)} is the champion already")
        if not models.has(after):
            raise ConfigError(f"{models.uri(after)} is not in the registry: `trrg models` lists its versions")
        check_stored(store, find_model(store, config, models.uri(after)))
        name = config.model_name
        move = Move(before=before, after=after, kind=kind, reason=reason.strip(), by=_user(), name=name)
        word = "rolled back to" if kind == BACK else "promoted"
        models.tag(after, {WHY_TAG: f"{word} by {move.by or 'a person'}: {move.reason}"})
        record_move(store, move)
        models.set_alias(CHAMPION, after)
    return move


def _declare_none(store: Store, config: RegisterConfig, reason: str) -> Move:
    """Record that there is no champion, so that the next model is judged as the first; the best one is forgotten."""
    _check_reason(reason)
    with registry_lock(store), open_registry(store, config) as models:
        if champion := models.at(CHAMPION):
            raise ConfigError(f"{models.uri(champion.version)} is the champion: promote another version in its place")
        moves = list_moves(store, config.model_name)
        before = moves[-1].after if moves else ""
        move = Move(before=before, after="", kind=BY_PERSON, reason=reason.strip(), by=_user(), name=config.model_name)
        record_move(store, move)
        models.delete_alias(BEST_CHAMPION)
    return move


def _check_reason(reason: str) -> None:
    if not reason.strip():
        raise ConfigError("a reason is needed, which is kept in the registry: --reason TEXT")


def _earlier(moves: Sequence[Move], models: ModelVersions, champion: str) -> str:
    if not champion:
        raise ConfigError("no model is champion: there is nothing to go back from")
    undone: list[str] = []  # by rollbacks: what they left is not the way to the champion of now
    later = champion
    for move in reversed(moves):
        if move.kind == BACK:
            if move.after == later:  # otherwise it was cut off, or a person moved the alias after it
                undone.append(move.before)
        elif undone and move.after == undone[-1]:
            undone.pop()
        elif move.after == champion:
            if move.before:
                return move.before
            raise ConfigError(f"{models.uri(champion)} was the first champion: there is nothing to go back to")
        later = move.before
    raise ConfigError(
        f"no record says which model was champion before {models.uri(champion)}: name it with "
        "`trrg promote VERSION --reason TEXT`"
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return ""
