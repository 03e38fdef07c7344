"""Draw vehicles: boat, car and balloon."""

from .canvas import Color, arc_points
from .paint import DARK, Paint
from .scene import Dice
from .sketch import Sketch

GLASS: Color = (190, 222, 240)


def boat(sketch: Sketch, paint: Paint, dice: Dice) -> None:
    sketch.limb([(0, 0.2), (0, 0.99)], 0.035, (110, 84, 62))
    sketch.polygon([(0.045, 0.34), (0.045, 0.97), (0.44, 0.34)], paint.body)
    sketch.polygon([(-0.045, 0.34), (-0.045, 0.84), (-0.34, 0.34)], paint.body)
    low = dice.between(0.3, 0.34)
    hull = [(-0.5, 0.27), (0.5, 0.27), (low, 0.02), (-0.36, 0.02)]
    sketch.polygon(hull, paint.body)
    sketch.polygon(
        [(-0.5, 0.27), (0.5, 0.27), (0.47, 0.22), (-0.475, 0.22)], paint.shade
    )


def car(sketch: Sketch, paint: Paint, dice: Dice) -> None:
    back = dice.pick((-0.44, -0.34))
    sketch.polygon(
        [(back, 0.28), (back + 0.1, 0.5), (0.12, 0.5), (0.28, 0.28)], paint.body
    )
    sketch.polygon(
        [(-0.5, 0.12), (-0.5, 0.27), (-0.46, 0.31), (0.3, 0.31)]
        + [(0.46, 0.27), (0.5, 0.2), (0.5, 0.12)],
        paint.body,
    )
    sketch.polygon(
        [(back + 0.08, 0.31), (back + 0.13, 0.46), (-0.09, 0.46), (-0.09, 0.31)], GLASS
    )
    sketch.polygon([(-0.05, 0.31), (-0.05, 0.46), (0.1, 0.46), (0.21, 0.31)], GLASS)
    sketch.rectangle(-0.5, 0.1, 0.5, 0.14, paint.shade)
    sketch.ellipse(0.46, 0.23, 0.03, 0.03, (255, 246, 200))
    for x in (-0.28, 0.28):
        sketch.ellipse(x, 0.11, 0.11, 0.11, (34, 34, 40))
        sketch.ellipse(x, 0.11, 0.05, 0.05, (200, 202, 210))


def balloon(sketch: Sketch, paint: Paint, dice: Dice) -> None:
    for x in (-0.08, 0.08):
        sketch.limb([(x, 0.1), (x * 1.2, 0.28)], 0.015, DARK)
    bottom = [(0.34, 0.55), (0.1, 0.24), (-0.1, 0.24), (-0.34, 0.55)]
    sketch.polygon(
        [*bottom, *arc_points(0, 0.64, 0.36, 0.36, 195, -15, 20)], paint.body
    )
    if dice.chance(0.5):
        for rx in (0.24, 0.09):
            for angle in (-1, 1):
                curve = arc_points(0, 0.64, rx * angle, 0.35, 88, -50, 8)
                sketch.limb([*curve, (0.045 * angle, 0.25)], 0.02, paint.shade)
    else:
        sketch.polygon(
            arc_points(0, 0.64, 0.13, 0.355, 90, -60, 8)
            + [(0.04, 0.245), (-0.04, 0.245)]
            + arc_points(0, 0.64, 0.13, 0.355, 240, 90, 8),
            paint.shade,
        )
    sketch.rectangle(-0.1, 0, 0.1, 0.13, (150, 108, 66))
    sketch.rectangle(-0.11, 0.11, 0.11, 0.14, (104, 72, 44))
