"""The report page of as many studies as anybody looks at stays small enough to open and to send."""

import numpy as np
import pytest

from trrg_core.clue import Clue
from trrg_core.generation.heat_map import HeatMap
from trrg_core.imaging.decode import encode_jpeg, resize_long_side
from trrg_core.labels import load_label_set
from trrg_core.metrics.score import Prediction, ScoringOptions, judge_reports, score_predictions
from trrg_core.pages.champion_section import ChampionBeside, insert_champion
from trrg_core.pages.film_budget import fit_films
from trrg_core.pages.render import render_report
from trrg_core.pages.report_page import ReportPage, StudyPage, study_page
from trrg_core.pages.shown_film import Film
from trrg_core.report.parser import ReportParser
from trrg_core.sources.sample import generate_studies

LABEL_SET = load_label_set("chexpert14")
NUM_STUDIES, MAX_BYTES = 500, 20_000_000


def film(seed: int) -> Film:
    """Structure of every size and some noise, as large as shards store it: 512 pixels."""
    rng = np.random.default_rng(seed)
    grains = [np.kron(rng.integers(0, 256, (512 // k, 512 // k)), np.ones((k, k))) / 6 for k in (128, 64, 32, 16, 4, 1)]
    return Film(jpeg=encode_jpeg(resize_long_side(sum(grains).astype(np.uint8), 512)), view_position="PA")


@pytest.mark.long
def test_a_page_of_five_hundred_studies_with_two_films_each_is_below_twenty_megabytes() -> None:
    parser, rng = ReportParser(LABEL_SET), np.random.default_rng(7)
    texts = [study.report.text for study in generate_studies(NUM_STUDIES, 7)]
    parsed = list(parser.parse_many(texts))
    clues = tuple(Clue(observation=name, probability=0.7, threshold=0.5) for name in LABEL_SET.observations)
    predictions = [
        Prediction(
            subject_id=str(at),
            study_id=f"5{at:07}",
            reference=texts[at],
            reference_labels=parsed[at].labels,
            hypothesis=texts[at - 1],
            parsed=parsed[at - 1],
            clues=clues,
            parsed_reference=parsed[at],
        )
        for at in range(NUM_STUDIES)
    ]
    drawn = [film(seed) for seed in range(20)]
    films = fit_films([drawn[at % 20] for at in range(2 * NUM_STUDIES)])
    studies: list[StudyPage] = []
    for at, (prediction, report) in enumerate(zip(predictions, judge_reports(predictions, LABEL_SET), strict=True)):
        page = study_page(
            prediction,
            reference=parsed[at].sentences,
            evidence=report.evidence,
            films=tuple(films[2 * at : 2 * at + 2]),
            label_set=LABEL_SET,
            disagreements=report.comparison.errors if report.comparison else (),
        )
        heat = tuple(
            HeatMap(finding=name, values_VHW=rng.normal(0, 0.2, (2, 16, 16)).astype(np.float32))
            for name in LABEL_SET.observations[:4]
        )
        studies.append(StudyPage(**{**vars(page), "heat_maps": heat}))
    options = ScoringOptions(label_set=LABEL_SET, section="findings", protocols=("raw",), bootstrap_samples=0)
    page = ReportPage(title="T", systems=(score_predictions(predictions, options),), studies=tuple(studies))
    others = {study.study_id: study for study in studies}
    html = insert_champion(render_report(page), ChampionBeside(model="models:/trrg/1", reports=others))
    assert html.count('class="champion"') == NUM_STUDIES
    assert len(html.encode()) <= MAX_BYTES, len(html.encode())
