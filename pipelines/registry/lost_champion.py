"""The champion that a registry has lost: version, alias or database were deleted by hand, but there are traces of it.

Without this the next candidate would be judged as the first model.
"""

from pipelines.registry.alias_moves import NONE, list_moves
from pipelines.registry.registry_client import BEST_CHAMPION, CHAMPION, ModelVersions
from trrg_core.registry.check import Check, Verdict
from trrg_core.runs.results import list_results
from trrg_core.storage.store import Store

ADVICE = (
    "restore the registry from a backup, or name a champion with `trrg promote VERSION --reason TEXT`; if there is to "
    f"be none, say so with `trrg promote {NONE} --reason TEXT`"
)


def find_lost(store: Store, models: ModelVersions) -> str:
    """The address of the version that was champion last, where none is now; empty where none is missing.

    It is that of the recorded moves, the last of which may declare that there is no champion; without any, that of the
    alias of the best champion, the tags of versions, or the registrations of the store.

    Raises:
        DataError: `damaged_record`, naming the file, if a move cannot be read.
    """
    if models.at(CHAMPION):
        return ""
    if moves := list_moves(store, models.name):
        return models.uri(moves[-1].after) if moves[-1].after else ""
    best = models.at(BEST_CHAMPION)
    if version := best.version if best else models.find_promoted():
        return models.uri(version)
    registered = [result.notes for result in list_results(store, "register")]
    return next(
        (
            str(notes["model"])
            for notes in registered
            if notes.get("alias") == CHAMPION and str(notes.get("model", "")).startswith(models.uri(""))
        ),
        "",
    )


def check_lost(lost: str) -> Check:
    """The check that fails because the champion of before is missing, so that there is nothing to compare with."""
    reason = f"no version has the alias {CHAMPION!r}, though {lost} was champion: {ADVICE}, and register again"
    return Check(name="champion.exists", verdict=Verdict.FAIL, reason=reason)
