"""The frontal chest of one patient: body, lungs, heart, mediastinum, ribs, vessels.

`Chest` has the measures of one exposure; `draw_chest` draws a chest without local signs. An enlarged heart, a wide
mediastinum and a raised diaphragm are part of the measures, because they change shapes and add no shadows.
"""

import math
from dataclasses import dataclass
from random import Random

import numpy as np

from trrg_core.labels import Assertion
from trrg_core.sources.sample.film import Film, Grid, Point, bump, step
from trrg_core.sources.sample.ground_truth import Patient, Sign, StudyTruth

INNER = 0.74  # half the largest inner width of the chest, in units of u
NUM_RIBS = 9


@dataclass(frozen=True, kw_only=True)
class Chest:
    """Measures of one frontal exposure, in (u, v). `dome` is the top of each half of the diaphragm."""

    heart_u: float
    heart_a: float
    heart_b: float
    upper_width: float
    dome_left: float
    dome_right: float
    is_female: bool
    fat: float
    bone: float

    def dome(self, side: str) -> float:
        """Height of the top of one half of the diaphragm."""
        return self.dome_left if side == "left" else self.dome_right


def measure_chest(patient: Patient, truth: StudyTruth, rng: Random) -> Chest:
    """The measures of the chest of `patient` in one study."""
    body = Random(f"body/{patient.subject_id}")
    heart = truth.sign("cardiomegaly")
    wide = truth.sign("enlarged_cardiomediastinum")
    breath = rng.gauss(0.0, 0.012) - (0.02 if "AP" in truth.views else 0.0) - 0.012 * patient.habitus
    half = INNER * (0.43 + body.uniform(-0.03, 0.025) + (0.012 if "AP" in truth.views else 0.0))
    if heart is not None:
        half = INNER * (0.495 if heart.assertion is Assertion.UNCERTAIN else 0.545 + 0.15 * heart.extent)
    upper = 0.13 + body.uniform(-0.015, 0.02)
    if wide is not None:
        upper = 0.19 if wide.assertion is Assertion.UNCERTAIN else 0.25 + 0.12 * wide.extent
    return Chest(
        heart_u=0.085 + 0.3 * (half - 0.32) + body.uniform(-0.015, 0.015),
        heart_a=half,
        heart_b=0.175 + 0.22 * (half - 0.32),
        upper_width=upper,
        dome_left=0.755 + breath - _diaphragm_lift(truth.sign("atelectasis"), "left"),
        dome_right=0.725 + breath - _diaphragm_lift(truth.sign("atelectasis"), "right"),
        is_female=patient.sex == "F",
        fat=patient.habitus,
        bone=1.0 - max(0, patient.age - 50) * 0.006,
    )


def _diaphragm_lift(sign: Sign | None, side: str) -> float:
    if sign is None or sign.zone != "lower" or sign.side not in (side, "both"):
        return 0.0
    return 0.01 if sign.assertion is Assertion.UNCERTAIN else 0.03 + 0.05 * sign.extent


def outward(film: Film, side: str) -> Grid:
    """Distance from the midline, positive on this side of the patient (the patient's left is image right)."""
    return film.u if side == "left" else -film.u


def wall(v: Grid) -> Grid:
    """Half the inner width of the chest at height `v`."""
    heights = (0.05, 0.09, 0.14, 0.22, 0.35, 0.55, 0.8, 1.0)
    widths = (0.12, 0.3, 0.45, 0.57, 0.66, 0.72, INNER, INNER)
    return np.interp(v, heights, widths).astype(np.float32)


def field(film: Film, chest: Chest, side: str) -> Grid:
    """Mask of the lung field on one side, 0 to 1: the half of the chest above the diaphragm."""
    out = outward(film, side)
    dome = chest.dome(side) + np.float32(0.125) * np.square((out - np.float32(0.34)) / np.float32(0.4))
    return step(wall(film.v) - out, 0.03) * step(out, 0.04) * step(dome - film.v, 0.014) * step(film.v - 0.075, 0.03)


def core(film: Film, chest: Chest) -> Grid:
    """Mask of heart and mediastinum, 0 to 1, which hide the lungs in the middle."""
    u, v = film.u, film.v
    tilt = u - np.float32(chest.heart_u) - np.float32(0.25) * (v - np.float32(0.64))
    heart = (
        1 - np.square(tilt / np.float32(chest.heart_a)) - np.square((v - np.float32(0.66)) / np.float32(chest.heart_b))
    )
    heights = (0.0, 0.12, 0.3, 0.42, 0.5, 1.0)
    widths = (0.1, chest.upper_width * 0.85, chest.upper_width, chest.upper_width * 0.9, 0.14, 0.14)
    column = step(np.interp(v, heights, widths).astype(np.float32) - np.abs(u - np.float32(0.01)), 0.035)
    knob = step(
        1 - np.hypot((u - np.float32(chest.upper_width + 0.01)) / 0.075, (v - 0.33) / 0.05).astype(np.float32), 0.3
    )
    right_hilum, left_hilum = bump((u + 0.2) / 0.055, (v - 0.48) / 0.045), bump((u - 0.21) / 0.055, (v - 0.46) / 0.045)
    hila = np.float32(0.75) * np.maximum(right_hilum, left_hilum)
    return np.maximum(np.maximum(step(heart, 0.16), column), np.maximum(knob, hila))


def draw_chest(film: Film, chest: Chest, rng: Random) -> None:
    """Draws body, lungs, heart and mediastinum, ribs, clavicles and vessels on an empty film."""
    u, v = film.u, film.v
    across: Grid = np.abs(u)
    heights = (0.0, 0.04, 0.1, 0.18, 0.3, 1.0)
    trunk = 0.9 + 0.07 * chest.fat
    outline: Grid = np.interp(v, heights, (0.2, 0.27, 0.62, 0.9, trunk, trunk + 0.02)).astype(np.float32)
    body = step(outline - across, 0.05)
    lungs = np.maximum(field(film, chest, "left"), field(film, chest, "right")) * (1 - core(film, chest))
    depth = 0.56 + 0.05 * chest.fat + 0.1 * step(v - 0.75, 0.2) * step(1 - across, 0.5)
    film.lungs[:] = np.float32(0.4 - 0.03 * chest.fat) * lungs * body
    film.density += body * depth
    film.density += body * (0.07 * bump(u / 0.09) + 0.05 * core(film, chest))
    film.density -= 0.1 * step(0.035 - across, 0.02) * step(0.4 - v, 0.06) * step(v - 0.02, 0.04)
    if chest.is_female:
        for x in (-0.46, 0.46):
            breast = 1 - np.hypot((u - np.float32(x)) / 0.34, (v - 0.66) / 0.17).astype(np.float32)
            film.density += np.float32(0.07 + 0.02 * chest.fat) * step(breast, 0.25) * body
    film.density -= 0.16 * bump((u - 0.36) / 0.11, (v - np.float32(chest.dome_left + 0.085)) / 0.03)
    _draw_bones(film, chest)
    _draw_vessels(film, rng)


def rib_path(side: str, number: int, begin: float = 0.0, end: float = 1.0) -> list[Point]:
    """Points of one posterior rib from the spine (0) to the chest wall (1)."""
    sign = 1.0 if side == "left" else -1.0
    reach = min(INNER + 0.02, 0.42 + 0.075 * number)
    points = []
    for i in range(9):
        t = begin + (end - begin) * i / 8
        u = 0.08 + (reach - 0.08) * math.sin(t * math.pi / 2)
        v = 0.11 + 0.072 * number - 0.035 * math.sin(math.pi * min(1.0, t * 1.1)) + 0.1 * t**3
        points.append((sign * u, v))
    return points


def _draw_bones(film: Film, chest: Chest) -> None:
    for side, sign in (("left", 1.0), ("right", -1.0)):
        for number in range(NUM_RIBS):
            path = rib_path(side, number)
            film.stroke(path, width=0.05, strength=0.055 * chest.bone)
            film.stroke([(u, v + 0.011) for u, v in path], width=0.012, strength=0.095 * chest.bone)
        film.stroke(
            [(sign * 0.07, 0.15), (sign * 0.3, 0.13), (sign * 0.55, 0.095), (sign * 0.82, 0.09)],
            width=0.055,
            strength=0.12 * chest.bone,
        )
        film.stroke(
            [(sign * 0.84, 0.14), (sign * 0.7, 0.3), (sign * 0.74, 0.4), (sign * 0.86, 0.25)],
            width=0.03,
            strength=0.06,
        )
    for number in range(12):
        film.stroke([(-0.06, 0.05 + 0.08 * number), (0.06, 0.05 + 0.08 * number)], width=0.012, strength=0.035)


def _draw_vessels(film: Film, rng: Random) -> None:
    for sign in (-1.0, 1.0):
        for i in range(10):
            heading = -1.35 + 2.7 * (i + rng.uniform(-0.3, 0.3)) / 9
            _grow_vessel(film, rng, (sign * 0.19, 0.47), heading, sign, length=rng.uniform(0.3, 0.5), width=0.03)


def _grow_vessel(
    film: Film, rng: Random, start: Point, heading: float, sign: float, *, length: float, width: float
) -> None:
    u, v = start
    for part in range(4):
        heading += rng.gauss(0.0, 0.16)
        end = (u + sign * math.cos(heading) * length / 4, v + math.sin(heading) * length / 4 * 0.85)
        film.stroke([(u, v), end], width=width * (1 - part * 0.22), strength=0.13 - 0.02 * part, layer="vessels")
        if part and width > 0.02:
            branch = heading + rng.choice((-0.6, 0.6))
            _grow_vessel(film, rng, (u, v), branch, sign, length=length * 0.45, width=0.014)
        u, v = end
