"""Drawing in relative coordinates: every image is 400 units wide and 300 high."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from .scene import Dice, Scene

Color = tuple[int, ...]
Point = tuple[float, float]

WIDTH = 400
HEIGHT = 300
HORIZON = 150
SEA_DEPTH = 29
SUPERSAMPLING = 2

# Factors of red, green and blue in the light of each time of day.
LIGHT = {
    "day": (1.0, 1.0, 1.0),
    "dawn": (0.92, 0.88, 1.0),
    "sunset": (1.0, 0.8, 0.68),
    "night": (0.46, 0.52, 0.76),
}


def mix(color: Color, other: Color, share: float) -> Color:
    return tuple(round(a + (b - a) * share) for a, b in zip(color, other, strict=True))


def lit(color: Color, time: str, strength: float = 1.0) -> Color:
    """Return a color in the light of a time of day."""
    factors = (1 + (factor - 1) * strength for factor in LIGHT[time])
    return tuple(round(c * f) for c, f in zip(color, factors, strict=True))


def jitter(color: Color, dice: Dice, amount: float) -> Color:
    return tuple(
        min(255, max(0, round(c + dice.between(-amount, amount)))) for c in color
    )


def arc_points(
    x: float, y: float, rx: float, ry: float, start: float, end: float, steps: int = 16
) -> list[Point]:
    """Return points along an ellipse; angles in degrees, as in sin and cos."""
    angles = (math.radians(start + (end - start) * i / steps) for i in range(steps + 1))
    return [(x + rx * math.cos(a), y + ry * math.sin(a)) for a in angles]


class Canvas:
    """An image to draw on; other aspect ratios than 4:3 stretch the drawing."""

    def __init__(self, width: int, height: int):
        size = (width * SUPERSAMPLING, height * SUPERSAMPLING)
        self.image = Image.new("RGB", size)
        # In this mode, colors with an alpha channel are blended.
        self._draw = ImageDraw.Draw(self.image, "RGBA")
        self._sx = size[0] / WIDTH
        self._sy = size[1] / HEIGHT
        self._scale = math.sqrt(self._sx * self._sy)

    def finished(self) -> Image.Image:
        return self.image.reduce(SUPERSAMPLING)

    def gradient(self, top: float, bottom: float, colors: Sequence[Color]) -> None:
        """Fill rows of the full width with a gradient from top to bottom."""
        first, last = round(top * self._sy), round(bottom * self._sy)
        if last <= first:
            return
        at = np.linspace(0, len(colors) - 1, last - first)
        stops = np.arange(len(colors))
        channels = [
            np.interp(at, stops, channel) for channel in zip(*colors, strict=True)
        ]
        column = np.stack(channels, axis=-1).round().astype(np.uint8)[:, None, :]
        rows = Image.fromarray(column).resize(
            (self.image.width, last - first), Image.Resampling.NEAREST
        )
        self.image.paste(rows, (0, first))

    def polygon(self, points: Sequence[Point], fill: Color) -> None:
        self._draw.polygon(self._pixels(points), fill=fill)

    def rectangle(
        self, x0: float, y0: float, x1: float, y1: float, fill: Color
    ) -> None:
        sx, sy = self._sx, self._sy
        x0, x1 = min(x0, x1) * sx, max(x0, x1) * sx
        y0, y1 = min(y0, y1) * sy, max(y0, y1) * sy
        # Pillow includes the last pixel, which would make small ones too large.
        box = (x0, y0, max(x0, x1 - 1), max(y0, y1 - 1))
        self._draw.rectangle(box, fill=fill)

    def ellipse(self, x: float, y: float, rx: float, ry: float, fill: Color) -> None:
        sx, sy = self._sx, self._sy
        box = ((x - rx) * sx, (y - ry) * sy, (x + rx) * sx, (y + ry) * sy)
        self._draw.ellipse(box, fill=fill)

    def line(
        self, points: Sequence[Point], width: float, fill: Color, joint: str = ""
    ) -> None:
        pixels = max(1, round(width * self._scale))
        self._draw.line(self._pixels(points), fill, pixels, joint or None)

    def arc(self, x: float, y: float, r: float, width: float, fill: Color) -> None:
        """Draw the upper half of a ring with the outer radius r."""
        sx, sy = self._sx, self._sy
        box = ((x - r) * sx, (y - r) * sy, (x + r) * sx, (y + r) * sy)
        self._draw.arc(box, 180, 360, fill, max(1, math.ceil(width * self._scale)))

    def _pixels(self, points: Sequence[Point]) -> list[Point]:
        sx, sy = self._sx, self._sy
        return [(x * sx, y * sy) for x, y in points]


class Stage:
    """The state that all parts of a drawing share."""

    def __init__(self, scene: Scene, variation: int, canvas: Canvas):
        self.scene = scene
        self.time = scene.time
        self.canvas = canvas
        self._variation = variation
        self.horizon = HORIZON + self.dice("horizon").between(-4, 4)
        self.has_sea = "sea" in scene.features
        self.ground = self.horizon + (SEA_DEPTH if self.has_sea else 0)
        # The sun is opposite the moon, the lake opposite the river.
        self.side = self.dice("side").pick((-1, 1))

    def dice(self, part: str) -> Dice:
        return Dice("detail", self._variation, part)

    def lit(self, color: Color, strength: float = 1.0) -> Color:
        return lit(color, self.time, strength)
