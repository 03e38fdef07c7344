"""The colors of a thing in the light of its scene."""

from dataclasses import dataclass

from .canvas import Color, Stage, jitter, mix
from .scene import Dice

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


@dataclass(frozen=True)
class Paint:
    body: Color
    shade: Color  # for parts that contrast slightly with the body
    outline: Color
    mark: Color  # for details such as eyes, in contrast to the body


def paint_for(stage: Stage, color: str, dice: Dice) -> Paint:
    body = stage.lit(jitter(PALETTE[color], dice, 7), 0.12)
    light = color in LIGHT_COLORS
    if color == "black":
        shade = mix(body, (255, 255, 255), 0.2)
    else:
        shade = mix(body, (20, 10, 40), 0.16 if light else 0.26)
    outline, mark = (DARK, DARK) if light else (CREAM, CREAM)
    return Paint(body, shade, outline, mark)
