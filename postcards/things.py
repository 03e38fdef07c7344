"""The things of a scene: one function per kind, each in the thing's own color."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .canvas import (
    WIDTH,
    Canvas,
    Color,
    Point,
    Stage,
    arc_points,
    jittered,
    mix,
)
from .scene import PLACES, Dice, Thing

PALETTE: dict[str, Color] = {
    "red": (220, 36, 40),
    "orange": (250, 134, 20),
    "yellow": (252, 216, 40),
    "green": (40, 152, 62),
    "blue": (40, 90, 222),
    "purple": (130, 52, 184),
    "pink": (252, 132, 188),
    "white": (249, 249, 249),
    "black": (30, 30, 34),
    "brown": (118, 72, 38),
}
LIGHT_COLORS = ("yellow", "pink", "white", "orange")
DARK: Color = (46, 42, 58)
CREAM: Color = (255, 248, 228)
ROOF: Color = (84, 86, 100)
GLASS: Color = (190, 222, 240)
SKIN: Color = (236, 192, 156)

SIZES = {"small": 62.0, "large": 127.0}
# Kinds that are slim or flat get more, so that all have about the same area.
SCALES = {
    "house": 0.98,
    "tree": 1.05,
    "boat": 1.0,
    "car": 1.03,
    "balloon": 1.08,
    "tower": 1.15,
    "tent": 1.0,
    "cat": 0.98,
    "dog": 0.97,
    "horse": 1.08,
    "bird": 1.0,
    "person": 1.1,
    "windmill": 1.0,
    "bridge": 1.03,
}


@dataclass(frozen=True)
class Paint:
    body: Color
    shade: Color  # for parts of the body that stand out from it a little
    outline: Color
    mark: Color  # for eyes and the like, in contrast to the body


class Sketch:
    """Shapes in a thing's own units: feet at (0, 0), y upwards, about 1 high.

    They are kept until `finish`, which draws the outline of all of them first, so that
    only the thing as a whole has one.
    """

    def __init__(self, canvas: Canvas, x: float, y: float, unit: float, flip: int):
        self._canvas = canvas
        self._x = x
        self._y = y
        self._unit = unit
        self._flip = flip
        self._shapes: list[Callable[[float, Color | None], None]] = []

    def polygon(self, points: Sequence[Point], fill: Color) -> None:
        placed = [self._place(point) for point in points]

        def shape(margin: float, color: Color | None) -> None:
            if color is None:
                self._canvas.polygon(placed, fill)
                return
            joint = "curve" if len(placed) < 12 else ""
            closed = [*placed, placed[0], placed[1]]
            self._canvas.line(closed, 2 * margin, color, joint)

        self._shapes.append(shape)

    def rectangle(self, x0: float, y0: float, x1: float, y1: float, fill: Color):
        (x0, y0), (x1, y1) = self._place((x0, y0)), self._place((x1, y1))
        x0, x1 = min(x0, x1), max(x0, x1)

        def shape(margin: float, color: Color | None) -> None:
            m = margin
            self._canvas.rectangle(x0 - m, y0 + m, x1 + m, y1 - m, color or fill)

        self._shapes.append(shape)

    def ellipse(self, x: float, y: float, rx: float, ry: float, fill: Color) -> None:
        x, y = self._place((x, y))
        rx, ry = rx * self._unit, ry * self._unit

        def shape(margin: float, color: Color | None) -> None:
            self._canvas.ellipse(x, y, rx + margin, ry + margin, color or fill)

        self._shapes.append(shape)

    def limb(self, points: Sequence[Point], width: float, fill: Color) -> None:
        """A line with round ends."""
        placed = [self._place(point) for point in points]
        half = width * self._unit / 2

        def shape(margin: float, color: Color | None) -> None:
            radius = half + margin
            self._canvas.line(placed, 2 * radius, color or fill, "curve")
            for x, y in (placed[0], placed[-1]):
                self._canvas.ellipse(x, y, radius, radius, color or fill)

        self._shapes.append(shape)

    def finish(self, outline: Color, margin: float) -> None:
        for shape in self._shapes:
            shape(margin, outline)
        for shape in self._shapes:
            shape(0, None)

    def _place(self, point: Point) -> Point:
        x, y = point
        return self._x + x * self._unit * self._flip, self._y - y * self._unit


def draw_things(stage: Stage) -> None:
    placed = []
    for thing in stage.scene.things:
        dice = stage.dice(f"thing {thing.place}")
        # A large thing fills its third of the width nearly.
        stray = 0.01 if thing.size == "large" else 0.04
        share = (1 + 2 * PLACES.index(thing.place)) / 6 + dice.between(-stray, stray)
        x = WIDTH * share
        unit = SIZES[thing.size] * SCALES[thing.kind] * dice.between(0.96, 1.04)
        placed.append((_feet(thing, dice, unit), x, unit, thing, dice))
    # Near things cover far ones; what flies is the farthest.
    for y, x, unit, thing, dice in sorted(placed, key=lambda item: item[0]):
        _draw_thing(stage, thing, dice, x, y, unit)


def _feet(thing: Thing, dice: Dice, unit: float) -> float:
    if thing.kind == "balloon":
        return dice.between(86, 98) + unit / 2
    if thing.kind == "bird":
        return dice.between(92, 122) + unit * 0.3
    if thing.size == "large":
        return dice.between(234, 250)
    return dice.between(222, 250)


def _draw_thing(
    stage: Stage, thing: Thing, dice: Dice, x: float, y: float, unit: float
) -> None:
    flip = dice.pick((-1, 1))
    if thing.kind == "boat":
        _ripples(stage, x, y, unit)
    elif thing.kind not in ("balloon", "bird"):
        half = unit * SHADOWS.get(thing.kind, 0.45)
        stage.canvas.ellipse(x, y, half, max(3, unit * 0.05), (20, 20, 40, 80))
    sketch = Sketch(stage.canvas, x, y, unit, flip)
    paint = _paint(stage, thing.color, dice)
    KINDS[thing.kind](sketch, paint, dice)
    sketch.finish(paint.outline, 1.5 if thing.size == "small" else 2.0)


def _paint(stage: Stage, color: str, dice: Dice) -> Paint:
    body = stage.lit(jittered(PALETTE[color], dice, 7), 0.12)
    light = color in LIGHT_COLORS
    if color == "black":
        shade = mix(body, (255, 255, 255), 0.2)
    else:
        shade = mix(body, (20, 10, 40), 0.16 if light else 0.26)
    outline, mark = (DARK, DARK) if light else (CREAM, CREAM)
    return Paint(body, shade, outline, mark)


def _ripples(stage: Stage, x: float, y: float, unit: float) -> None:
    """A boat stands on a little water of its own, which is no lake."""
    water, foam = stage.lit((96, 164, 220), 0.4), stage.lit((240, 250, 255), 0.3)
    level = y - unit * 0.04
    stage.canvas.ellipse(x, level, unit * 0.5, unit * 0.075, water)
    for row, width in ((0.02, 0.4), (0.06, 0.25)):
        step = unit * width / 4
        wave = [
            (x + i * step, y + unit * (row - 0.02 * (i % 2)) - 2) for i in range(-4, 5)
        ]
        stage.canvas.line(wave, 1.4, foam)


# Buildings.


def house(s: Sketch, paint: Paint, dice: Dice) -> None:
    if dice.chance(0.7):
        s.rectangle(0.2, 0.6, 0.31, 0.98, ROOF)
    s.rectangle(-0.43, 0, 0.43, 0.62, paint.body)
    ridge = dice.pick((0.0, 0.16))
    s.polygon([(-0.51, 0.6), (-ridge, 0.96), (ridge, 0.96), (0.51, 0.6)], ROOF)
    for x in (-0.26, 0.26):
        _window(s, paint, x, 0.38)
    s.rectangle(-0.085, 0, 0.085, 0.3, paint.shade)
    s.ellipse(0.045, 0.14, 0.016, 0.016, CREAM)


def _window(s: Sketch, paint: Paint, x: float, y: float) -> None:
    s.rectangle(x - 0.085, y - 0.085, x + 0.085, y + 0.085, DARK)
    s.rectangle(x - 0.07, y - 0.07, x + 0.07, y + 0.07, (255, 240, 190))
    s.rectangle(x - 0.01, y - 0.07, x + 0.01, y + 0.07, DARK)


def tower(s: Sketch, paint: Paint, dice: Dice) -> None:
    s.polygon([(-0.2, 0), (-0.16, 0.7), (0.16, 0.7), (0.2, 0)], paint.body)
    s.rectangle(-0.22, 0.68, 0.22, 0.82, paint.body)
    for x in (-0.22, -0.06, 0.1):
        s.rectangle(x, 0.8, x + 0.12, 0.9, paint.body)
    s.rectangle(-0.22, 0.66, 0.22, 0.69, paint.shade)
    for y in (0.5, 0.34):
        s.rectangle(-0.025, y, 0.025, y + 0.1, paint.mark)
    s.polygon(
        [(-0.07, 0), *arc_points(0, 0.13, 0.07, 0.07, 180, 0, 6), (0.07, 0)],
        paint.shade,
    )
    for x, y in ((-0.1, 0.26), (0.1, 0.45), (-0.09, 0.6), (0.1, 0.16)):
        s.rectangle(x - 0.035, y, x + 0.035, y + 0.025, paint.shade)
    if dice.chance(0.5):
        s.limb([(0, 0.9), (0, 1.02)], 0.015, DARK)
        s.polygon([(0, 1.02), (0.11, 0.98), (0, 0.94)], paint.body)


def windmill(s: Sketch, paint: Paint, dice: Dice) -> None:
    s.polygon([(-0.29, 0), (-0.19, 0.68), (0.19, 0.68), (0.29, 0)], paint.body)
    s.polygon(arc_points(0, 0.67, 0.2, 0.17, 0, 180, 10), ROOF)
    s.polygon(
        [(-0.07, 0), *arc_points(0, 0.14, 0.07, 0.07, 180, 0, 6), (0.07, 0)],
        paint.shade,
    )
    s.ellipse(0, 0.34, 0.05, 0.05, paint.mark)
    start = dice.between(30, 60)
    for turn in range(4):
        _blade(s, math.radians(start + 90 * turn))
    s.ellipse(0, 0.68, 0.045, 0.045, DARK)


def _blade(s: Sketch, angle: float) -> None:
    cos, sin = math.cos(angle), math.sin(angle)

    def at(along: float, across: float) -> Point:
        return along * cos - across * sin, 0.68 + along * sin + across * cos

    s.polygon([at(0.1, -0.03), at(0.48, -0.03), at(0.48, 0.11), at(0.1, 0.11)], DARK)
    s.polygon([at(0.12, -0.01), at(0.46, -0.01), at(0.46, 0.09), at(0.12, 0.09)], CREAM)
    s.limb([at(0, -0.01), at(0.47, -0.01)], 0.022, DARK)


def bridge(s: Sketch, paint: Paint, dice: Dice) -> None:
    def deck(x: float) -> float:
        return 0.36 + 0.12 * math.cos(x / 0.52 * math.pi / 2)

    top = [(x / 10, deck(x / 10)) for x in (-5.2, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5.2)]
    arches = []
    for x in (0.24, -0.24):
        arches += [(x + 0.18, 0), *arc_points(x, 0.04, 0.18, 0.24, 0, 180, 12)]
        arches += [(x - 0.18, 0)]
    s.polygon([*top, (0.52, 0), *arches, (-0.52, 0)], paint.body)
    for x in (0.24, -0.24):
        arch = arc_points(x, 0.04, 0.2, 0.26, 0, 180, 10)
        s.limb(arch, 0.03, paint.shade)
    s.limb([(x, y - 0.055) for x, y in top], 0.02, paint.shade)
    for x in (-0.47, 0, 0.47):
        s.rectangle(x - 0.045, deck(x) - 0.02, x + 0.045, deck(x) + 0.09, paint.body)


def tent(s: Sketch, paint: Paint, dice: Dice) -> None:
    lean = dice.between(-0.05, 0.05)
    s.limb([(lean, 0.68), (lean - 0.04, 0.77)], 0.025, ROOF)
    s.limb([(lean, 0.68), (lean + 0.04, 0.77)], 0.025, ROOF)
    s.polygon([(-0.52, 0), (lean, 0.7), (0.52, 0)], paint.body)
    s.polygon([(lean, 0.7), (0.52, 0), (0.33, 0)], paint.shade)
    s.polygon([(-0.2, 0), (lean, 0.5), (0.16, 0)], (44, 40, 52))
    s.polygon([(0.16, 0), (lean, 0.5), (0.13, 0.2), (0.24, 0.03)], paint.mark)


# Things that move.


def boat(s: Sketch, paint: Paint, dice: Dice) -> None:
    s.limb([(0, 0.2), (0, 0.99)], 0.035, (110, 84, 62))
    s.polygon([(0.045, 0.34), (0.045, 0.97), (0.44, 0.34)], paint.body)
    s.polygon([(-0.045, 0.34), (-0.045, 0.84), (-0.34, 0.34)], paint.body)
    low = dice.between(0.3, 0.34)
    hull = [(-0.5, 0.27), (0.5, 0.27), (low, 0.02), (-0.36, 0.02)]
    s.polygon(hull, paint.body)
    s.polygon([(-0.5, 0.27), (0.5, 0.27), (0.47, 0.22), (-0.475, 0.22)], paint.shade)


def car(s: Sketch, paint: Paint, dice: Dice) -> None:
    back = dice.pick((-0.44, -0.34))
    s.polygon([(back, 0.28), (back + 0.1, 0.5), (0.12, 0.5), (0.28, 0.28)], paint.body)
    s.polygon(
        [(-0.5, 0.12), (-0.5, 0.27), (-0.46, 0.31), (0.3, 0.31)]
        + [(0.46, 0.27), (0.5, 0.2), (0.5, 0.12)],
        paint.body,
    )
    s.polygon(
        [(back + 0.08, 0.31), (back + 0.13, 0.46), (-0.09, 0.46), (-0.09, 0.31)], GLASS
    )
    s.polygon([(-0.05, 0.31), (-0.05, 0.46), (0.1, 0.46), (0.21, 0.31)], GLASS)
    s.rectangle(-0.5, 0.1, 0.5, 0.14, paint.shade)
    s.ellipse(0.46, 0.23, 0.03, 0.03, (255, 246, 200))
    for x in (-0.28, 0.28):
        s.ellipse(x, 0.11, 0.11, 0.11, (34, 34, 40))
        s.ellipse(x, 0.11, 0.05, 0.05, (200, 202, 210))


def balloon(s: Sketch, paint: Paint, dice: Dice) -> None:
    for x in (-0.08, 0.08):
        s.limb([(x, 0.1), (x * 1.2, 0.28)], 0.015, DARK)
    bottom = [(0.34, 0.55), (0.1, 0.24), (-0.1, 0.24), (-0.34, 0.55)]
    s.polygon([*bottom, *arc_points(0, 0.64, 0.36, 0.36, 195, -15, 20)], paint.body)
    if dice.chance(0.5):
        for rx in (0.24, 0.09):
            for angle in (-1, 1):
                curve = arc_points(0, 0.64, rx * angle, 0.35, 88, -50, 8)
                s.limb([*curve, (0.045 * angle, 0.25)], 0.02, paint.shade)
    else:
        s.polygon(
            arc_points(0, 0.64, 0.13, 0.355, 90, -60, 8)
            + [(0.04, 0.245), (-0.04, 0.245)]
            + arc_points(0, 0.64, 0.13, 0.355, 240, 90, 8),
            paint.shade,
        )
    s.rectangle(-0.1, 0, 0.1, 0.13, (150, 108, 66))
    s.rectangle(-0.11, 0.11, 0.11, 0.14, (104, 72, 44))


# Plants, animals and people.


def tree(s: Sketch, paint: Paint, dice: Dice) -> None:
    s.polygon(
        [(-0.11, 0), (-0.06, 0.16), (-0.06, 0.5), (0.06, 0.5), (0.06, 0.16), (0.11, 0)],
        (88, 62, 46),
    )
    turn = dice.between(0, 60)
    for x, y in arc_points(0, 0.64, 0.22, 0.19, turn, turn + 300, 5):
        s.ellipse(x, y, 0.18, 0.17, paint.body)
    s.ellipse(0, 0.64, 0.29, 0.27, paint.body)
    for _ in range(4):
        x, y = dice.between(-0.22, 0.16), dice.between(0.5, 0.78)
        s.limb(arc_points(x, y, 0.06, 0.05, 200, 340, 5), 0.025, paint.shade)


def cat(s: Sketch, paint: Paint, dice: Dice) -> None:
    tail = [(0.12, 0.06), (0.32, 0.07), (0.42, 0.2), (0.38, 0.36), (0.3, 0.42)]
    s.limb([*tail, (0.34, 0.52)], 0.09, paint.body)
    s.ellipse(0, 0.22, 0.25, 0.22, paint.body)
    s.polygon([(-0.23, 0.2), (-0.13, 0.6), (0.13, 0.6), (0.23, 0.2)], paint.body)
    for side in (-1, 1):
        ear = [(side * 0.245, 0.68), (side * 0.23, 1.0), (side * 0.03, 0.84)]
        s.polygon(ear, paint.body)
        inner = [(side * 0.2, 0.76), (side * 0.2, 0.91), (side * 0.1, 0.83)]
        s.polygon(inner, paint.shade)
    s.ellipse(0, 0.68, 0.26, 0.2, paint.body)
    for side in (-1, 1):
        s.limb([(side * 0.07, 0.05), (side * 0.07, 0.3)], 0.018, paint.shade)
        s.ellipse(side * 0.1, 0.04, 0.09, 0.045, paint.body)
        s.ellipse(side * 0.1, 0.71, 0.04, 0.05, paint.mark)
    s.polygon([(-0.035, 0.63), (0.035, 0.63), (0, 0.59)], paint.mark)
    for side in (-1, 1):
        for y in (0.6, 0.65):
            s.limb([(side * 0.1, 0.62), (side * 0.24, y)], 0.012, paint.mark)


def dog(s: Sketch, paint: Paint, dice: Dice) -> None:
    lift = dice.between(0.72, 0.82)
    s.limb([(-0.34, 0.5), (-0.45, 0.62), (-0.46, lift)], 0.08, paint.body)
    for x in (-0.24, 0.2):
        s.limb([(x + 0.07, 0.3), (x + 0.07, 0.05)], 0.1, paint.shade)
    for x in (-0.32, 0.12):
        s.limb([(x, 0.32), (x, 0.05)], 0.11, paint.body)
        s.ellipse(x + 0.03, 0.045, 0.08, 0.045, paint.body)
    s.limb([(-0.25, 0.42), (0.13, 0.42)], 0.29, paint.body)
    s.polygon([(0.02, 0.5), (0.16, 0.8), (0.36, 0.66), (0.27, 0.4)], paint.body)
    s.limb([(0.06, 0.57), (0.29, 0.5)], 0.05, paint.mark)
    s.ellipse(0.24, 0.73, 0.17, 0.15, paint.body)
    s.limb([(0.32, 0.68), (0.46, 0.66)], 0.14, paint.body)
    s.ellipse(0.52, 0.7, 0.04, 0.035, DARK)
    s.ellipse(0.3, 0.78, 0.03, 0.035, paint.mark)
    s.polygon(
        [(0.06, 0.83), (0.17, 0.85), (0.19, 0.66), (0.13, 0.53), (0.05, 0.6)],
        paint.shade,
    )


def horse(s: Sketch, paint: Paint, dice: Dice) -> None:
    s.limb([(-0.33, 0.6), (-0.44, 0.5), (-0.45, 0.26)], 0.09, paint.shade)
    step = dice.between(0.0, 0.07)
    for x in (-0.2, 0.2):
        s.limb([(x, 0.45), (x + step, 0.24), (x + step, 0.03)], 0.07, paint.shade)
    for x in (-0.28, 0.14):
        s.limb([(x, 0.45), (x, 0.24), (x - step, 0.03)], 0.08, paint.body)
    s.limb([(-0.22, 0.55), (0.12, 0.54)], 0.27, paint.body)
    s.polygon([(-0.02, 0.62), (0.2, 0.97), (0.36, 0.9), (0.25, 0.46)], paint.body)
    s.polygon(
        [(0.2, 0.99), (0.31, 0.99), (0.52, 0.76), (0.49, 0.69), (0.42, 0.69)]
        + [(0.27, 0.8)],
        paint.body,
    )
    s.polygon([(0.2, 0.96), (0.21, 1.07), (0.28, 0.98)], paint.body)
    s.limb([(0.24, 0.98), (0.14, 0.9), (0.04, 0.74), (-0.02, 0.62)], 0.08, paint.shade)
    s.ellipse(0.3, 0.9, 0.022, 0.025, paint.mark)
    s.ellipse(0.47, 0.745, 0.015, 0.015, paint.mark)


def bird(s: Sketch, paint: Paint, dice: Dice) -> None:
    lift = dice.between(-0.03, 0.05)
    far_wing = [(0.1, 0.32), (0.2, 0.52), (0.42, 0.66 + lift), (0.3, 0.45), (0.2, 0.3)]
    s.polygon(far_wing, paint.shade)
    s.polygon([(-0.2, 0.32), (-0.5, 0.34), (-0.44, 0.24), (-0.5, 0.15)], paint.body)
    s.polygon([(0.4, 0.34), (0.54, 0.29), (0.4, 0.26)], (255, 168, 30))
    s.ellipse(0, 0.26, 0.28, 0.13, paint.body)
    s.ellipse(0.3, 0.31, 0.13, 0.115, paint.body)
    front = [(0.16, 0.3), (0.06, 0.54), (-0.16, 0.7 + lift), (-0.46, 0.74 + lift)]
    back = [(-0.38, 0.6), (-0.3, 0.56), (-0.26, 0.46), (-0.16, 0.4), (-0.12, 0.26)]
    s.polygon(front + back, paint.body)
    s.limb([(0.14, 0.29), (0.0, 0.21), (-0.12, 0.26)], 0.025, paint.shade)
    s.limb([(-0.12, 0.44), (-0.26, 0.62)], 0.022, paint.shade)
    s.limb([(-0.02, 0.42), (-0.12, 0.6)], 0.022, paint.shade)
    s.ellipse(0.34, 0.34, 0.025, 0.028, paint.mark)


def person(s: Sketch, paint: Paint, dice: Dice) -> None:
    hair = dice.pick(((64, 48, 42), (96, 70, 52), (52, 52, 60)))
    wave = dice.chance(0.5)
    for side in (-1, 1):
        s.limb([(side * 0.08, 0.34), (side * 0.1, 0.05)], 0.12, paint.shade)
        s.ellipse(side * 0.12, 0.03, 0.085, 0.035, DARK)
        up = wave and side == 1
        hand = (side * 0.33, 0.78) if up else (side * 0.29, 0.38)
        s.ellipse(*hand, 0.05, 0.05, SKIN)
        s.limb([(side * 0.14, 0.66), (hand[0] * 0.96, hand[1])], 0.1, paint.body)
        s.ellipse(hand[0], hand[1] + (0.05 if up else -0.05), 0.045, 0.045, SKIN)
    s.polygon(
        [(-0.2, 0.3), (-0.17, 0.68), (-0.1, 0.73), (0.1, 0.73), (0.17, 0.68)]
        + [(0.2, 0.3)],
        paint.body,
    )
    s.limb([(0, 0.66), (0, 0.32)], 0.016, paint.shade)
    s.ellipse(0, 0.87, 0.135, 0.135, hair)
    s.ellipse(0, 0.84, 0.12, 0.115, SKIN)
    for x in (-0.045, 0.045):
        s.ellipse(x, 0.85, 0.014, 0.018, DARK)
    s.limb(arc_points(0, 0.82, 0.045, 0.03, 200, 340, 4), 0.012, (150, 70, 70))


KINDS: dict[str, Callable[[Sketch, Paint, Dice], None]] = {
    "house": house,
    "tree": tree,
    "boat": boat,
    "car": car,
    "balloon": balloon,
    "tower": tower,
    "tent": tent,
    "cat": cat,
    "dog": dog,
    "horse": horse,
    "bird": bird,
    "person": person,
    "windmill": windmill,
    "bridge": bridge,
}
# Half the width of the shadow below, where it is not the usual one.
SHADOWS = {
    "tree": 0.3,
    "tower": 0.28,
    "windmill": 0.36,
    "person": 0.25,
    "cat": 0.32,
    "car": 0.52,
    "house": 0.52,
    "tent": 0.56,
    "bridge": 0.56,
}
