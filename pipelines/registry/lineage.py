"""Where the champion comes from: the table versions that it was trained on, by the runs of the store."""

from trrg_core.runs.results import list_results, read_result
from trrg_core.storage.store import Store


def champion_shards(store: Store) -> str:
    """The version of `shards` that the newest promoted model was trained on; empty when there is none."""
    for registered in list_results(store, "register"):
        generator = read_result(store, registered.inputs["generator"])
        if registered.metrics.get("promoted") and generator:
            return generator.inputs["shards"]
    return ""
