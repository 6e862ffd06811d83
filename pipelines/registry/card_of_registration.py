"""The runs of a registration -> the card of its version: lineage, scores beside the floors, decision."""

from collections.abc import Mapping

from pipelines.registry.rivals import naming_file
from trrg_core.config.fingerprint import fingerprint
from trrg_core.config.settings import TrrgConfig
from trrg_core.metrics.score_file import SCORES_FILE, SystemScores, scores_from_bytes
from trrg_core.registry.decision import Decision
from trrg_core.registry.model_card import ModelCard
from trrg_core.runs.results import require_result, run_path
from trrg_core.storage.store import Store


def make_card(
    config: TrrgConfig, store: Store, inputs: Mapping[str, str], run_id: str, decision: Decision
) -> ModelCard:
    """The card of a version: lineage, scores beside the floors, and the decision."""
    systems = read_scores(store, inputs["scores"])
    model = systems[0]
    generator = require_result(store, inputs["generator"])
    return ModelCard(
        name=config.register_.model_name,
        run_id=run_id,
        lineage={
            "generator run": inputs["generator"],
            "scores": inputs["scores"],
            **generator.inputs,
            "code version": generator.code_version,
            "configuration": fingerprint(config),
        },
        basis=f"{model.num_studies} studies of {model.num_patients} patients, section {model.section}",
        scores=[_card_row(name, systems) for name in sorted(model.values)],
        conventions=model.conventions,
        decision=decision,
    )


def read_scores(store: Store, scores: str) -> list[SystemScores]:
    """The scores of each system of an `evaluate` run, the model first.

    Raises:
        DataError: `damaged_record`, naming the file.
    """
    data = store.read_bytes(path := f"{run_path(scores)}/{SCORES_FILE}")
    with naming_file(path):
        return scores_from_bytes(data)


def _card_row(name: str, systems: list[SystemScores]) -> dict[str, str]:
    return {"score": name} | {item.system: _show(item.values.get(name)) for item in systems}


def _show(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
