"""Draw the things of a scene: their kinds, sizes and places."""

from collections.abc import Callable

from .buildings import bridge, house, tent, tower, windmill
from .canvas import WIDTH, Stage
from .creatures import bird, cat, dog, horse, person
from .paint import Paint, paint_for
from .plants import tree
from .scene import PLACES, Dice, Thing
from .sketch import Sketch
from .vehicles import balloon, boat, car

KINDS: dict[str, Callable[[Sketch, Paint, Dice], None]] = {
    "house": house,
    "tree": tree,
    "boat": boat,
    "car": car,
    "balloon": balloon,
    "tower": tower,
    "tent": tent,
    "cat": cat,
    "dog": dog,
    "horse": horse,
    "bird": bird,
    "person": person,
    "windmill": windmill,
    "bridge": bridge,
}
SIZES = {"small": 62.0, "large": 127.0}
# Larger for slim and flat kinds, so that all have about the same area.
SCALES = {
    "house": 0.98,
    "tree": 1.05,
    "boat": 1.0,
    "car": 1.03,
    "balloon": 1.08,
    "tower": 1.15,
    "tent": 1.0,
    "cat": 0.98,
    "dog": 0.97,
    "horse": 1.08,
    "bird": 1.0,
    "person": 1.1,
    "windmill": 1.0,
    "bridge": 1.03,
}
# Half the width of the shadow, unless it is the default.
SHADOWS = {
    "tree": 0.3,
    "tower": 0.28,
    "windmill": 0.36,
    "person": 0.25,
    "cat": 0.32,
    "car": 0.52,
    "house": 0.52,
    "tent": 0.56,
    "bridge": 0.56,
}


def draw_things(stage: Stage) -> None:
    placed = []
    for thing in stage.scene.things:
        dice = stage.dice(f"thing {thing.place}")
        # A large thing nearly fills its third of the width.
        stray = 0.01 if thing.size == "large" else 0.04
        share = (1 + 2 * PLACES.index(thing.place)) / 6 + dice.between(-stray, stray)
        x = WIDTH * share
        unit = SIZES[thing.size] * SCALES[thing.kind] * dice.between(0.96, 1.04)
        placed.append((_feet(thing, dice, unit), x, unit, thing, dice))
    # Near things cover far ones; flying things are the farthest.
    for y, x, unit, thing, dice in sorted(placed, key=lambda item: item[0]):
        _draw_thing(stage, thing, dice, x, y, unit)


def _feet(thing: Thing, dice: Dice, unit: float) -> float:
    if thing.kind == "balloon":
        return dice.between(86, 98) + unit / 2
    if thing.kind == "bird":
        return dice.between(92, 122) + unit * 0.3
    if thing.size == "large":
        return dice.between(234, 250)
    return dice.between(222, 250)


def _draw_thing(
    stage: Stage, thing: Thing, dice: Dice, x: float, y: float, unit: float
) -> None:
    flip = dice.pick((-1, 1))
    if thing.kind == "boat":
        _ripples(stage, x, y, unit)
    elif thing.kind not in ("balloon", "bird"):
        half = unit * SHADOWS.get(thing.kind, 0.45)
        stage.canvas.ellipse(x, y, half, max(3, unit * 0.05), (20, 20, 40, 80))
    sketch = Sketch(stage.canvas, x, y, unit, flip)
    paint = paint_for(stage, thing.color, dice)
    KINDS[thing.kind](sketch, paint, dice)
    sketch.finish(paint.outline, 1.5 if thing.size == "small" else 2.0)


def _ripples(stage: Stage, x: float, y: float, unit: float) -> None:
    """Draw a little water below a boat, which does not count as a lake."""
    water, foam = stage.lit((96, 164, 220), 0.4), stage.lit((240, 250, 255), 0.3)
    level = y - unit * 0.04
    stage.canvas.ellipse(x, level, unit * 0.5, unit * 0.075, water)
    for row, width in ((0.02, 0.4), (0.06, 0.25)):
        step = unit * width / 4
        wave = [
            (x + i * step, y + unit * (row - 0.02 * (i % 2)) - 2) for i in range(-4, 5)
        ]
        stage.canvas.line(wave, 1.4, foam)
