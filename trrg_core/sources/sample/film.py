"""A film to draw on: broad shadows on a coarse grid, fine strokes at full size, one grey JPEG out.

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
_COARSE = 2.5  # pixels of the picture in one cell of the coarse grid: shadows are smoother than that


@dataclass(frozen=True, kw_only=True)
class Pose:
    """How the patient lies on the film: size in pixels, turn in radians, scale and shift."""

    width: int
    height: int
    angle: float = 0.0
    scale: float = 1.0
    shift: Point = (0.0, 0.0)


class Film:
    """One exposure. `u`, `v` are the coordinates of a coarse grid on which broad shadows lie.

    `density` is the body as if it were solid; `lungs` is what lungs full of air take away from it, and `air` the
    share of that air still there: disease fills lungs, so shadows never add up to more than a solid body.
    """

    def __init__(self, pose: Pose) -> None:
        self.pose = pose
        rows, columns = round(pose.height / _COARSE), round(pose.width / _COARSE)
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
        """Takes `amount` (0 to 1) of the air out of the lungs where `mask` is one."""
        self.air *= 1 - np.float32(amount) * mask

    def stroke(self, points: Sequence[Point], *, width: float, strength: float, layer: str = "bright") -> None:
        """A line through `points`; `width` in units of u, `strength` in density."""
        pixels = max(1, round(width * self.pose.width * 0.5 * self.pose.scale))
        self._pens[layer].line(self._to_pixels(points), fill=_ink(strength), width=pixels, joint="curve")

    def blob(self, points: Sequence[Point], *, strength: float, layer: str = "bright") -> None:
        """A filled outline."""
        self._pens[layer].polygon(self._to_pixels(points), fill=_ink(strength))

    def develop(self, noise: np.random.Generator, *, grain: float, gamma: float, gain: float) -> PilImage.Image:
        """The finished picture, mode L; `grain` is the noise in density, `gain` and `gamma` the exposure."""
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
    """Pixel x and y as sums over (u, v - 0.5, 1)."""
    half_x, half_y = (pose.width - 1) / 2, (pose.height - 1) / 2
    cos, sin = math.cos(pose.angle) * pose.scale, math.sin(pose.angle) * pose.scale
    across = (cos * half_x, -2 * sin * half_x, (pose.shift[0] + 1) * half_x)
    down = (sin * half_y, 2 * cos * half_y, (pose.shift[1] + 1) * half_y)
    return across, down


def encode_jpeg(picture: PilImage.Image, quality: int = 88) -> bytes:
    """`picture` as JPEG bytes."""
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality)
    return out.getvalue()


def step(x: Grid, width: float) -> Grid:
    """A soft step: 0 where `x` is far below zero, 1 far above, over about `width`."""
    return np.clip(x / np.float32(width) + np.float32(0.5), 0, 1).astype(np.float32)


def bump(x: Grid, y: Grid | float = 0.0) -> Grid:
    """A round bump: 1 at (0, 0), falling as a Gaussian of width one."""
    squares: Grid = x * x + y * y
    fallen: Grid = np.exp(np.float32(-0.5) * squares)
    return fallen


def _ink(strength: float) -> int:
    return max(0, min(255, round(strength * 255)))


def _enlarge(grid: Grid, size: tuple[int, int]) -> Grid:
    return np.array(PilImage.fromarray(grid).resize(size, PilImage.Resampling.BILINEAR))
