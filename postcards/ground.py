"""Draw the ground: its color, its light and its waves."""

import math

from .canvas import HEIGHT, WIDTH, Color, Stage, jitter
from .scene import Dice

# The ground from far to near.
GROUNDS: dict[str, tuple[Color, Color]] = {
    "meadow": ((150, 206, 92), (96, 172, 66)),
    "desert": ((240, 196, 118), (222, 158, 84)),
    "forest": ((66, 116, 66), (42, 88, 50)),
    "city": ((156, 158, 164), (128, 130, 138)),
    "beach": ((255, 243, 208), (246, 226, 174)),
    "snow": ((240, 246, 252), (252, 253, 255)),
}
# How much the light colors the ground, if less than fully: snow must stay white and
# sand bright, to differ from other grounds.
GROUND_LIGHT = {"snow": 0.5, "beach": 0.6}


def draw_ground(stage: Stage) -> None:
    dice = stage.dice("ground")
    far, near = (jitter(color, dice, 5) for color in GROUNDS[stage.scene.land])
    far, near = ground_lit(stage, far), ground_lit(stage, near)
    stage.canvas.gradient(stage.ground, HEIGHT, (far, near))
    if stage.has_sea:
        foam = stage.lit((250, 252, 255), 0.4)
        hill(stage, dice, stage.ground - 1.5, 2, foam, stage.ground + 4)
        hill(stage, dice, stage.ground + 1, 1.5, far, stage.ground + 8)


def ground_lit(stage: Stage, color: Color) -> Color:
    return stage.lit(color, GROUND_LIGHT.get(stage.scene.land, 1.0))


def hill(
    stage: Stage, dice: Dice, y: float, swing: float, color: Color, bottom: float
) -> None:
    """Draw a wavy band over the full width, from about y down to the bottom."""
    first, second = dice.between(0, 6.3), dice.between(0, 6.3)
    edge = []
    for step in range(33):
        t = step / 32
        wave = math.sin(first + 7.5 * t) + 0.6 * math.sin(second + 13 * t)
        edge.append((t * WIDTH, y - swing * wave * 0.7))
    stage.canvas.polygon([*edge, (WIDTH, bottom), (0, bottom)], color)
