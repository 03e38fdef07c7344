"""Draw what is on the horizon: mountains, and the far part of a land."""

from collections.abc import Callable

from .canvas import WIDTH, Color, Stage, jitter, mix
from .ground import GROUNDS, ground_lit, hill
from .scene import Dice

WINDOW_LIGHT: Color = (255, 222, 120)
# The lower edge of the snow on a mountain, from right to left.
SNOW_EDGE = ((1, 1), (0.5, 0.78), (0.2, 1.05), (-0.2, 0.8), (-0.55, 1.1), (-1, 1))


def draw_mountains(stage: Stage) -> None:
    dice = stage.dice("mountains")
    rock = stage.lit(jitter((116, 128, 156), dice, 6), 0.7)
    snow = stage.lit((246, 249, 253), 0.5)
    peaks = 5
    for slot in dice.shuffled(range(peaks)):
        x = (slot + dice.between(0.25, 0.75)) * WIDTH / peaks
        height = dice.between(50, 82)
        _peak(stage, dice, x, height, height * dice.between(0.8, 1.0), rock, snow)


def _peak(
    stage: Stage,
    dice: Dice,
    x: float,
    height: float,
    half: float,
    rock: Color,
    snow: Color,
) -> None:
    base = stage.horizon + 2
    top = base - height
    canvas = stage.canvas
    canvas.polygon([(x - half, base), (x, top), (x + half, base)], rock)
    shadow = [(x, top), (x + half, base), (x + half * 0.15, base)]
    canvas.polygon(shadow, mix(rock, (30, 36, 70), 0.25))
    cap = dice.between(0.34, 0.42)
    cut = [
        (x + half * cap * across, top + height * cap * down)
        for across, down in SNOW_EDGE
    ]
    canvas.polygon([(x, top), *cut], snow)


def far_forest(stage: Stage) -> None:
    dice = stage.dice("far forest")
    for row, (count, height) in enumerate(((26, 34), (22, 27))):
        green = stage.lit(mix((30, 82, 62), (20, 62, 40), row))
        for i in range(count):
            x = (i + dice.between(0.2, 0.8)) * WIDTH / count
            tall = height * dice.between(0.75, 1.2)
            base = stage.horizon + 2 + row * 2
            half = tall * 0.3
            stage.canvas.polygon(
                [(x - half, base), (x, base - tall), (x + half, base)], green
            )


def far_city(stage: Stage) -> None:
    dice = stage.dice("far city")
    x = -4.0
    while x < WIDTH:
        width, height = dice.between(20, 34), dice.between(22, 58)
        grey = stage.lit(jitter((118, 128, 148), dice, 14), 0.8)
        top = stage.horizon + 2 - height
        stage.canvas.rectangle(x, top, x + width, stage.horizon + 2, grey)
        _windows(stage, dice, x, top, width, height)
        x += width + dice.between(-1, 4)


def _windows(
    stage: Stage, dice: Dice, x: float, top: float, width: float, height: float
) -> None:
    columns = 3 if width > 25 else 2
    step = width / columns
    dark = stage.lit((74, 84, 108))
    for row in range(int(height / 11)):
        for column in range(columns):
            left, y = x + (column + 0.28) * step, top + 4 + row * 11
            fill = WINDOW_LIGHT if dice.chance(0.65) else dark
            stage.canvas.rectangle(left, y, left + step * 0.5, y + 5.5, fill)


def far_hills(stage: Stage) -> None:
    if stage.has_sea:
        return
    dice = stage.dice("far hills")
    far, near = GROUNDS[stage.scene.land]
    color = ground_lit(stage, mix(far, mix(near, (90, 110, 160), 0.4), 0.45))
    hill(stage, dice, stage.horizon - 5, dice.between(4, 9), color, stage.horizon + 4)


FAR: dict[str, Callable[[Stage], None]] = {
    "meadow": far_hills,
    "desert": far_hills,
    "forest": far_forest,
    "city": far_city,
    "snow": far_hills,
}
