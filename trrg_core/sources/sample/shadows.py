"""The signs of disease on a frontal film: one drawing function per finding."""

import math
from collections.abc import Callable
from random import Random

import numpy as np

from trrg_core.labels import Assertion
from trrg_core.sources.sample.anatomy import INNER, Chest, outward, rib_path, wall
from trrg_core.sources.sample.film import Film, Grid, Point, bump, step
from trrg_core.sources.sample.ground_truth import Sign

_ZONE_V = {"upper": 0.27, "middle": 0.47, "lower": 0.64}


def draw_sign(film: Film, chest: Chest, sign: Sign, rng: Random) -> None:
    """Draws `sign` on each of its sides; fainter when it is uncertain."""
    draw = _DRAW.get(sign.finding)
    if draw is None:  # heart, mediastinum: part of the measures of the chest
        return
    for side in ("left", "right") if sign.side in ("both", "") else (sign.side,):
        draw(film, chest, sign, side, rng)


def _strength(sign: Sign) -> float:
    return 0.45 if sign.assertion is Assertion.UNCERTAIN else 1.0


def _half(film: Film, side: str) -> Grid:
    return step(outward(film, side), 0.04)


def _draw_effusion(film: Film, chest: Chest, sign: Sign, side: str, rng: Random) -> None:
    out = outward(film, side)
    lateral = np.clip((out - np.float32(0.12)) / np.float32(0.6), 0, 1.2)
    doubt = sign.assertion is Assertion.UNCERTAIN
    top = chest.dome(side) + (0.16 if doubt else 0.125 - 0.36 * sign.extent)
    rise = 0.09 if doubt else 0.13 + 0.08 * sign.extent
    fluid = step(film.v - np.float32(top) + np.float32(rise) * lateral**2.2, 0.03)
    film.fill(fluid * _half(film, side), 0.96)


def _draw_pneumothorax(film: Film, chest: Chest, sign: Sign, side: str, rng: Random) -> None:
    doubt = sign.assertion is Assertion.UNCERTAIN
    depth = 0.06 if doubt else 0.11 + 0.2 * sign.extent
    fade = np.clip((film.v - np.float32(0.1)) / np.float32(0.65), 0, 1)
    fall = np.float32(depth) * (1 - (1.0 if doubt else 0.55) * fade)
    edge = np.minimum(wall(film.v - np.float32(depth * 0.45)) - np.float32(0.35) * fall, wall(film.v) - fall)
    gap = edge - outward(film, side)
    inside = film.lungs * np.float32(2.5) * _half(film, side)
    film.density -= np.float32(0.07 if doubt else 0.13) * inside * film.air * step(-gap, 0.02)
    film.density += np.float32(0.1 if doubt else 0.17) * inside * bump(gap / 0.014)
    film.fill(_half(film, side) * step(gap, 0.02), 0.2 * sign.extent)


def _draw_edema(film: Film, chest: Chest, sign: Sign, side: str, rng: Random) -> None:
    out = outward(film, side)
    amount = 0.18 if sign.assertion is Assertion.UNCERTAIN else 0.35 + 0.35 * sign.extent
    wings = bump((out - 0.3) / 0.19, (film.v - 0.47) / 0.14) + 0.35 * bump((out - 0.4) / 0.3, (film.v - 0.66) / 0.12)
    film.fill(np.minimum(wings, 1) * _half(film, side), amount)
    mirror = 1.0 if side == "left" else -1.0
    for _ in range(3 if amount < 0.2 else 9):
        v = rng.uniform(0.55, 0.78)
        u = 0.69 - rng.uniform(0.0, 0.04)
        film.stroke([(mirror * u, v), (mirror * (u - rng.uniform(0.08, 0.14)), v + 0.008)], width=0.012, strength=0.13)


def _draw_atelectasis(film: Film, chest: Chest, sign: Sign, side: str, rng: Random) -> None:
    out = outward(film, side)
    half = _half(film, side)
    base = 0.5 if sign.zone == "middle" else chest.dome(side) - 0.055
    doubt = sign.assertion is Assertion.UNCERTAIN
    for number in range(1 if doubt else 2 + round(2 * sign.extent)):
        height = base - 0.045 * number + rng.uniform(-0.008, 0.008)
        slope = rng.uniform(-0.12, 0.16)
        line = (film.v - np.float32(height) - np.float32(slope) * (out - 0.45)) / np.float32(0.011)
        band = bump(line, (out - np.float32(rng.uniform(0.38, 0.5))) / np.float32(rng.uniform(0.13, 0.2)))
        film.fill(band * half, 0.3 if doubt else 0.75)
    if not doubt:
        film.fill(half * bump((out - 0.42) / 0.28, (film.v - np.float32(base)) / 0.07), 0.25)


def _draw_consolidation(film: Film, chest: Chest, sign: Sign, side: str, rng: Random) -> None:
    out = outward(film, side)
    top, bottom = {"upper": (0.1, 0.41), "middle": (0.44, 0.6), "lower": (0.55, 0.9)}[sign.zone or "lower"]
    tilt = np.float32(0.1) * (out - 0.4)
    lobe = step(film.v - tilt - np.float32(top), 0.02) * step(np.float32(bottom) + tilt - film.v, 0.02)
    spread = 0.16 + 0.22 * sign.extent
    lobe = lobe * step(1 - np.abs(out - np.float32(0.46)) / np.float32(spread + 0.08), 0.3)
    film.fill(lobe * _half(film, side), 0.88 * _strength(sign))
    mirror = 1.0 if side == "left" else -1.0
    height = (max(top, 0.15) + min(bottom, chest.dome(side))) / 2
    for _ in range(4):
        u, v = 0.46 + rng.uniform(-0.1, 0.12), height + rng.uniform(-0.07, 0.07)
        twig: list[Point] = [
            (mirror * (u - 0.1), v),
            (mirror * u, v + 0.01),
            (mirror * (u + 0.07), v + rng.choice((-0.03, 0.04))),
        ]
        film.stroke(twig, width=0.018, strength=0.15 * _strength(sign), layer="dark")


def _draw_pneumonia(film: Film, chest: Chest, sign: Sign, side: str, rng: Random) -> None:
    out = outward(film, side)
    half = _half(film, side)
    middle = _ZONE_V[sign.zone or "lower"]
    for _ in range(7 + round(6 * sign.extent)):
        u = 0.42 + rng.gauss(0, 0.1 + 0.06 * sign.extent)
        v = middle + rng.gauss(0, 0.05 + 0.02 * sign.extent)
        size = np.float32(rng.uniform(0.03, 0.055))
        patch = bump((out - np.float32(u)) / size, (film.v - np.float32(v)) / (size * np.float32(0.6)))
        film.fill(patch * half, rng.uniform(0.35, 0.6) * (0.5 if _strength(sign) < 1 else 1))


def _draw_opacity(film: Film, chest: Chest, sign: Sign, side: str, rng: Random) -> None:
    out = outward(film, side)
    width = np.float32(0.13 + 0.07 * sign.extent)
    u, v = 0.44 + rng.uniform(-0.06, 0.06), _ZONE_V[sign.zone or "lower"] + rng.uniform(-0.03, 0.03)
    haze = bump((out - np.float32(u)) / width, (film.v - np.float32(v)) / (width * np.float32(0.6)))
    film.fill(haze * _half(film, side), (0.5 + 0.15 * sign.extent) * _strength(sign))


def _draw_nodule(film: Film, chest: Chest, sign: Sign, side: str, rng: Random) -> None:
    radius = 0.045 + 0.03 * sign.extent if sign.finding == "nodule" else 0.1 + 0.08 * sign.extent
    u = rng.uniform(0.36, 0.58 - radius * 0.6)
    v = _ZONE_V[sign.zone or "upper"] + rng.uniform(-0.04, 0.03)
    x = (outward(film, side) - np.float32(u)) / np.float32(radius)
    y = (film.v - np.float32(v)) / np.float32(radius * 0.52)
    around = np.arctan2(y, x)
    lobes = 1 + np.float32(0.08) * np.sin(3 * around + np.float32(rng.uniform(0, 6)))
    film.fill(step((lobes - np.hypot(x, y)).astype(np.float32), 0.3), 0.9 * _strength(sign))


def _draw_thickening(film: Film, chest: Chest, sign: Sign, side: str, rng: Random) -> None:
    depth = wall(film.v) - outward(film, side)
    waves = 1 + np.float32(0.35) * np.sin(film.v * np.float32(rng.uniform(25, 40)))
    thick = np.float32(0.06 + 0.05 * sign.extent) * waves
    rind = step(thick - depth, 0.025) * _half(film, side) * step(film.v - 0.2, 0.1) * step(0.8 - film.v, 0.08)
    film.fill(rind, 0.85 * _strength(sign))
    if sign.assertion is Assertion.UNCERTAIN:
        return
    mirror = 1.0 if side == "left" else -1.0
    for number in range(4):
        u, v = INNER - 0.13 - rng.uniform(0.0, 0.06), 0.36 + 0.1 * number + rng.uniform(-0.02, 0.02)
        film.polygon(_ragged(rng, mirror * u, v, 0.035, 0.028), strength=0.3)


def _ragged(rng: Random, u: float, v: float, width: float, height: float) -> list[Point]:
    angles = [i * math.pi / 5 for i in range(10)]
    return [
        (u + width * math.cos(t) * rng.uniform(0.6, 1.1), v + height * math.sin(t) * rng.uniform(0.6, 1.1))
        for t in angles
    ]


def _draw_fracture(film: Film, chest: Chest, sign: Sign, side: str, rng: Random) -> None:
    doubt = sign.assertion is Assertion.UNCERTAIN
    first = 3 if sign.zone == "middle" else 4
    for number in range(first, first + (1 if doubt else 3 + round(sign.extent))):
        at = rng.uniform(0.5, 0.6)
        if doubt:
            u, v = rib_path(side, number)[5]
            film.stroke([(u, v - 0.015), (u + 0.01, v + 0.02)], width=0.015, strength=0.12, layer="dark")
            continue
        inner, outer = rib_path(side, number, 0.15, at), rib_path(side, number, at - 0.02, 1.0)
        film.stroke(rib_path(side, number, at - 0.08, at + 0.12), width=0.06, strength=0.1, layer="dark")
        film.stroke(inner, width=0.045, strength=0.24)
        film.stroke([(u, v + 0.032) for u, v in outer], width=0.045, strength=0.24)
    if not doubt:
        v = 0.16 + 0.072 * (first + 1)
        swelling = bump((outward(film, side) - np.float32(0.7)) / 0.07, (film.v - np.float32(v + 0.06)) / 0.1)
        film.fill(swelling * _half(film, side), 0.6)


_DRAW: dict[str, Callable[[Film, Chest, Sign, str, Random], None]] = {
    "pleural_effusion": _draw_effusion,
    "pneumothorax": _draw_pneumothorax,
    "edema": _draw_edema,
    "atelectasis": _draw_atelectasis,
    "consolidation": _draw_consolidation,
    "pneumonia": _draw_pneumonia,
    "opacity": _draw_opacity,
    "nodule": _draw_nodule,
    "mass": _draw_nodule,
    "pleural_thickening": _draw_thickening,
    "fracture": _draw_fracture,
}
