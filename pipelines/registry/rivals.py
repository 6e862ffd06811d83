"""The champions that a challenger is compared with, and their outcomes on the challenger's very studies.

Outcomes that were counted on the same studies by the same rules are reused. Otherwise the champion generates and is
scored again; where that is impossible, the rival says why, and the gate refuses.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pipelines.registry.evaluation_files import has_changed_outcomes
from pipelines.registry.registry_client import BEST_CHAMPION, CHAMPION, KnownVersion, ModelVersions
from pipelines.registry.seen_studies import count_seen
from trrg_core.errors import DataError, StorageError, TrrgError
from trrg_core.metrics.outcomes import OUTCOMES_FILE, OutcomeTable, outcomes_from_bytes
from trrg_core.registry import champion_checks
from trrg_core.registry.champion_checks import Rival
from trrg_core.runs.results import read_result, run_path
from trrg_core.storage.store import Store

logger = logging.getLogger(__name__)

_ROLES = {CHAMPION: champion_checks.CHAMPION, BEST_CHAMPION: champion_checks.BEST}
# generator run -> `evaluate` run of its model on the challenger's studies
Rescore = Callable[[str], str]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A version that holds an alias of a champion, in the role that the gate knows."""

    role: str
    model: str
    known: KnownVersion


def standing_champions(models: ModelVersions) -> tuple[Standing, ...]:
    """The champion and the best champion so far; the second only where it is another version."""
    found = {alias: models.at(alias) for alias in _ROLES}
    champion = found[CHAMPION]
    return tuple(
        Standing(role=_ROLES[alias], model=models.uri(known.version), known=known)
        for alias, known in found.items()
        if known and (alias == CHAMPION or champion is None or known.version != champion.version)
    )


def find_rival(store: Store, standing: Standing, table: OutcomeTable, shards: str, rescore: Rescore) -> Rival:
    """The rival with its outcomes on the studies of `table`, or with the reason why it has none.

    Args:
        store: the store.
        standing: the version that holds an alias.
        table: the outcomes of the challenger.
        shards: the version of `shards` that these are of.
        rescore: scores the rival on the same studies.

    Raises:
        StorageError: if the store failed; the comparison may succeed later.
    """
    known, basis = read_outcomes(store, standing.known.scores), table.basis
    is_changed = has_changed_outcomes(store, standing.known.scores, standing.known.tags.get("trrg.run", ""))
    if known is not None and known.basis == basis and not is_changed:
        return _rival(standing, standing.known.scores, known)
    different = (
        "no outcomes are kept"
        if known is None
        else f"another {', '.join(known.basis.differences(basis))}"
        if known.basis != basis
        else "its outcomes were changed after its decision"
    )
    if read_result(store, standing.known.generator) is None:
        return _refused(standing, f"{different}, and its training run {standing.known.generator} is not in the store")
    logger.info("register: %s is scored again on these studies (%s)", standing.model, different)
    try:
        if seen := count_seen(store, standing.known.generator, table, shards=shards):
            return _refused(standing, f"it was trained or calibrated on {seen} of them, so that no comparison is fair")
        scores = rescore(standing.known.generator)
        outcomes = read_outcomes(store, scores)
    except StorageError:
        raise
    except TrrgError as error:
        return _refused(standing, f"{different}, and it could not be scored again: {error}")
    return _rival(standing, scores, outcomes, rescored=True)


def read_outcomes(store: Store, scores: str, file: str = OUTCOMES_FILE) -> OutcomeTable | None:
    """The outcomes of an `evaluate` run, or those in another `file` of it; None of a run that keeps none.

    Raises:
        DataError: `damaged_outcomes`, naming the file.
    """
    path = f"{run_path(scores)}/{file}"
    if not scores or not store.exists(path):
        return None
    with naming_file(path):
        return outcomes_from_bytes(store.read_bytes(path))


@contextmanager
def naming_file(path: str) -> Iterator[None]:
    """Name a file of an `evaluate` run in the errors that its content raises, and what to do then."""
    try:
        yield
    except DataError as error:
        advice = f"restore it from a backup, or remove {path.rpartition('/')[0]} and run `trrg evaluate` again"
        raise DataError(error.reason, f"{path} is damaged: {error}; {advice}") from error


def _rival(standing: Standing, scores: str, outcomes: OutcomeTable | None, *, rescored: bool = False) -> Rival:
    return Rival(role=standing.role, model=standing.model, scores=scores, outcomes=outcomes, rescored=rescored)


def _refused(standing: Standing, refusal: str) -> Rival:
    return Rival(role=standing.role, model=standing.model, scores=standing.known.scores, refusal=refusal)
