"""Everything between the sky and the things: lands, mountains and waters."""

import math
from collections.abc import Callable

from .canvas import (
    HEIGHT,
    SEA_DEPTH,
    WIDTH,
    Color,
    Point,
    Stage,
    arc_points,
    jittered,
    mix,
)
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
# How much the light of the time colors the ground, where that is less than fully:
# snow must stay white and sand bright to be told from other grounds.
GROUND_LIGHT = {"snow": 0.5, "beach": 0.6}
WINDOW_LIGHT: Color = (255, 222, 120)


# Behind the sea: what stands on the horizon.


def draw_mountains(stage: Stage) -> None:
    dice = stage.dice("mountains")
    rock = stage.lit(jittered((116, 128, 156), dice, 6), 0.7)
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
    cut = [(x + half * cap * s, top + height * cap * d) for s, d in _CAP_EDGE]
    canvas.polygon([(x, top), *cut], snow)


_CAP_EDGE = ((1, 1), (0.5, 0.78), (0.2, 1.05), (-0.2, 0.8), (-0.55, 1.1), (-1, 1))


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
        grey = stage.lit(jittered((118, 128, 148), dice, 14), 0.8)
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
    color = _ground_lit(stage, mix(far, mix(near, (90, 110, 160), 0.4), 0.45))
    _hill(stage, dice, stage.horizon - 5, dice.between(4, 9), color, stage.horizon + 4)


FAR: dict[str, Callable[[Stage], None]] = {
    "meadow": far_hills,
    "desert": far_hills,
    "forest": far_forest,
    "city": far_city,
    "snow": far_hills,
}


# The sea.


def draw_sea(stage: Stage) -> None:
    dice = stage.dice("sea")
    top, bottom = stage.horizon, stage.horizon + SEA_DEPTH
    deep = stage.lit((18, 84, 168), 0.45)
    stage.canvas.gradient(top, bottom + 4, (deep, mix(deep, (60, 150, 215), 0.35)))
    foam = mix(deep, (235, 246, 255), 0.72)
    for row in range(3):
        for i in range(7):
            x = (i + dice.between(0, 0.8)) * WIDTH / 7
            y = top + 6 + row * 8
            wave = [(x + step * 6, y - 2 * (step % 2)) for step in range(5)]
            stage.canvas.line(wave, 1.3, foam)


# The ground of each land.


def draw_ground(stage: Stage) -> None:
    dice = stage.dice("ground")
    far, near = (jittered(color, dice, 5) for color in GROUNDS[stage.scene.land])
    far, near = _ground_lit(stage, far), _ground_lit(stage, near)
    stage.canvas.gradient(stage.ground, HEIGHT, (far, near))
    if stage.has_sea:
        foam = stage.lit((250, 252, 255), 0.4)
        _hill(stage, dice, stage.ground - 1.5, 2, foam, stage.ground + 4)
        _hill(stage, dice, stage.ground + 1, 1.5, far, stage.ground + 8)
    LANDS[stage.scene.land](stage)


def _ground_lit(stage: Stage, color: Color) -> Color:
    return stage.lit(color, GROUND_LIGHT.get(stage.scene.land, 1.0))


def _hill(
    stage: Stage, dice: Dice, y: float, swing: float, color: Color, bottom: float
) -> None:
    """A wavy band over the full width, from about y down to the bottom."""
    first, second = dice.between(0, 6.3), dice.between(0, 6.3)
    edge = []
    for step in range(33):
        t = step / 32
        wave = math.sin(first + 7.5 * t) + 0.6 * math.sin(second + 13 * t)
        edge.append((t * WIDTH, y - swing * wave * 0.7))
    stage.canvas.polygon([*edge, (WIDTH, bottom), (0, bottom)], color)


def _waves_of_ground(stage: Stage, color: Color, swing: float) -> None:
    dice = stage.dice("hills")
    far, near = GROUNDS[stage.scene.land]
    for depth, share in ((0.22, 0.25), (0.55, 0.55)):
        y = stage.ground + (HEIGHT - stage.ground) * depth
        shade = mix(mix(far, near, share + 0.2), color, share * 0.5)
        _hill(stage, dice, y, swing, _ground_lit(stage, shade), HEIGHT)


def _spots(stage: Stage, dice: Dice, count: int, margin: float = 6) -> list[Point]:
    """Places on the ground, spread evenly, far ones first."""
    depth = HEIGHT - 4 - stage.ground - margin
    rows = []
    for i in range(count):
        y = stage.ground + margin + depth * (i + dice.between(0, 1)) / count
        # The golden ratio spreads any number of them over the width.
        x = (i * 0.618 + dice.between(0, 0.25)) % 1 * WIDTH
        rows.append((x, y))
    return rows


def meadow(stage: Stage) -> None:
    _waves_of_ground(stage, (70, 150, 50), 6)
    dice = stage.dice("flowers")
    blade = stage.lit((48, 124, 44))
    petals = [(255, 255, 255), (255, 232, 110), (250, 180, 215), (214, 190, 255)]
    for i, (x, y) in enumerate(_spots(stage, dice, 54)):
        size = 0.6 + 0.9 * (y - stage.ground) / (HEIGHT - stage.ground)
        if i % 2:
            for lean in (-2.5, 0, 2.5):
                tip = (x + lean * size, y - 6 * size)
                stage.canvas.line([(x + lean * 0.3, y), tip], 1.2 * size, blade)
        else:
            petal = stage.lit(dice.pick(petals), 0.5)
            stage.canvas.ellipse(x, y, 2.2 * size, 1.9 * size, petal)
            stage.canvas.ellipse(x, y, 0.8 * size, 0.7 * size, (240, 170, 40))


def desert(stage: Stage) -> None:
    _waves_of_ground(stage, (206, 132, 62), 9)
    dice = stage.dice("desert")
    ripple = stage.lit((198, 132, 66))
    for x, y in _spots(stage, dice, 16, 14):
        stage.canvas.line(arc_points(x, y, 14, 4, 200, 340, 6), 1.2, ripple)
    for x, y in _spots(stage, dice, 8, 10):
        _cactus(stage, x, y, 13 + 12 * (y - stage.ground) / (HEIGHT - stage.ground))


def _cactus(stage: Stage, x: float, y: float, size: float) -> None:
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


def forest(stage: Stage) -> None:
    _waves_of_ground(stage, (28, 70, 44), 4)
    dice = stage.dice("forest")
    trees = []
    for i in range(18):
        side = -1 if i % 2 else 1
        y = stage.ground + 8 + 60 * i / 18 + dice.between(0, 6)
        edge = WIDTH / 2 + side * dice.between(100 + 4 * i, 202)
        trees.append((edge, y))
    for x, y in trees:
        height = 26 + 34 * (y - stage.ground) / 70
        _conifer(stage, x, y, height, (26, 72, 48))
    fern = stage.lit((76, 128, 62))
    for x, y in _spots(stage, dice, 26, 20):
        fan = [(x - 4, y - 4), (x, y), (x, y - 6), (x, y), (x + 4, y - 4)]
        stage.canvas.line(fan, 1.3, fern)


def _conifer(
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


def city(stage: Stage) -> None:
    canvas = stage.canvas
    curb = stage.lit((196, 198, 204))
    seam = stage.lit((118, 120, 128))
    for x in range(-200, 640, 48):
        start = (200 + (x - 200) * 0.45, stage.ground)
        canvas.line([start, (x, HEIGHT)], 1, seam)
    canvas.line([(0, stage.ground + 22), (WIDTH, stage.ground + 22)], 1, seam)
    top = 262 + stage.dice("city").between(-3, 3)
    canvas.rectangle(0, top - 3, WIDTH, top + 31, curb)
    canvas.rectangle(0, top, WIDTH, top + 28, stage.lit((74, 76, 86)))
    for i in range(9):
        x = i * 48 - 8
        canvas.rectangle(x, top + 12, x + 24, top + 15, stage.lit((250, 250, 240), 0.5))


def beach(stage: Stage) -> None:
    dice = stage.dice("beach")
    dimple = stage.lit((226, 200, 146))
    for x, y in _spots(stage, dice, 26):
        stage.canvas.ellipse(x, y, 5, 1.1, dimple)
    for i, (x, y) in enumerate(_spots(stage, dice, 14, 40)):
        (_starfish if i % 2 else _shell)(stage, x, y)
    side = dice.pick((-1, 1))
    for offset, height in ((186, 82), (158, 66)):
        _palm(stage, 200 + side * offset, stage.ground + 26, height, side)
    for offset in (110, 176):
        x = 200 - side * (offset + dice.between(-8, 8))
        _parasol(stage, x, stage.ground + dice.between(26, 32))


def _starfish(stage: Stage, x: float, y: float) -> None:
    tips = arc_points(x, y, 5, 4, -90, 270, 5)
    dents = arc_points(x, y, 2, 1.6, -54, 306, 5)
    points = [point for pair in zip(tips, dents, strict=True) for point in pair][:10]
    stage.canvas.polygon(points, stage.lit((232, 140, 110)))


def _shell(stage: Stage, x: float, y: float) -> None:
    fan = arc_points(x, y, 4.5, 4.5, 200, 340, 6)
    stage.canvas.polygon([(x, y + 3), *fan], stage.lit((246, 206, 206)))


def _palm(stage: Stage, x: float, y: float, height: float, side: int) -> None:
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


def _parasol(stage: Stage, x: float, y: float) -> None:
    canvas = stage.canvas
    canvas.line([(x, y), (x, y - 30)], 1.6, stage.lit((150, 130, 110)))
    for i in range(5):
        fill = stage.lit(((240, 128, 120), (255, 252, 244))[i % 2], 0.6)
        slice_ = arc_points(x, y - 20, 17, 14, 180 + 36 * i, 216 + 36 * i, 4)
        canvas.polygon([(x, y - 20), *slice_], fill)


def snow(stage: Stage) -> None:
    dice = stage.dice("drifts")
    shade = _ground_lit(stage, (184, 206, 238))
    white = _ground_lit(stage, (250, 252, 255))
    for depth, swing in ((0.18, 4), (0.48, 7), (0.8, 7)):
        y = stage.ground + (HEIGHT - stage.ground) * depth
        hill = Dice("drift", dice.between(0, 1))
        _hill(stage, hill, y, swing, shade, HEIGHT)
        _hill(stage, hill, y + 3.5, swing * 0.8, white, HEIGHT)
    for x, y in _spots(stage, dice, 20, 8):
        if y < HEIGHT * 0.78:
            height = 22 + 0.22 * (y - stage.ground)
            _conifer(stage, x, y, height, (50, 92, 84), snow=True)


LANDS: dict[str, Callable[[Stage], None]] = {
    "meadow": meadow,
    "desert": desert,
    "forest": forest,
    "city": city,
    "beach": beach,
    "snow": snow,
}


# Waters on the ground.


def draw_river(stage: Stage) -> None:
    dice = stage.dice("river")
    phase = dice.between(-0.3, 0.3)
    depth = HEIGHT - stage.ground + 4
    path = []
    for step in range(41):
        t = step / 40
        swing = 42 + 58 * t
        x = 206 - stage.side * (28 * t + swing * math.sin(phase + 9.2 * t**0.8))
        path.append((x, stage.ground + 1 + depth * t**1.15, 2.5 + 12 * t))
    bank = stage.lit((226, 214, 170), 0.7)
    water = stage.lit((52, 140, 236), 0.4)
    for extra, color in ((3, bank), (0, water)):
        left = [(x - 1.5 * (half + extra), y) for x, y, half in path]
        right = [(x + 1.5 * (half + extra), y) for x, y, half in reversed(path)]
        stage.canvas.polygon(left + right, color)
    foam = mix(water, (255, 255, 255), 0.6)
    for start in (12, 20, 27, 34):
        stage.canvas.line([(x, y) for x, y, _ in path[start : start + 4]], 1.4, foam)


def draw_lake(stage: Stage) -> None:
    dice = stage.dice("lake")
    x = WIDTH * (0.5 + stage.side * 0.24) + dice.between(-8, 8)
    y = HEIGHT * 0.89 + dice.between(-3, 3)
    rx, ry = dice.between(70, 78), dice.between(23, 26)
    canvas = stage.canvas
    canvas.ellipse(x, y, rx + 6, ry + 5, stage.lit((214, 190, 140), 0.7))
    canvas.ellipse(x, y, rx + 2, ry + 2, stage.lit((240, 250, 245), 0.4))
    canvas.ellipse(x, y, rx, ry, stage.lit((64, 206, 206), 0.4))
    canvas.ellipse(x, y + 2, rx * 0.8, ry * 0.7, stage.lit((120, 228, 222), 0.4))
    glint = stage.lit((236, 255, 252), 0.3)
    for dx, dy in ((-0.4, -0.2), (0.3, 0.1), (-0.1, 0.45)):
        left, level = x + dx * rx - 9, y + dy * ry
        canvas.line([(left, level), (left + 18, level)], 1.4, glint)
