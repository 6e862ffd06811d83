"""Studies of the perception page: how they are chosen, and what of them is shown."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.core.toy_corpus import OBSERVATIONS, toy_row
from trrg_core.labels import SIDE_LEFT, STATED_ABSENT, STATED_PRESENT
from trrg_core.pages.heat_overlay import draw_heat
from trrg_core.pages.seen_studies import choose_varied, see_studies


def test_chosen_studies_cover_the_findings_first_and_depend_on_the_seed_alone() -> None:
    present_NO = np.zeros((60, 4), dtype=bool)
    present_NO[np.arange(40), 0] = True
    present_NO[7, 1] = present_NO[50, 2] = present_NO[51, 3] = True
    chosen = choose_varied(present_NO, num=4, seed=3)
    assert len(chosen) == 4
    assert present_NO[chosen].any(0).all()
    assert chosen == sorted(chosen) == choose_varied(present_NO, num=4, seed=3)
    assert any(choose_varied(present_NO, num=4, seed=seed) != chosen for seed in range(4, 8))


@pytest.mark.parametrize("num_present", [0, 3])
def test_no_more_studies_are_chosen_than_there_are(num_present: int) -> None:
    present_NO = np.zeros((3, 2), dtype=bool)
    present_NO[:num_present, 0] = True
    assert choose_varied(present_NO, num=8, seed=0) == [0, 1, 2]
    assert choose_varied(present_NO[:0], num=8, seed=0) == []


def test_a_study_is_shown_with_its_findings_sides_and_heat_maps(stage1) -> None:
    both, lateral = toy_row(1, "e", num_views=2), toy_row(2, "e")
    lateral["views"][0]["view_position"] = "LATERAL"
    seen = see_studies(stage1.model, stage1.perception, [both, lateral], no_finding="No Finding")
    assert [study.study_id for study in seen] == ["s1", "s2"]
    assert [film.film.view_position for film in seen[0].films] == ["PA", "LATERAL"]
    assert [study.has_frontal for study in seen] == [True, False]
    effusion, pneumothorax, heart = seen[0].findings
    assert (effusion.stated, effusion.sides, pneumothorax.stated) == (STATED_PRESENT, SIDE_LEFT, STATED_ABSENT)
    assert effusion.is_shown
    assert effusion.side_probabilities is not None
    assert effusion.side_probabilities[0] > effusion.side_probabilities[1]
    assert heart.side_probabilities is None
    assert [finding.side_probabilities for finding in seen[1].findings] == [None] * 3
    assert seen[1].findings[0].sides == 0
    assert seen[0].report == both["report"]


def test_the_heat_map_is_of_the_most_probable_finding_that_has_a_place(stage1) -> None:
    row = toy_row(1, "e")
    (seen,) = see_studies(stage1.model, stage1.perception, [row], no_finding="No Finding")
    assert seen.heat_finding == max(seen.findings, key=lambda finding: finding.probability).observation
    (other,) = see_studies(stage1.model, stage1.perception, [row], no_finding=seen.heat_finding)
    assert other.heat_finding in set(OBSERVATIONS) - {seen.heat_finding}
    assert see_studies(stage1.model, stage1.perception, [], no_finding="") == ()


def test_a_heat_map_lies_over_its_film_and_is_clear_where_nothing_agrees() -> None:
    heat = np.full((4, 4), -0.5, dtype=np.float32)
    heat[3, 2] = 0.4  # low, right of the middle: inside a film half as wide as high
    heat[0, 0] = 0.4  # in the border of the square, beside the film
    with Image.open(io.BytesIO(draw_heat(heat, value_max=0.4, film_size=(50, 100)))) as image:
        width, height = image.size
        alpha = np.asarray(image.convert("RGBA"))[..., 3]
    assert width * 2 == height
    row, column = np.unravel_index(alpha.argmax(), alpha.shape)
    assert row / height > 0.75
    assert column / width > 0.5
    assert alpha[: height // 2, width // 2 :].max() == 0
    with Image.open(io.BytesIO(draw_heat(heat - 1, value_max=-0.6, film_size=(50, 100)))) as image:
        assert np.asarray(image.convert("RGBA"))[..., 3].max() == 0
