"""Draw the sky: time of day, clouds, weather, sun, moon and rainbow."""

import math

from .canvas import HEIGHT, WIDTH, Color, Point, Stage, arc_points, jitter, mix
from .scene import Dice

SKIES: dict[str, tuple[Color, ...]] = {
    "day": ((58, 140, 232), (120, 188, 246), (190, 228, 252)),
    "dawn": ((158, 146, 216), (208, 172, 224), (246, 196, 214), (222, 244, 220)),
    "sunset": ((112, 30, 108), (206, 48, 84), (246, 108, 44), (255, 186, 70)),
    "night": ((8, 12, 40), (16, 24, 66), (36, 46, 98)),
}
# How clouds take on the color of the sky around them.
CLOUD_TINTS: dict[str, tuple[Color, float]] = {
    "day": ((255, 255, 255), 0.0),
    "dawn": ((196, 170, 220), 0.25),
    "sunset": ((222, 96, 100), 0.35),
    "night": ((24, 30, 70), 0.5),
}
CLOUDY: Color = (236, 239, 245)
RAINY: Color = (120, 128, 146)
STORMY: Color = (56, 57, 72)
# Between the places of things, and of the sun and the moon.
BOLT_SPOTS = (0.05, 0.25, 0.44, 0.56, 0.75, 0.95)
RAINBOW: tuple[Color, ...] = (
    (232, 52, 58),
    (250, 146, 42),
    (252, 222, 66),
    (74, 190, 92),
    (62, 128, 232),
    (142, 76, 196),
)


def draw_sky(stage: Stage) -> None:
    dice = stage.dice("sky")
    colors = [jitter(color, dice, 6) for color in SKIES[stage.time]]
    stage.canvas.gradient(0, stage.ground + 8, colors)
    if stage.time == "night":
        _stars(stage)


def _stars(stage: Stage) -> None:
    dice = stage.dice("stars")
    for _ in range(46):
        x, y = dice.between(0, WIDTH), dice.between(2, stage.horizon - 12)
        size = dice.between(0.7, 1.7)
        stage.canvas.ellipse(x, y, size, size, (255, 250, 220))


# Clouds.


def draw_clouds(stage: Stage) -> None:
    dice = stage.dice("clouds")
    weather = stage.scene.weather
    if weather == "cloudy":
        _row(stage, dice, CLOUDY, 8 + dice.below(2), (14, 84), (24, 34))
    elif weather == "rain":
        _row(stage, dice, RAINY, 4 + dice.below(2), (14, 46), (22, 30))
    elif weather == "snow":
        _row(stage, dice, (200, 206, 222), 2 + dice.below(2), (12, 34), (16, 22))
    elif weather == "storm":
        _row(stage, dice, mix(STORMY, (0, 0, 0), 0.25), 7, (2, 8), (36, 44))
        _row(stage, dice, STORMY, 7, (10, 32), (28, 38))


def _row(
    stage: Stage,
    dice: Dice,
    color: Color,
    count: int,
    heights: tuple[float, float],
    sizes: tuple[float, float],
) -> None:
    """Draw clouds over the full width, in random order."""
    tint, share = CLOUD_TINTS[stage.time]
    color = mix(color, tint, share)
    for slot in dice.shuffled(range(count)):
        x = (slot + dice.between(0.15, 0.85)) * WIDTH / count
        _cloud(stage, dice, x, dice.between(*heights), dice.between(*sizes), color)


def _cloud(
    stage: Stage, dice: Dice, x: float, y: float, size: float, color: Color
) -> None:
    bumps = []
    for step in (-1, -0.45, 0.1, 0.6, 1.05):
        radius = size * (0.62 - 0.3 * abs(step)) * dice.between(0.85, 1.15)
        bumps.append((x + step * size * 1.05, y - radius * 0.35, radius))
    shade = mix(color, (70, 78, 110), 0.3)
    for offset, fill in ((size * 0.12, shade), (0, color)):
        for bump_x, bump_y, radius in bumps:
            stage.canvas.ellipse(bump_x, bump_y + offset, radius * 1.25, radius, fill)


# Weather in front of everything.


def draw_falling(stage: Stage) -> None:
    if stage.scene.weather == "rain":
        _rain(stage)
    elif stage.scene.weather == "snow":
        _flakes(stage)


def _rain(stage: Stage) -> None:
    dice = stage.dice("rain")
    slant = dice.pick((-1, 1)) * dice.between(0.3, 0.45)
    columns, rows = 11, 8
    for i in range(columns * rows):
        x = (i % columns + dice.between(0, 1)) * WIDTH / columns
        y = (i // columns + dice.between(0, 1)) * HEIGHT / rows - 8
        length = dice.between(13, 20)
        end = (x + slant * length, y + length)
        # The dark line makes the stroke visible on a bright background.
        beside = [(x + 1.2, y), (end[0] + 1.2, end[1])]
        stage.canvas.line(beside, 1.2, (52, 84, 150, 170))
        stage.canvas.line([(x, y), end], 1.2, (216, 234, 255))


def _flakes(stage: Stage) -> None:
    dice = stage.dice("flakes")
    columns, rows = 12, 8
    for i in range(columns * rows):
        x = (i % columns + dice.between(0, 1)) * WIDTH / columns
        y = (i // columns + dice.between(0, 1)) * HEIGHT / rows
        size = dice.between(1.8, 3.6)
        stage.canvas.ellipse(x + 0.5, y + 0.7, size + 0.5, size + 0.5, (96, 116, 170))
        stage.canvas.ellipse(x, y, size, size, (255, 255, 255))


def draw_lightning(stage: Stage) -> None:
    if stage.scene.weather != "storm":
        return
    dice = stage.dice("lightning")
    spots = dice.shuffled(BOLT_SPOTS)[: 2 + dice.below(2)]
    for spot in spots:
        _bolt(stage, dice, spot * WIDTH)


def _bolt(stage: Stage, dice: Dice, x: float) -> None:
    top, bottom = 34, stage.horizon + dice.between(-12, 6)
    lean = dice.pick((-1, 1))
    height = bottom - top
    shape = ((-2, 0), (8, 0), (3, 0.36), (11, 0.33), (-6, 1), (-1, 0.52), (-9, 0.56))
    points = [(x + lean * dx * 1.25, top + dy * height) for dx, dy in shape]
    stage.canvas.line([*points, points[0]], 3, (120, 70, 20), "curve")
    stage.canvas.polygon(points, (255, 238, 96))
    inner = [(x + lean * dx * 0.5, top + dy * height * 0.9) for dx, dy in shape]
    stage.canvas.polygon(inner, (255, 253, 214))


# Features in the sky.


def draw_rainbow(stage: Stage) -> None:
    dice = stage.dice("rainbow")
    x = WIDTH / 2 + dice.between(-10, 10)
    radius = dice.between(150, 158)
    band = 4.6
    for i, color in enumerate(RAINBOW):
        # Each band is too wide; the next one covers the rest.
        stage.canvas.arc(x, 164, radius - i * band, band + 0.4, color)


def draw_sun(stage: Stage) -> None:
    dice = stage.dice("sun")
    x = WIDTH * (0.5 + stage.side * 0.165) + dice.between(-6, 6)
    y = dice.between(52, 62)
    radius = dice.between(17, 19)
    turn = dice.between(0, 30)
    for i in range(12):
        angle = turn + i * 30
        tip = arc_points(x, y, radius * 1.75, radius * 1.75, angle, angle, 1)[0]
        base = arc_points(x, y, radius * 1.1, radius * 1.1, angle - 9, angle + 9, 1)
        stage.canvas.polygon([tip, *base], (255, 190, 24))
    stage.canvas.ellipse(x, y, radius + 1.6, radius + 1.6, (240, 150, 16))
    stage.canvas.ellipse(x, y, radius, radius, (255, 224, 48))


def draw_moon(stage: Stage) -> None:
    dice = stage.dice("moon")
    x = WIDTH * (0.5 - stage.side * 0.165) + dice.between(-6, 6)
    y = dice.between(50, 60)
    radius = dice.between(20, 22)
    for share, alpha in ((1.6, 34), (1.3, 46)):
        halo = radius * share
        stage.canvas.ellipse(x, y, halo, halo, (255, 255, 240, alpha))
    crescent = _crescent(x, y, radius, dice.between(-35, -5))
    stage.canvas.line([*crescent, crescent[0]], 2.4, (84, 92, 140))
    stage.canvas.polygon(crescent, (253, 248, 222))


def _crescent(x: float, y: float, radius: float, turn: float) -> list[Point]:
    outer = arc_points(0, 0, radius, radius, 55, 305, 28)
    # The inner edge is a circle through both tips of the outer one.
    tip_x, tip_y = outer[0]
    center = tip_x + radius * 0.05
    inner_radius = math.hypot(tip_x - center, tip_y)
    inner = arc_points(center, 0, inner_radius, inner_radius, 266, 94, 20)
    cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    return [(x + a * cos - b * sin, y + a * sin + b * cos) for a, b in outer + inner]


SKY_FEATURES = {"rainbow": draw_rainbow, "sun": draw_sun, "moon": draw_moon}
