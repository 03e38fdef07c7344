"""Draw the sea, rivers and lakes."""

import math

from .canvas import HEIGHT, SEA_DEPTH, WIDTH, Stage, mix


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
