"""A film to draw on: broad shadows on a coarse grid, lines at full resolution, rendered to one grey JPEG.

Points are (u, v): u runs from -1 (left edge of the image, the patient's right) to 1, v from 0 (top) to 1.
Densities are 0 (air, black) to about 1 (metal, white).
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage
from PIL import ImageDraw, ImageFilter

Grid = NDArray[np.float32]
Point = tuple[float, float]
_PIXELS_PER_CELL = 2.5  # image pixels per cell of the coarse grid: shadows are smooth at this scale


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Position of the patient on the film: size in pixels, rotation in radians, scale and shift."""

    width: int
    height: int
    angle: float = 0.0
    scale: float = 1.0
    shift: Point = (0.0, 0.0)


class Film:
    """One exposure. `u`, `v` are the coordinates of a coarse grid for broad shadows.

    `density` is that of a solid body; `lungs` is what air-filled lungs subtract from it, and `air` the share of that
    air that remains: disease fills the lungs, so shadows never add up to more than a solid body.
    """

    def __init__(self, pose: Pose) -> None:
        self.pose = pose
        rows, columns = round(pose.height / _PIXELS_PER_CELL), round(pose.width / _PIXELS_PER_CELL)
        x = np.linspace(-1, 1, columns, dtype=np.float32)[None, :] - np.float32(pose.shift[0])
        y = np.linspace(-1, 1, rows, dtype=np.float32)[:, None] - np.float32(pose.shift[1])
        cos, sin = math.cos(pose.angle) / pose.scale, math.sin(pose.angle) / pose.scale
        self.u: Grid = (x * cos + y * sin).astype(np.float32)
        self.v: Grid = ((y * cos - x * sin) * 0.5 + 0.5).astype(np.float32)
        self.density: Grid = np.zeros((rows, columns), np.float32)
        self.lungs: Grid = np.zeros((rows, columns), np.float32)
        self.air: Grid = np.ones((rows, columns), np.float32)
        self._affine = _affine_of(pose)
        size = (pose.width, pose.height)
        self._layers = {name: PilImage.new("L", size) for name in ("bright", "dark", "vessels")}
        self._pens = {name: ImageDraw.Draw(layer) for name, layer in self._layers.items()}

    def fill(self, mask: Grid, amount: float) -> None:
        """Removes `amount` (0 to 1) of the air of the lungs where `mask` is one."""
        self.air *= 1 - np.float32(amount) * mask

    def stroke(self, points: Sequence[Point], *, width: float, strength: float, layer: str = "bright") -> None:
        """Draws a line through `points`; `width` in units of u, `strength` in density."""
        pixels = max(1, round(width * self.pose.width * 0.5 * self.pose.scale))
        self._pens[layer].line(self._to_pixels(points), fill=_ink(strength), width=pixels, joint="curve")

    def polygon(self, points: Sequence[Point], *, strength: float, layer: str = "bright") -> None:
        """Draws a filled polygon; `strength` in density."""
        self._pens[layer].polygon(self._to_pixels(points), fill=_ink(strength))

    def render(self, noise: np.random.Generator, *, grain: float, gamma: float, gain: float) -> PilImage.Image:
        """The finished image, mode L; `grain` is the noise in density, `gain` and `gamma` set the exposure."""
        size = (self.pose.width, self.pose.height)
        inflated = self.lungs * self.air
        grid = _enlarge(self.density - inflated, size)
        vessel_gain = _enlarge(np.minimum(inflated * np.float32(2.5), 1), size)
        soft = ImageFilter.BoxBlur(0.8)
        for name, sign in (("bright", 1.0), ("dark", -1.0), ("vessels", 1.0)):
            if self._layers[name].getbbox() is None:
                continue
            ink = np.asarray(self._layers[name].filter(soft), np.float32) * np.float32(sign / 255)
            grid += ink * vessel_gain if name == "vessels" else ink
        grid += noise.standard_normal(grid.shape, dtype=np.float32) * np.float32(grain)
        np.clip(grid * np.float32(gain), 0.0, 1.0, out=grid)
        levels = (np.linspace(0, 1, 1024) ** gamma * 255).astype(np.uint8)
        return PilImage.fromarray(levels[(grid * np.float32(1023)).astype(np.uint16)])

    def _to_pixels(self, points: Sequence[Point]) -> list[Point]:
        (xu, xw, x0), (yu, yw, y0) = self._affine
        return [(u * xu + (v - 0.5) * xw + x0, u * yu + (v - 0.5) * yw + y0) for u, v in points]


def _affine_of(pose: Pose) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Coefficients of pixel x and y for (u, v - 0.5, 1)."""
    half_x, half_y = (pose.width - 1) / 2, (pose.height - 1) / 2
    cos, sin = math.cos(pose.angle) * pose.scale, math.sin(pose.angle) * pose.scale
    across = (cos * half_x, -2 * sin * half_x, (pose.shift[0] + 1) * half_x)
    down = (sin * half_y, 2 * cos * half_y, (pose.shift[1] + 1) * half_y)
    return across, down


def encode_jpeg(image: PilImage.Image, quality: int = 88) -> bytes:
    """`image` as JPEG bytes."""
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def step(x: Grid, width: float) -> Grid:
    """A smooth step: 0 where `x` is far below zero, 1 where far above, with a transition of about `width`."""
    return np.clip(x / np.float32(width) + np.float32(0.5), 0, 1).astype(np.float32)


def bump(x: Grid, y: Grid | float = 0.0) -> Grid:
    """A Gaussian of standard deviation one: 1 at (0, 0)."""
    squares: Grid = x * x + y * y
    gaussian: Grid = np.exp(np.float32(-0.5) * squares)
    return gaussian


def _ink(strength: float) -> int:
    return max(0, min(255, round(strength * 255)))


def _enlarge(grid: Grid, size: tuple[int, int]) -> Grid:
    return np.array(PilImage.fromarray(grid).resize(size, PilImage.Resampling.BILINEAR))
