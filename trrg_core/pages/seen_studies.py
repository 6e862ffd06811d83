"""A few rows of `shards` and a trained stage 1 -> the studies of the perception page.

B studies, N patches, O observations, H W rows and columns of a view's patches.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from trrg_core.model.contrastive import ContrastiveModel
from trrg_core.model.perception import DiseasePerception, Perceived
from trrg_core.pages.heat_overlay import draw_heat
from trrg_core.pages.seen_study import SeenFilm, SeenFinding, SeenStudy
from trrg_core.pages.shown_film import Film
from trrg_core.training.batch import Batch
from trrg_core.training.collate import collate_images
from trrg_core.training.views import choose_views

Floats = NDArray[np.float32]


def choose_varied(present_NO: NDArray[np.bool_], *, num: int, seed: int) -> list[int]:
    """Indices of at most `num` studies with varied findings, in order; drawn by `seed`, whatever the model sees there.

    Each one adds the most findings that those before it lack; once all are covered, it starts again.
    """
    left = list(np.random.default_rng(seed).permutation(len(present_NO)))
    chosen: list[int] = []
    lacking_O = np.ones(present_NO.shape[1], dtype=bool)
    while left and len(chosen) < num:
        gains = (present_NO[left] & lacking_O).sum(1)
        if not gains.max(initial=0) and not lacking_O.all():
            lacking_O = np.ones_like(lacking_O)
            continue
        best = left.pop(int(gains.argmax()))
        lacking_O = lacking_O & ~present_NO[best]
        chosen.append(int(best))
    return sorted(chosen)


@torch.no_grad()
def see_studies(
    contrastive: ContrastiveModel, perception: DiseasePerception, rows: Sequence[Mapping[str, Any]], *, no_finding: str
) -> tuple[SeenStudy, ...]:
    """The studies of `rows` as stage 1 sees them; the models must be in eval mode, on one device.

    The heat map is of the finding with the highest probability; `no_finding`, which has no place, is left out.
    """
    if not rows:
        return ()
    batch = collate_images(rows, observations=perception.observations, config=contrastive.config)
    features = contrastive.encode_images(batch.to(contrastive.image.to_joint.weight.device))
    perceived = perception(features)
    located_O = torch.tensor([name != no_finding for name in perception.observations])
    hottest_B = perceived.probability_BO.cpu().masked_fill(~located_O, -1.0).argmax(1).tolist()
    heat_BON = perception.heat_map(features).cpu().numpy()
    findings = _findings(perception, perceived, batch)
    studies = []
    for study, (row, hottest) in enumerate(zip(rows, hottest_B, strict=True)):
        views = choose_views(row["views"], num_views=contrastive.config.max_views)
        heat_VHW = heat_BON[study, hottest].reshape(-1, *features.grid_hw)[: len(views)]
        heat_max = float(heat_VHW.max()) if views else 0.0
        studies.append(
            SeenStudy(
                study_id=row["study_id"],
                report=row["report"] or "",
                films=tuple(_film(view, heat_HW, heat_max) for view, heat_HW in zip(views, heat_VHW, strict=True)),
                findings=findings[study],
                heat_finding=perception.observations[hottest],
                heat_max=heat_max,
                has_frontal=bool(features.frontal_BV[study].any()),
            )
        )
    return tuple(studies)


def _findings(perception: DiseasePerception, perceived: Perceived, batch: Batch) -> list[tuple[SeenFinding, ...]]:
    """The findings of each study, in the order of the observations."""
    thresholds = perception.threshold_O.tolist()
    return [
        tuple(
            SeenFinding(
                observation=name,
                probability=probability,
                threshold=threshold,
                side_probabilities=(sides[0], sides[1]) if has_side else None,
                stated=stated,
                sides=stated_sides,
            )
            for name, threshold, probability, sides, has_side, stated, stated_sides in zip(
                perception.observations, thresholds, *study, strict=True
            )
        )
        for study in zip(
            perceived.probability_BO.tolist(),
            perceived.side_probability_BO2.tolist(),
            perceived.has_side_BO.tolist(),
            batch.facts.assertion_NO.tolist(),
            batch.facts.side_NO.tolist(),
            strict=True,
        )
    ]


def _film(view: Mapping[str, Any], heat_HW: Floats, heat_max: float) -> SeenFilm:
    with Image.open(io.BytesIO(view["jpeg"])) as image:
        size = image.size
    film = Film(jpeg=view["jpeg"], view_position=view["view_position"] or "")
    return SeenFilm(film=film, heat_png=draw_heat(heat_HW, value_max=heat_max, film_size=size))
