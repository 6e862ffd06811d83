"""The files of an evaluation that a decision is made from: their sha256 is recorded with it, and verified later."""

import hashlib
from collections.abc import Mapping

from trrg_core.errors import DataError
from trrg_core.metrics.image_use import IMAGE_OUTCOMES_FILE
from trrg_core.metrics.outcomes import OUTCOMES_FILE
from trrg_core.metrics.score_file import SCORES_FILE
from trrg_core.registry.decision import DECISION_FILE, EVALUATION_FILES, decision_from_bytes
from trrg_core.runs.results import run_path
from trrg_core.storage.folders import WITHDRAWAL_RECORD
from trrg_core.storage.store import Store

_WITH_PATIENTS = (OUTCOMES_FILE, IMAGE_OUTCOMES_FILE)  # a withdrawal erases rows of them


def digests(store: Store, scores: str) -> dict[str, str]:
    """The sha256 of the scores and outcomes of an `evaluate` run, by name of the file; of those that it has."""
    paths = {name: f"{run_path(scores)}/{name}" for name in (SCORES_FILE, *_WITH_PATIENTS)}
    return {
        name: hashlib.sha256(store.read_bytes(path)).hexdigest() for name, path in paths.items() if store.exists(path)
    }


def has_changed_outcomes(store: Store, scores: str, registration: str) -> bool:
    """Whether the outcomes of an `evaluate` run are not those of the decision of a registration, where it has a hash.

    Nobody can tell in a store with withdrawals, which erase rows of them.

    Raises:
        DataError: `damaged_record`, if the decision cannot be read.
    """
    path = f"{run_path(registration)}/{DECISION_FILE}"
    if not registration or not store.exists(path) or store.exists(WITHDRAWAL_RECORD):
        return False
    recorded = decision_from_bytes(store.read_bytes(path)).facts.get(EVALUATION_FILES, {}).get(OUTCOMES_FILE)
    return bool(recorded) and digests(store, scores).get(OUTCOMES_FILE) != recorded


def compare_digests(store: Store, scores: str, recorded: Mapping[str, str]) -> str:
    """What is to be said of the files of an `evaluate` run that are as recorded.

    Raises:
        DataError: `changed_evaluation`, naming the files that are gone or not those that were recorded.
    """
    found = digests(store, scores)
    other = [name for name, digest in recorded.items() if found.get(name) != digest]
    erased = [name for name in other if name in _WITH_PATIENTS and name in found and store.exists(WITHDRAWAL_RECORD)]
    if changed := [name for name in other if name not in erased]:
        raise DataError(
            "changed_evaluation",
            f"{', '.join(f'{run_path(scores)}/{name}' for name in changed)}: gone, or not as at the decision; restore "
            "from a backup, or evaluate and register again",
        )
    if erased:
        return f"{', '.join(erased)} changed since the decision, as a withdrawal does; the others are as recorded"
    return f"{len(recorded)} files as at the decision"
