"""The table of scores in the Prefect UI."""

from flows.tasks import _score_table
from trrg_core.metrics.systems import FLOORS, System, metric_key


def test_systems_are_columns_in_one_order_however_the_metrics_are_sorted() -> None:
    metrics = {metric_key(system, "bleu4.full"): 0.25 for system in (System.MODEL, *FLOORS)}
    metrics |= {"modal_report/truth.distinct_share": 0.5}
    # a run that is read back has its metrics in alphabetical order
    for ordered in (metrics, dict(sorted(metrics.items()))):
        first, second = _score_table(ordered)
        assert list(first) == ["score", "model", "modal report", "nearest neighbour"]
        assert first["model"] == "0.250"
        assert second == {"score": "truth.distinct_share", "modal report": "0.500"}
