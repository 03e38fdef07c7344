"""Draw plants: the tree, which is a thing, and those of the lands."""

from .canvas import Color, Stage, arc_points, mix
from .paint import Paint
from .scene import Dice
from .sketch import Sketch


def tree(sketch: Sketch, paint: Paint, dice: Dice) -> None:
    sketch.polygon(
        [(-0.11, 0), (-0.06, 0.16), (-0.06, 0.5), (0.06, 0.5), (0.06, 0.16), (0.11, 0)],
        (88, 62, 46),
    )
    turn = dice.between(0, 60)
    for x, y in arc_points(0, 0.64, 0.22, 0.19, turn, turn + 300, 5):
        sketch.ellipse(x, y, 0.18, 0.17, paint.body)
    sketch.ellipse(0, 0.64, 0.29, 0.27, paint.body)
    for _ in range(4):
        x, y = dice.between(-0.22, 0.16), dice.between(0.5, 0.78)
        sketch.limb(arc_points(x, y, 0.06, 0.05, 200, 340, 5), 0.025, paint.shade)


# On the lands.


def cactus(stage: Stage, x: float, y: float, size: float) -> None:
    green = stage.lit((58, 104, 66))
    canvas = stage.canvas
    width = size * 0.24
    canvas.ellipse(x, y, size * 0.3, size * 0.07, (60, 40, 40, 60))
    canvas.line([(x, y), (x, y - size)], width, green)
    canvas.ellipse(x, y - size, width / 2, width / 2, green)
    for side, low in ((-1, 0.35), (1, 0.5)):
        elbow = x + side * size * 0.3
        arm = [(x, y - size * low), (elbow, y - size * low)]
        arm.append((elbow, y - size * (low + 0.32)))
        canvas.line(arm, width * 0.75, green, "curve")


def conifer(
    stage: Stage, x: float, y: float, height: float, green: Color, snow: bool = False
) -> None:
    canvas = stage.canvas
    trunk = stage.lit((62, 46, 40))
    canvas.rectangle(x - height * 0.05, y - height * 0.2, x + height * 0.05, y, trunk)
    for layer in range(3):
        half = height * (0.3 - 0.06 * layer)
        base = y - height * (0.14 + 0.24 * layer)
        top = base - height * 0.4
        color = stage.lit(mix(green, (70, 120, 84), 0.14 * layer))
        canvas.polygon([(x - half, base), (x, top), (x + half, base)], color)
        if snow:
            left, right = x - half * 0.75, x + half * 0.75
            cap = [(left, base - height * 0.1), (x, top)]
            cap += [(right, base - height * 0.1), (x, base - height * 0.16)]
            canvas.polygon(cap, stage.lit((252, 253, 255), 0.7))


def palm(stage: Stage, x: float, y: float, height: float, side: int) -> None:
    canvas = stage.canvas
    trunk = [(x - side * 14 * t * t, y - height * t) for t in (0, 0.25, 0.5, 0.75, 1)]
    canvas.line(trunk, 4.5, stage.lit((150, 116, 80)), "curve")
    top_x, top_y = trunk[-1]
    leaf = stage.lit((56, 124, 78))
    leaves = ((-26, 10), (-20, -6), (-6, -14), (10, -13), (22, -4), (25, 12))
    for reach, drop in leaves:
        middle = (top_x + reach * 0.6, top_y - 9 + drop * 0.35)
        tip = (top_x + reach, top_y + drop)
        under = (top_x + reach * 0.5, top_y - 1 + drop * 0.4)
        canvas.polygon([(top_x, top_y), middle, tip, under], leaf)
