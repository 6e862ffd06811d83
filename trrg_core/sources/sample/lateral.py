"""The lateral film: spine on the right, sternum on the left, both lungs superimposed."""

from random import Random

import numpy as np

from trrg_core.labels import Assertion
from trrg_core.sources.sample.film import Film, Grid, bump, step
from trrg_core.sources.sample.ground_truth import Patient, Sign, StudyTruth

_ZONE_V = {"upper": 0.3, "middle": 0.48, "lower": 0.66}
_PATCHY = {"consolidation": 0.85, "pneumonia": 0.6, "opacity": 0.45, "atelectasis": 0.45}


def draw_lateral(film: Film, patient: Patient, truth: StudyTruth, rng: Random) -> None:
    """Draws the whole lateral view of one study."""
    u, v = film.u, film.v
    middle = np.interp(v, (0, 0.2, 0.5, 1), (0.2, 0.0, -0.05, 0.0)).astype(np.float32)
    half = np.interp(v, (0, 0.1, 0.3, 0.7, 1), (0.25, 0.5, 0.72, 0.8, 0.78)).astype(np.float32)
    body = step(half + np.float32(0.05 * patient.habitus) - np.abs(u - middle), 0.05)
    lung = _lung(film)
    heart = truth.sign("cardiomegaly")
    size = 0.3 if heart is None else 0.33 if heart.assertion is Assertion.UNCERTAIN else 0.38 + 0.1 * heart.extent
    shape = np.hypot((u + 0.2) / np.float32(size), (v - 0.66) / np.float32(size * 0.55)).astype(np.float32)
    film.density += body * np.float32(0.6)
    film.lungs[:] = np.float32(0.38) * body * lung
    film.fill(step(1 - shape, 0.3), 0.55)
    spine = bump((u - 0.5 - np.float32(0.08) * np.sin(v * 3)) / 0.09)
    film.density += body * 0.14 * spine
    for number in range(11):
        height = 0.1 + 0.075 * number
        film.stroke([(0.45, height), (0.6, height + 0.008)], width=0.025, strength=0.06)
        film.stroke([(0.62, height), (0.1, height + 0.1), (-0.5, height + 0.24)], width=0.03, strength=0.035)
    for _ in range(26):
        x, y = rng.gauss(0.05, 0.06), rng.gauss(0.47, 0.04)
        end = (x + rng.gauss(0, 0.22), y + rng.gauss(0, 0.14))
        film.stroke([(x, y), end], width=0.02, strength=0.1, layer="vessels")
    for sign in truth.signs:
        _draw_sign(film, sign, rng)
    for device in truth.devices:
        if device.kind == "sternal_wires":
            for number in range(6):
                film.stroke([(-0.62, 0.28 + 0.07 * number), (-0.58, 0.3 + 0.07 * number)], width=0.03, strength=0.4)


def _lung(film: Film) -> Grid:
    u, v = film.u, film.v
    front = np.interp(v, (0.06, 0.2, 0.5, 0.9), (0.05, -0.35, -0.6, -0.62)).astype(np.float32)
    back = np.interp(v, (0.06, 0.2, 0.5, 0.9), (0.3, 0.55, 0.66, 0.66)).astype(np.float32)
    dome = np.float32(0.76) + np.float32(0.16) * np.square(u + np.float32(0.15))
    return step(u - front, 0.04) * step(back - u, 0.04) * step(dome - v, 0.02) * step(v - 0.08, 0.04)


def _draw_sign(film: Film, sign: Sign, rng: Random) -> None:
    u, v = film.u, film.v
    strength = 0.4 if sign.assertion is Assertion.UNCERTAIN else 1.0
    height = _ZONE_V.get(sign.zone, 0.5)
    if sign.finding == "pleural_effusion":
        level = 0.88 - 0.25 * sign.extent * strength - 0.1 * np.clip((u - 0.1) / 0.5, 0, 1.2) ** 2
        film.fill(step((v - level).astype(np.float32), 0.03), 0.9)
    elif sign.finding in _PATCHY:
        tall = 0.035 if sign.finding == "atelectasis" else 0.1
        shade = bump((u - np.float32(rng.uniform(0.1, 0.35))) / 0.18, (v - np.float32(height)) / np.float32(tall))
        film.fill(shade, _PATCHY[sign.finding] * strength)
    elif sign.finding in ("nodule", "mass"):
        size = 0.06 if sign.finding == "nodule" else 0.11 + 0.06 * sign.extent
        ball = np.hypot((u - np.float32(rng.uniform(0.05, 0.3))) / size, (v - np.float32(height)) / (size * 0.52))
        film.fill(step((1 - ball).astype(np.float32), 0.3), 0.8 * strength)
    elif sign.finding == "edema":
        film.fill(bump((u - 0.05) / 0.3, (v - 0.5) / 0.2), 0.5 * strength)
    elif sign.finding == "enlarged_cardiomediastinum":
        film.fill(bump((u + 0.15) / 0.2, (v - 0.25) / 0.12), 0.6 * strength)
