"""Tubes, lines and implants on a frontal film."""

import math
from collections.abc import Callable
from random import Random

from trrg_core.sources.sample.film import Film, Point
from trrg_core.sources.sample.ground_truth import Device

_METAL = 0.34


def draw_device(film: Film, device: Device, rng: Random) -> None:
    """Draws `device` on the film; the patient's left is image right."""
    _DRAW[device.kind](film, 1.0 if device.side == "left" else -1.0, rng)


def _draw_airway(film: Film, mirror: float, rng: Random) -> None:
    tip = rng.uniform(0.29, 0.34)
    film.stroke([(-0.015, 0.0), (-0.01, tip)], width=0.02, strength=0.3)
    film.stroke([(0.022, 0.0), (0.022, tip - 0.01)], width=0.02, strength=0.3)


def _draw_enteric(film: Film, mirror: float, rng: Random) -> None:
    end = rng.uniform(0.24, 0.34)
    path: list[Point] = [(0.05, 0.0), (0.05, 0.4), (0.07, 0.7), (0.12, 0.85), (end, 0.92), (end + 0.08, 0.9)]
    film.stroke(path, width=0.022, strength=_METAL)


def _draw_neck_line(film: Film, mirror: float, rng: Random) -> None:
    tip = rng.uniform(0.4, 0.48)
    film.stroke([(mirror * 0.2, 0.02), (mirror * 0.15, 0.14), (-0.09, 0.27), (-0.1, tip)], width=0.018, strength=_METAL)


def _draw_arm_line(film: Film, mirror: float, rng: Random) -> None:
    tip = rng.uniform(0.4, 0.48)
    film.stroke(
        [(mirror * 0.93, 0.27), (mirror * 0.7, 0.17), (mirror * 0.3, 0.155), (-0.08, 0.26), (-0.1, tip)],
        width=0.016,
        strength=_METAL,
    )


def _draw_port(film: Film, mirror: float, rng: Random) -> None:
    film.polygon(_ring(mirror * 0.5, 0.27, 0.075, 0.038), strength=0.36)
    film.polygon(_ring(mirror * 0.5, 0.27, 0.035, 0.018), strength=0.1)
    film.stroke([(mirror * 0.5, 0.25), (mirror * 0.3, 0.13), (-0.08, 0.26), (-0.1, 0.45)], width=0.016, strength=_METAL)


def _draw_pacemaker(film: Film, mirror: float, rng: Random) -> None:
    u, v = mirror * 0.56, rng.uniform(0.22, 0.26)
    film.polygon(_ring(u, v, 0.13, 0.062), strength=0.5)
    for end in ((-0.06, 0.58), (0.2, 0.76)):
        film.stroke([(u, v - 0.03), (mirror * 0.3, 0.16), (-0.06, 0.3), (-0.08, 0.5), end], width=0.016, strength=0.42)


def _draw_wires(film: Film, mirror: float, rng: Random) -> None:
    for number in range(6):
        ring = _ring(rng.uniform(-0.01, 0.015), 0.26 + 0.075 * number, 0.045, 0.02)
        film.stroke([*ring, ring[0]], width=0.014, strength=0.42)


def _draw_chest_tube(film: Film, mirror: float, rng: Random) -> None:
    top = rng.uniform(0.2, 0.3)
    path: list[Point] = [(mirror * 0.98, 0.68), (mirror * 0.72, 0.62), (mirror * 0.55, 0.45), (mirror * 0.42, top)]
    film.stroke(path, width=0.05, strength=0.2)
    film.stroke(path, width=0.016, strength=0.4)


def _ring(u: float, v: float, width: float, height: float) -> list[Point]:
    angles = [i * math.pi / 8 for i in range(16)]
    return [(u + width * math.cos(t), v + height * math.sin(t)) for t in angles]


_DRAW: dict[str, Callable[[Film, float, Random], None]] = {
    "endotracheal_tube": _draw_airway,
    "enteric_tube": _draw_enteric,
    "central_line": _draw_neck_line,
    "picc": _draw_arm_line,
    "port": _draw_port,
    "pacemaker": _draw_pacemaker,
    "sternal_wires": _draw_wires,
    "chest_tube": _draw_chest_tube,
}
