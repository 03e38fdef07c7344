"""Draw a thing in its own units."""

from collections.abc import Callable, Sequence

from .canvas import Canvas, Color, Point


class Sketch:
    """Shapes in the units of a thing: feet at (0, 0), y upwards, about 1 high.

    `finish` draws the outlines of all shapes before the shapes, so that only the thing
    as a whole has an outline.
    """

    def __init__(self, canvas: Canvas, x: float, y: float, unit: float, flip: int):
        self._canvas = canvas
        self._x = x
        self._y = y
        self._unit = unit
        self._flip = flip
        self._shapes: list[Callable[[float, Color | None], None]] = []

    def polygon(self, points: Sequence[Point], fill: Color) -> None:
        placed = [self._place(point) for point in points]

        def shape(margin: float, color: Color | None) -> None:
            if color is None:
                self._canvas.polygon(placed, fill)
                return
            joint = "curve" if len(placed) < 12 else ""
            closed = [*placed, placed[0], placed[1]]
            self._canvas.line(closed, 2 * margin, color, joint)

        self._shapes.append(shape)

    def rectangle(
        self, x0: float, y0: float, x1: float, y1: float, fill: Color
    ) -> None:
        (x0, y0), (x1, y1) = self._place((x0, y0)), self._place((x1, y1))
        x0, x1 = min(x0, x1), max(x0, x1)

        def shape(margin: float, color: Color | None) -> None:
            m = margin
            self._canvas.rectangle(x0 - m, y0 + m, x1 + m, y1 - m, color or fill)

        self._shapes.append(shape)

    def ellipse(self, x: float, y: float, rx: float, ry: float, fill: Color) -> None:
        x, y = self._place((x, y))
        rx, ry = rx * self._unit, ry * self._unit

        def shape(margin: float, color: Color | None) -> None:
            self._canvas.ellipse(x, y, rx + margin, ry + margin, color or fill)

        self._shapes.append(shape)

    def limb(self, points: Sequence[Point], width: float, fill: Color) -> None:
        """Draw a line with round ends."""
        placed = [self._place(point) for point in points]
        half = width * self._unit / 2

        def shape(margin: float, color: Color | None) -> None:
            radius = half + margin
            self._canvas.line(placed, 2 * radius, color or fill, "curve")
            for x, y in (placed[0], placed[-1]):
                self._canvas.ellipse(x, y, radius, radius, color or fill)

        self._shapes.append(shape)

    def finish(self, outline: Color, margin: float) -> None:
        for shape in self._shapes:
            shape(margin, outline)
        for shape in self._shapes:
            shape(0, None)

    def _place(self, point: Point) -> Point:
        x, y = point
        return self._x + x * self._unit * self._flip, self._y - y * self._unit
