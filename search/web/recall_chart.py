"""The curves of a dataset's calibration as a drawing, with a table of the same."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from search.clustering.curves import Curve
from search.evaluation.calibration import PICTURES, WORDS, fields_of
from search.evaluation.recall import GOOD_RECALL
from search.models import Dataset

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 12, 44  # margins
LEAST_SHARE = 1e-4  # at the left end of the axis, which is logarithmic
RECALLS = (0.8, 0.9, GOOD_RECALL, 0.98, 0.99)  # of the table
LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
NAMES = {WORDS: "by words", PICTURES: "by an image"}
SEARCHED = {"image": "Images", "text": "Captions"}


@dataclass(frozen=True)
class Tick:
    """A line across the drawing, at `place`, and its label."""

    place: float
    label: str


@dataclass(frozen=True)
class Line:
    """A curve as the path of an SVG element."""

    kind: str
    name: str
    path: str
    share: str  # of the rows, for GOOD_RECALL


@dataclass(frozen=True)
class RecallChart:
    """The curves of one field."""

    field: str
    searched: str
    rows: str
    neighbours: str  # the curves are of the recall of so many
    lines: tuple[Line, ...]
    table: tuple[tuple[str, tuple[str, ...]], ...]

    width, height, left, top = WIDTH, HEIGHT, LEFT, TOP
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    good_recall = GOOD_RECALL

    @property
    def good(self) -> float:
        """The height of the line at GOOD_RECALL."""
        return _y(GOOD_RECALL)

    @property
    def shares(self) -> list[Tick]:
        decades = range(round(math.log10(LEAST_SHARE)), 1)
        return [Tick(_x(10.0**each), f"{100 * 10.0**each:g}%") for each in decades]

    @property
    def levels(self) -> list[Tick]:
        return [Tick(_y(level), f"{level:g}") for level in LEVELS]


def recall_charts(dataset: Dataset) -> list[RecallChart]:
    """Return a chart for each field that is calibrated."""
    if dataset.index != Dataset.Index.CLUSTERS:
        return []
    charts = []
    for field in fields_of(dataset):
        curves = {
            kind: curve for kind in NAMES if (curve := dataset.curve(field, kind))
        }
        if curves:
            charts.append(_chart(dataset, field, curves))
    return charts


def _chart(dataset: Dataset, field: str, curves: Mapping[str, Curve]) -> RecallChart:
    rows = dataset.calibration[field]["rows"]
    neighbours = max(min(curve.recalls) for curve in curves.values())
    return RecallChart(
        field=field,
        searched=SEARCHED[field],
        rows=f"{rows:,}",
        neighbours=f"{neighbours:,}",
        lines=tuple(
            Line(kind, NAMES[kind], _path(curve), _percent(curve, GOOD_RECALL))
            for kind, curve in curves.items()
        ),
        table=tuple(
            (f"{recall:g}", tuple(_percent(each, recall) for each in curves.values()))
            for recall in RECALLS
        ),
    )


def _percent(curve: Curve, recall: float) -> str:
    return percent(curve.share_for(recall, min(curve.recalls)))


def percent(share: float | None) -> str:
    if share is None:
        return ""
    return f"{share:.2%}" if share < 0.1 else f"{share:.0%}"


def _path(curve: Curve) -> str:
    recalls = curve.recalls[min(curve.recalls)]
    points = (
        f"{_x(share):.1f} {_y(recall):.1f}"
        for share, recall in zip(curve.shares, recalls, strict=True)
        if share >= LEAST_SHARE
    )
    return f"M{'L'.join(points)}"


def _x(share: float) -> float:
    part = 1 - math.log(share) / math.log(LEAST_SHARE)
    return round(LEFT + part * (WIDTH - LEFT - RIGHT), 1)


def _y(recall: float) -> float:
    return round(HEIGHT - BOTTOM - recall * (HEIGHT - TOP - BOTTOM), 1)
