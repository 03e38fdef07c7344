"""Draw what lies and grows on the ground of each land."""

from collections.abc import Callable

from .canvas import HEIGHT, WIDTH, Color, Point, Stage, arc_points, mix
from .ground import GROUNDS, ground_lit, hill
from .plants import cactus, conifer, palm
from .scene import Dice


def _waves_of_ground(stage: Stage, color: Color, swing: float) -> None:
    dice = stage.dice("hills")
    far, near = GROUNDS[stage.scene.land]
    for depth, share in ((0.22, 0.25), (0.55, 0.55)):
        y = stage.ground + (HEIGHT - stage.ground) * depth
        shade = mix(mix(far, near, share + 0.2), color, share * 0.5)
        hill(stage, dice, y, swing, ground_lit(stage, shade), HEIGHT)


def _spots(stage: Stage, dice: Dice, count: int, margin: float = 6) -> list[Point]:
    """Return places on the ground, spread evenly, far ones first."""
    depth = HEIGHT - 4 - stage.ground - margin
    rows = []
    for i in range(count):
        y = stage.ground + margin + depth * (i + dice.between(0, 1)) / count
        # Multiples of the golden ratio spread any number evenly.
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
        cactus(stage, x, y, 13 + 12 * (y - stage.ground) / (HEIGHT - stage.ground))


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
        conifer(stage, x, y, height, (26, 72, 48))
    fern = stage.lit((76, 128, 62))
    for x, y in _spots(stage, dice, 26, 20):
        fan = [(x - 4, y - 4), (x, y), (x, y - 6), (x, y), (x + 4, y - 4)]
        stage.canvas.line(fan, 1.3, fern)


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
        palm(stage, 200 + side * offset, stage.ground + 26, height, side)
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


def _parasol(stage: Stage, x: float, y: float) -> None:
    canvas = stage.canvas
    canvas.line([(x, y), (x, y - 30)], 1.6, stage.lit((150, 130, 110)))
    for i in range(5):
        fill = stage.lit(((240, 128, 120), (255, 252, 244))[i % 2], 0.6)
        slice_ = arc_points(x, y - 20, 17, 14, 180 + 36 * i, 216 + 36 * i, 4)
        canvas.polygon([(x, y - 20), *slice_], fill)


def snow(stage: Stage) -> None:
    dice = stage.dice("drifts")
    shade = ground_lit(stage, (184, 206, 238))
    white = ground_lit(stage, (250, 252, 255))
    for depth, swing in ((0.18, 4), (0.48, 7), (0.8, 7)):
        y = stage.ground + (HEIGHT - stage.ground) * depth
        drift = Dice("drift", dice.between(0, 1))
        hill(stage, drift, y, swing, shade, HEIGHT)
        hill(stage, drift, y + 3.5, swing * 0.8, white, HEIGHT)
    for x, y in _spots(stage, dice, 20, 8):
        if y < HEIGHT * 0.78:
            height = 22 + 0.22 * (y - stage.ground)
            conifer(stage, x, y, height, (50, 92, 84), snow=True)


LANDS: dict[str, Callable[[Stage], None]] = {
    "meadow": meadow,
    "desert": desert,
    "forest": forest,
    "city": city,
    "beach": beach,
    "snow": snow,
}
