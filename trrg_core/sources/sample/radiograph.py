"""Renders one radiograph of one study: random pose and exposure, then anatomy, signs and devices."""

from random import Random

import numpy as np
from PIL import Image as PilImage

from trrg_core.sources.sample.anatomy import draw_chest, measure_chest
from trrg_core.sources.sample.film import Film, Pose
from trrg_core.sources.sample.ground_truth import Patient, StudyTruth
from trrg_core.sources.sample.hardware import draw_device
from trrg_core.sources.sample.lateral import draw_lateral
from trrg_core.sources.sample.shadows import draw_sign


def render_radiograph(patient: Patient, truth: StudyTruth, view: str, seed: int) -> PilImage.Image:
    """The image of one view (AP, PA or LATERAL), mode L, 300 to 400 pixels per side.

    The patient's left is on image right. The same arguments give the same pixels.
    """
    name = f"sample/{seed}/film/{truth.study_id}/{view}"
    rng = Random(name)
    film = Film(_pose(patient, view, rng))
    grain = rng.uniform(0.008, 0.02) + (0.006 if view == "AP" else 0.0)
    gamma, gain = rng.uniform(0.85, 1.15), rng.uniform(1.0, 1.18)
    if view == "LATERAL":
        draw_lateral(film, patient, truth, rng)
    else:
        chest = measure_chest(patient, truth, rng)
        draw_chest(film, chest, rng)
        for sign in truth.signs:
            # each sign has its own random generator, so that one more sign changes nothing else in the image
            draw_sign(film, chest, sign, Random(f"{name}/{sign.finding}"))
        for device in truth.devices:
            draw_device(film, device, Random(f"{name}/{device.kind}"))
    noise = np.random.default_rng(Random(f"{name}/noise").getrandbits(64))
    return film.render(noise, grain=grain, gamma=gamma, gain=gain)


def _pose(patient: Patient, view: str, rng: Random) -> Pose:
    spread = 2.0 if view == "AP" else 1.0
    return Pose(
        width=rng.randrange(300, 391, 2),
        height=rng.randrange(320, 401, 2),
        angle=rng.gauss(0.0, 0.012) * spread,
        scale=rng.uniform(0.93, 1.03) + 0.02 * patient.habitus,
        shift=(rng.gauss(0.0, 0.02) * spread, rng.gauss(0.0, 0.02)),
    )
