"""Registered models that learned from a patient who has withdrawn since: marked in the registry and on the card."""

from collections.abc import Sequence

from mlflow.exceptions import MlflowException

from pipelines.registry.mlflow_store import registry
from pipelines.registry.references import CARD
from trrg_core.config.settings import RegisterConfig
from trrg_core.errors import StorageError
from trrg_core.runs.results import list_results, run_path
from trrg_core.storage.store import Store

WITHDRAWN_TAG = "withdrawal.last"
HEADING = "## Withdrawn patients"


def mark_withdrawn(store: Store, config: RegisterConfig, models: Sequence[str], day: str) -> None:
    """Mark model versions (`models:/NAME/VERSION`): a tag with the day, and a section of the card.

    Raises:
        StorageError: if the registry cannot be written.
    """
    if not models:
        return
    with registry(store, config) as client:
        for model in models:
            name, version = model.removeprefix("models:/").rsplit("/", 1)
            try:
                client.set_model_version_tag(name, version, WITHDRAWN_TAG, day)
                description = client.get_model_version(name, version).description or ""
                client.update_model_version(name, version, description=with_section(description, day))
            except MlflowException as error:
                raise StorageError(f"{model} could not be marked in the registry: {error}") from error
    for run in list_results(store, "register"):
        card = f"{run_path(run.run_id)}/{CARD}"
        if run.notes.get("model") in models and store.exists(card):
            store.write_bytes(card, with_section(store.read_bytes(card).decode(), day).encode())


def with_section(card: str, day: str) -> str:
    """A model card with the section on withdrawals, in place of an earlier one."""
    text = card.partition(HEADING)[0].rstrip()
    return (
        f"{text}\n\n{HEADING}\n\nThis model learned from at least one patient who has withdrawn since, last on {day}. "
        "The patient's rows are erased from the store; what the weights learned cannot be erased. Train a new model "
        "and retire this one.\n"
    )
