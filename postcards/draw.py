"""Draw a scene."""

from PIL import Image

from .canvas import Canvas, Stage
from .distance import FAR, draw_mountains
from .ground import draw_ground
from .land import LANDS
from .scene import Scene
from .sky import (
    SKY_FEATURES,
    draw_clouds,
    draw_falling,
    draw_lightning,
    draw_sky,
)
from .things import draw_things
from .waters import draw_lake, draw_river, draw_sea


def draw(
    scene: Scene, variation: int = 0, width: int = 480, height: int = 360
) -> Image.Image:
    """Draw a scene; the variation changes only details that are not attributes."""
    canvas = Canvas(width, height)
    stage = Stage(scene, variation, canvas)
    draw_sky(stage)
    draw_clouds(stage)
    for name, draw_feature in SKY_FEATURES.items():
        if name in scene.features:
            draw_feature(stage)
    if "mountains" in scene.features:
        draw_mountains(stage)
    if scene.land in FAR:
        FAR[scene.land](stage)
    if stage.has_sea:
        draw_sea(stage)
    draw_ground(stage)
    LANDS[scene.land](stage)
    if "river" in scene.features:
        draw_river(stage)
    if "lake" in scene.features:
        draw_lake(stage)
    draw_lightning(stage)
    draw_things(stage)
    draw_falling(stage)
    return canvas.finished()
