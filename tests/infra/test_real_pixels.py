import numpy as np
import pytest

from infra.bench.real_pixels import (
    FOLDS,
    SETTINGS,
    chance_of_hit,
    covid_rows,
    estimate,
    nih_rows,
    patient_folds,
    ranks,
    recall_hits,
    run_covid,
    run_nih,
)
from tests.real_data import REAL_DATA
from trrg_core.config.load import load_config
from trrg_core.config.weights_cache import weights_cache
from trrg_core.imaging.decode import encode_jpeg


def rows_of(*texts: str) -> list[dict]:
    return [{"subject_id": f"p{number // 2}", "report": text} for number, text in enumerate(texts)]


def test_a_pair_is_found_among_the_five_best() -> None:
    rows = rows_of(*"abcdefgh")
    scores = np.eye(8)
    assert recall_hits(scores, rows).all()
    assert not recall_hits(-scores, rows).any()
    scores[0] = -np.arange(8)  # text 0 fits image 0 best, and image 0 fits text 0 worst of all
    scores[1:, 0] = 5
    assert recall_hits(scores, rows)[0].tolist() == [0, 1]


def test_images_with_the_same_text_are_each_right_for_it() -> None:
    scores = -np.eye(7)
    assert recall_hits(scores, rows_of(*"aabcdef"))[:2].all()
    assert not recall_hits(scores, rows_of(*"abcdefg")).any()


def test_chance_is_that_of_a_random_choice() -> None:
    rows = rows_of(*"aabcdefghi")
    rng = np.random.default_rng(0)
    found = np.mean([recall_hits(rng.random((10, 10)), rows) for _ in range(4000)], axis=(0, 2))
    np.testing.assert_allclose(found, chance_of_hit(rows), atol=0.02)


def test_no_patient_is_in_two_folds() -> None:
    rows = rows_of(*"abcdefghij")
    seen = []
    for train, test in patient_folds(rows, 3):
        assert not {rows[index]["subject_id"] for index in train} & {rows[index]["subject_id"] for index in test}
        seen.extend(test.tolist())
    assert sorted(seen) == list(range(10))


def test_ranks_do_not_depend_on_the_scale_of_a_model() -> None:
    scores = np.random.default_rng(0).normal(size=(20, 3))
    np.testing.assert_array_equal(ranks(scores), ranks(7 * scores - 3))
    assert ranks(scores).max() < 1


def test_an_estimate_is_its_first_value_with_the_percentiles_of_the_others() -> None:
    found = estimate(np.concatenate(([9.0], np.arange(1001.0))))
    assert (found.value, found.low, found.high) == (9.0, 25.0, 975.0)


def test_rows_are_made_of_films_with_labels_and_of_films_with_notes(tmp_path) -> None:
    (tmp_path / "images").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "images" / name).write_bytes(encode_jpeg(np.full((32, 32), 90, dtype=np.uint8), 90))
    (tmp_path / "labels.csv").write_text(
        "Image Index,Finding Labels,Patient ID,View Position\na.jpg,Effusion|Mass,7,PA\nb.jpg,No Finding,8,AP\n"
    )
    (tmp_path / "metadata.csv").write_text(
        "patientid,filename,clinical_notes,view\n7,a.jpg,Left pleural effusion.,PA\n8,b.jpg,,AP Supine\n"
    )
    both, none = nih_rows(tmp_path, load_config("small", SETTINGS["nih"]))
    assert {name for name, label in both["labels"].items() if label == 1} == {"effusion", "mass"}
    assert [len(both["sentences"]), len(both["views"]), sum(none["labels"].values())] == [2, 1, 1]
    noted, silent = covid_rows(tmp_path, load_config("small", SETTINGS["covid"]))
    assert [len(noted["sentences"]), len(silent["sentences"])] == [1, 0]


_MISSED = pytest.mark.xfail(raises=AssertionError, reason="missed when last measured: recall@5 .082 at chance .087")


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("study", "run", "folder"),
    [("nih", run_nih, "nih_64px"), pytest.param("covid", run_covid, "covid_cxr", marks=_MISSED)],
)
def test_stage_one_learns_from_real_radiographs(study, run, folder) -> None:
    if not (REAL_DATA / folder).is_dir():
        pytest.skip(f"no {folder} in {REAL_DATA}")
    if not (weights_cache() / "efficientnet-lite0").is_dir():
        pytest.skip("no weights on this machine: run `make weights`")
    assert run(REAL_DATA, load_config("small", SETTINGS[study]), FOLDS[study])
