"""Draw things that are built: house, tower, windmill, bridge and tent."""

import math

from .canvas import Color, Point, arc_points
from .paint import CREAM, DARK, Paint
from .scene import Dice
from .sketch import Sketch

ROOF: Color = (84, 86, 100)


def house(sketch: Sketch, paint: Paint, dice: Dice) -> None:
    if dice.chance(0.7):
        sketch.rectangle(0.2, 0.6, 0.31, 0.98, ROOF)
    sketch.rectangle(-0.43, 0, 0.43, 0.62, paint.body)
    ridge = dice.pick((0.0, 0.16))
    sketch.polygon([(-0.51, 0.6), (-ridge, 0.96), (ridge, 0.96), (0.51, 0.6)], ROOF)
    for x in (-0.26, 0.26):
        _window(sketch, x, 0.38)
    sketch.rectangle(-0.085, 0, 0.085, 0.3, paint.shade)
    sketch.ellipse(0.045, 0.14, 0.016, 0.016, CREAM)


def _window(sketch: Sketch, x: float, y: float) -> None:
    sketch.rectangle(x - 0.085, y - 0.085, x + 0.085, y + 0.085, DARK)
    sketch.rectangle(x - 0.07, y - 0.07, x + 0.07, y + 0.07, (255, 240, 190))
    sketch.rectangle(x - 0.01, y - 0.07, x + 0.01, y + 0.07, DARK)


def tower(sketch: Sketch, paint: Paint, dice: Dice) -> None:
    sketch.polygon([(-0.2, 0), (-0.16, 0.7), (0.16, 0.7), (0.2, 0)], paint.body)
    sketch.rectangle(-0.22, 0.68, 0.22, 0.82, paint.body)
    for x in (-0.22, -0.06, 0.1):
        sketch.rectangle(x, 0.8, x + 0.12, 0.9, paint.body)
    sketch.rectangle(-0.22, 0.66, 0.22, 0.69, paint.shade)
    for y in (0.5, 0.34):
        sketch.rectangle(-0.025, y, 0.025, y + 0.1, paint.mark)
    sketch.polygon(
        [(-0.07, 0), *arc_points(0, 0.13, 0.07, 0.07, 180, 0, 6), (0.07, 0)],
        paint.shade,
    )
    for x, y in ((-0.1, 0.26), (0.1, 0.45), (-0.09, 0.6), (0.1, 0.16)):
        sketch.rectangle(x - 0.035, y, x + 0.035, y + 0.025, paint.shade)
    if dice.chance(0.5):
        sketch.limb([(0, 0.9), (0, 1.02)], 0.015, DARK)
        sketch.polygon([(0, 1.02), (0.11, 0.98), (0, 0.94)], paint.body)


def windmill(sketch: Sketch, paint: Paint, dice: Dice) -> None:
    sketch.polygon([(-0.29, 0), (-0.19, 0.68), (0.19, 0.68), (0.29, 0)], paint.body)
    sketch.polygon(arc_points(0, 0.67, 0.2, 0.17, 0, 180, 10), ROOF)
    sketch.polygon(
        [(-0.07, 0), *arc_points(0, 0.14, 0.07, 0.07, 180, 0, 6), (0.07, 0)],
        paint.shade,
    )
    sketch.ellipse(0, 0.34, 0.05, 0.05, paint.mark)
    start = dice.between(30, 60)
    for turn in range(4):
        _blade(sketch, math.radians(start + 90 * turn))
    sketch.ellipse(0, 0.68, 0.045, 0.045, DARK)


def _blade(sketch: Sketch, angle: float) -> None:
    cos, sin = math.cos(angle), math.sin(angle)

    def at(along: float, across: float) -> Point:
        return along * cos - across * sin, 0.68 + along * sin + across * cos

    sketch.polygon(
        [at(0.1, -0.03), at(0.48, -0.03), at(0.48, 0.11), at(0.1, 0.11)], DARK
    )
    sketch.polygon(
        [at(0.12, -0.01), at(0.46, -0.01), at(0.46, 0.09), at(0.12, 0.09)], CREAM
    )
    sketch.limb([at(0, -0.01), at(0.47, -0.01)], 0.022, DARK)


def bridge(sketch: Sketch, paint: Paint, _dice: Dice) -> None:
    def deck(x: float) -> float:
        return 0.36 + 0.12 * math.cos(x / 0.52 * math.pi / 2)

    top = [(x / 10, deck(x / 10)) for x in (-5.2, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5.2)]
    arches = []
    for x in (0.24, -0.24):
        arches += [(x + 0.18, 0), *arc_points(x, 0.04, 0.18, 0.24, 0, 180, 12)]
        arches += [(x - 0.18, 0)]
    sketch.polygon([*top, (0.52, 0), *arches, (-0.52, 0)], paint.body)
    for x in (0.24, -0.24):
        arch = arc_points(x, 0.04, 0.2, 0.26, 0, 180, 10)
        sketch.limb(arch, 0.03, paint.shade)
    sketch.limb([(x, y - 0.055) for x, y in top], 0.02, paint.shade)
    for x in (-0.47, 0, 0.47):
        sketch.rectangle(
            x - 0.045, deck(x) - 0.02, x + 0.045, deck(x) + 0.09, paint.body
        )


def tent(sketch: Sketch, paint: Paint, dice: Dice) -> None:
    lean = dice.between(-0.05, 0.05)
    sketch.limb([(lean, 0.68), (lean - 0.04, 0.77)], 0.025, ROOF)
    sketch.limb([(lean, 0.68), (lean + 0.04, 0.77)], 0.025, ROOF)
    sketch.polygon([(-0.52, 0), (lean, 0.7), (0.52, 0)], paint.body)
    sketch.polygon([(lean, 0.7), (0.52, 0), (0.33, 0)], paint.shade)
    sketch.polygon([(-0.2, 0), (lean, 0.5), (0.16, 0)], (44, 40, 52))
    sketch.polygon([(0.16, 0), (lean, 0.5), (0.13, 0.2), (0.24, 0.03)], paint.mark)
