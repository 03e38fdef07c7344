"""Draw animals and people: cat, dog, horse, bird and person."""

from .canvas import Color, arc_points
from .paint import DARK, Paint
from .scene import Dice
from .sketch import Sketch

SKIN: Color = (236, 192, 156)


def cat(sketch: Sketch, paint: Paint, _dice: Dice) -> None:
    tail = [(0.12, 0.06), (0.32, 0.07), (0.42, 0.2), (0.38, 0.36), (0.3, 0.42)]
    sketch.limb([*tail, (0.34, 0.52)], 0.09, paint.body)
    sketch.ellipse(0, 0.22, 0.25, 0.22, paint.body)
    sketch.polygon([(-0.23, 0.2), (-0.13, 0.6), (0.13, 0.6), (0.23, 0.2)], paint.body)
    for side in (-1, 1):
        ear = [(side * 0.245, 0.68), (side * 0.23, 1.0), (side * 0.03, 0.84)]
        sketch.polygon(ear, paint.body)
        inner = [(side * 0.2, 0.76), (side * 0.2, 0.91), (side * 0.1, 0.83)]
        sketch.polygon(inner, paint.shade)
    sketch.ellipse(0, 0.68, 0.26, 0.2, paint.body)
    for side in (-1, 1):
        sketch.limb([(side * 0.07, 0.05), (side * 0.07, 0.3)], 0.018, paint.shade)
        sketch.ellipse(side * 0.1, 0.04, 0.09, 0.045, paint.body)
        sketch.ellipse(side * 0.1, 0.71, 0.04, 0.05, paint.mark)
    sketch.polygon([(-0.035, 0.63), (0.035, 0.63), (0, 0.59)], paint.mark)
    for side in (-1, 1):
        for y in (0.6, 0.65):
            sketch.limb([(side * 0.1, 0.62), (side * 0.24, y)], 0.012, paint.mark)


def dog(sketch: Sketch, paint: Paint, dice: Dice) -> None:
    lift = dice.between(0.72, 0.82)
    sketch.limb([(-0.34, 0.5), (-0.45, 0.62), (-0.46, lift)], 0.08, paint.body)
    for x in (-0.24, 0.2):
        sketch.limb([(x + 0.07, 0.3), (x + 0.07, 0.05)], 0.1, paint.shade)
    for x in (-0.32, 0.12):
        sketch.limb([(x, 0.32), (x, 0.05)], 0.11, paint.body)
        sketch.ellipse(x + 0.03, 0.045, 0.08, 0.045, paint.body)
    sketch.limb([(-0.25, 0.42), (0.13, 0.42)], 0.29, paint.body)
    sketch.polygon([(0.02, 0.5), (0.16, 0.8), (0.36, 0.66), (0.27, 0.4)], paint.body)
    sketch.limb([(0.06, 0.57), (0.29, 0.5)], 0.05, paint.mark)
    sketch.ellipse(0.24, 0.73, 0.17, 0.15, paint.body)
    sketch.limb([(0.32, 0.68), (0.46, 0.66)], 0.14, paint.body)
    sketch.ellipse(0.52, 0.7, 0.04, 0.035, DARK)
    sketch.ellipse(0.3, 0.78, 0.03, 0.035, paint.mark)
    sketch.polygon(
        [(0.06, 0.83), (0.17, 0.85), (0.19, 0.66), (0.13, 0.53), (0.05, 0.6)],
        paint.shade,
    )


def horse(sketch: Sketch, paint: Paint, dice: Dice) -> None:
    sketch.limb([(-0.33, 0.6), (-0.44, 0.5), (-0.45, 0.26)], 0.09, paint.shade)
    step = dice.between(0.0, 0.07)
    for x in (-0.2, 0.2):
        sketch.limb([(x, 0.45), (x + step, 0.24), (x + step, 0.03)], 0.07, paint.shade)
    for x in (-0.28, 0.14):
        sketch.limb([(x, 0.45), (x, 0.24), (x - step, 0.03)], 0.08, paint.body)
    sketch.limb([(-0.22, 0.55), (0.12, 0.54)], 0.27, paint.body)
    sketch.polygon([(-0.02, 0.62), (0.2, 0.97), (0.36, 0.9), (0.25, 0.46)], paint.body)
    sketch.polygon(
        [(0.2, 0.99), (0.31, 0.99), (0.52, 0.76), (0.49, 0.69), (0.42, 0.69)]
        + [(0.27, 0.8)],
        paint.body,
    )
    sketch.polygon([(0.2, 0.96), (0.21, 1.07), (0.28, 0.98)], paint.body)
    sketch.limb(
        [(0.24, 0.98), (0.14, 0.9), (0.04, 0.74), (-0.02, 0.62)], 0.08, paint.shade
    )
    sketch.ellipse(0.3, 0.9, 0.022, 0.025, paint.mark)
    sketch.ellipse(0.47, 0.745, 0.015, 0.015, paint.mark)


def bird(sketch: Sketch, paint: Paint, dice: Dice) -> None:
    lift = dice.between(-0.03, 0.05)
    far_wing = [(0.1, 0.32), (0.2, 0.52), (0.42, 0.66 + lift), (0.3, 0.45), (0.2, 0.3)]
    sketch.polygon(far_wing, paint.shade)
    sketch.polygon(
        [(-0.2, 0.32), (-0.5, 0.34), (-0.44, 0.24), (-0.5, 0.15)], paint.body
    )
    sketch.polygon([(0.4, 0.34), (0.54, 0.29), (0.4, 0.26)], (255, 168, 30))
    sketch.ellipse(0, 0.26, 0.28, 0.13, paint.body)
    sketch.ellipse(0.3, 0.31, 0.13, 0.115, paint.body)
    front = [(0.16, 0.3), (0.06, 0.54), (-0.16, 0.7 + lift), (-0.46, 0.74 + lift)]
    back = [(-0.38, 0.6), (-0.3, 0.56), (-0.26, 0.46), (-0.16, 0.4), (-0.12, 0.26)]
    sketch.polygon(front + back, paint.body)
    sketch.limb([(0.14, 0.29), (0.0, 0.21), (-0.12, 0.26)], 0.025, paint.shade)
    sketch.limb([(-0.12, 0.44), (-0.26, 0.62)], 0.022, paint.shade)
    sketch.limb([(-0.02, 0.42), (-0.12, 0.6)], 0.022, paint.shade)
    sketch.ellipse(0.34, 0.34, 0.025, 0.028, paint.mark)


def person(sketch: Sketch, paint: Paint, dice: Dice) -> None:
    hair = dice.pick(((64, 48, 42), (96, 70, 52), (52, 52, 60)))
    wave = dice.chance(0.5)
    for side in (-1, 1):
        sketch.limb([(side * 0.08, 0.34), (side * 0.1, 0.05)], 0.12, paint.shade)
        sketch.ellipse(side * 0.12, 0.03, 0.085, 0.035, DARK)
        up = wave and side == 1
        hand = (side * 0.33, 0.78) if up else (side * 0.29, 0.38)
        sketch.ellipse(*hand, 0.05, 0.05, SKIN)
        sketch.limb([(side * 0.14, 0.66), (hand[0] * 0.96, hand[1])], 0.1, paint.body)
        sketch.ellipse(hand[0], hand[1] + (0.05 if up else -0.05), 0.045, 0.045, SKIN)
    sketch.polygon(
        [(-0.2, 0.3), (-0.17, 0.68), (-0.1, 0.73), (0.1, 0.73), (0.17, 0.68)]
        + [(0.2, 0.3)],
        paint.body,
    )
    sketch.limb([(0, 0.66), (0, 0.32)], 0.016, paint.shade)
    sketch.ellipse(0, 0.87, 0.135, 0.135, hair)
    sketch.ellipse(0, 0.84, 0.12, 0.115, SKIN)
    for x in (-0.045, 0.045):
        sketch.ellipse(x, 0.85, 0.014, 0.018, DARK)
    sketch.limb(arc_points(0, 0.82, 0.045, 0.03, 200, 340, 4), 0.012, (150, 70, 70))
