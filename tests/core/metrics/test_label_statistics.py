import numpy as np
import pytest

from trrg_core.labels import load_label_set
from trrg_core.metrics.bootstrap import draw_weights
from trrg_core.metrics.clinical import score_labels
from trrg_core.metrics.label_statistics import label_statistics
from trrg_core.metrics.systems import AVERAGES, observation_sets

LABELS = load_label_set("chexpert14")
REFERENCES = [{"Edema": 1, "Fracture": -1}, {"Edema": 1}, {"Edema": 0, "No Finding": 1}]
HYPOTHESES = [{"Edema": 1}, {"Fracture": 1}, {"No Finding": 1}]


def test_all_averages_of_all_families_and_readings_are_those_of_the_clinical_scores() -> None:
    ours = label_statistics(REFERENCES, HYPOTHESES, LABELS).scores(np.ones((1, 3)))
    sets = observation_sets(LABELS)
    theirs = score_labels(REFERENCES, HYPOTHESES, observations=LABELS.observations, sets=sets)
    assert set(sets) == {"trrg14", "trrg13", "trrg5"}
    assert len(theirs) == 3 * len(AVERAGES) * 3 * 2
    assert {name: float(ours[name][0]) for name in theirs} == pytest.approx(theirs)


def test_a_finding_by_hand() -> None:
    statistics = label_statistics(REFERENCES, HYPOTHESES, LABELS)
    scores = {name: float(value[0]) for name, value in statistics.scores(np.ones((1, 3))).items()}
    # Edema: one hit, one miss
    assert scores["trrg.edema.precision.u0"] == 1
    assert scores["trrg.edema.recall.u0"] == 0.5
    assert scores["trrg.edema.f1.u0"] == pytest.approx(2 / 3)
    assert statistics.numbers["trrg.edema.recall.u0"] == 2
    # Fracture: the uncertain reference is positive under u1 only, and then missed
    assert statistics.numbers["trrg.fracture.recall.u0"] == 0
    assert statistics.numbers["trrg.fracture.recall.u1"] == 1
    assert scores["trrg.fracture.f1.u1"] == 0


def test_a_resample_is_the_score_of_the_studies_it_drew() -> None:
    weights = draw_weights(["a", "b", "c"], num_samples=5, seed=2)
    ours = label_statistics(REFERENCES, HYPOTHESES, LABELS).scores(weights)
    for sample, row in enumerate(weights):
        drawn = [study for study, times in enumerate(row) for _ in range(int(times))]
        again = label_statistics([REFERENCES[n] for n in drawn], [HYPOTHESES[n] for n in drawn], LABELS)
        expected = again.scores(np.ones((1, len(drawn))))
        for name in ("trrg13.micro.f1.u0", "trrg13.weighted.f1.u1", "trrg14.example.f1.u0", "trrg.edema.f1.u0"):
            assert ours[name][sample] == pytest.approx(expected[name][0]), name


@pytest.mark.parametrize("rows", [[{}], [{"Edema": None}], [{"Edema": 0}]])
def test_no_positive_anywhere_scores_zero(rows: list[dict[str, int | None]]) -> None:
    scores = label_statistics(rows, rows, LABELS).scores(np.ones((1, 1)))
    assert all(value[0] == 0 for value in scores.values())
