"""Heat maps of rows of `shards`: of which findings, of which views, and that they are those of the model in use."""

import numpy as np
import pytest

from tests.core.toy_corpus import OBSERVATIONS, draw, toy_row
from trrg_core.clue import Clue
from trrg_core.generation.film_reading import read_film
from trrg_core.generation.heat_map import located_findings
from trrg_core.generation.heat_reading import map_studies
from trrg_core.generation.report_writer import ReportWriter, StudyRequest
from trrg_core.model.model_folder import LoadedGenerator


@pytest.fixture(scope="module")
def loaded(stage2) -> LoadedGenerator:
    return LoadedGenerator(config=stage2.config, generator=stage2.model, text_tokenizer=None)


def test_heat_maps_are_of_the_findings_that_the_clues_show_else_of_the_likeliest() -> None:
    low = [Clue(observation=name, probability=p, threshold=0.9) for name, p in zip("abc", (0.1, 0.5, 0.2), strict=True)]
    assert located_findings(low, no_finding="No Finding") == ["b"]
    normal = Clue(observation="No Finding", probability=0.95, threshold=0.2)
    assert located_findings([normal, *low], no_finding="No Finding") == ["b"]
    assert located_findings([], no_finding="No Finding") == []
    high = [Clue(observation=one.observation, probability=one.probability, threshold=0.05) for one in low]
    assert located_findings([normal, *high], no_finding="No Finding", limit=2) == ["b", "c"]


def test_heat_maps_of_rows_are_those_of_the_model_in_use(loaded: LoadedGenerator) -> None:
    film = read_film(draw(3, "e"), name="film", view_position="PA")
    row = toy_row(3, "e") | {"views": [{"view_position": "PA", "jpeg": film.jpeg}]}
    (written,) = ReportWriter(loaded).write([StudyRequest(study_id="a", films=(film,))], with_heat_maps=True)
    findings = [heat.finding for heat in written.heat_maps]
    assert findings
    ((*maps,),) = map_studies(loaded, [row], [findings])
    for found, expected in zip(maps, written.heat_maps, strict=True):
        assert found.finding == expected.finding
        np.testing.assert_allclose(found.values_VHW, expected.values_VHW, atol=1e-5)


def test_each_study_has_the_maps_of_its_own_findings_and_views(loaded: LoadedGenerator) -> None:
    rows = [toy_row(1, "e", num_views=2), toy_row(2, "p"), toy_row(3, "e") | {"views": []}]
    two, one, none = map_studies(loaded, rows, [[OBSERVATIONS[1], OBSERVATIONS[0]], ["unknown"], [OBSERVATIONS[0]]])
    assert [heat.finding for heat in two] == [OBSERVATIONS[1], OBSERVATIONS[0]]
    assert {len(heat.values_VHW) for heat in two} == {2}
    assert (one, none) == ((), ())
