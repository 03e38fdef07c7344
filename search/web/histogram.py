"""A histogram of the similarities of a search's candidates, with a cutoff."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

BARS = 40
HEIGHT = 48  # of the highest, in units of the drawing
WIDTH = 5  # of each
DECIMALS = 4  # of a cutoff in a URL


class Bar(NamedTuple):
    """A bar of the drawing; `is_below` is true if its items are below the cutoff."""

    x: int
    y: float
    height: float
    is_below: bool


@dataclass(frozen=True)
class Histogram:
    """The similarities of `total` candidates; `above` of them reach the cutoff.

    `edges` are where a cutoff can be set, ascending; `reaching` counts the candidates
    from each edge on.
    """

    bars: tuple[Bar, ...]
    edges: tuple[float, ...]
    reaching: tuple[int, ...]
    total: int
    above: int
    cutoff: float | None
    place: int  # index of the edge nearest to the cutoff
    width: ClassVar[int] = BARS * WIDTH
    height: ClassVar[int] = HEIGHT
    bar_width: ClassVar[int] = WIDTH - 1  # a gap to the next


def similarity_histogram(
    similarities: ArrayLike, cutoff: float | None
) -> Histogram | None:
    """Return the histogram, or None where there is nothing to choose between."""
    found = np.asarray(similarities, np.float64)
    if len(found) < 2 or found.max() - found.min() < 10**-DECIMALS * BARS:
        return None
    edges = np.linspace(found.min(), found.max(), BARS + 1).round(DECIMALS)
    edges[0] -= 10**-DECIMALS  # rounded up, it would leave out the last of them
    counts, _ = np.histogram(found, np.append(edges[:-1], np.inf))
    reaching = [int(np.count_nonzero(found >= edge)) for edge in edges[:-1]]
    place = 0 if cutoff is None else int(np.abs(edges[:-1] - cutoff).argmin())
    above = len(found) if cutoff is None else int(np.count_nonzero(found >= cutoff))
    # Square roots, so that small counts can be seen next to large ones.
    heights = HEIGHT * np.sqrt(counts / counts.max())
    bars = (
        Bar(WIDTH * at, round(HEIGHT - height, 1), round(float(height), 1), at < place)
        for at, height in enumerate(heights.tolist())
    )
    return Histogram(
        bars=tuple(bars),
        edges=tuple(edges[:-1].round(DECIMALS).tolist()),
        reaching=tuple(reaching),
        total=len(found),
        above=above,
        cutoff=cutoff,
        place=place,
    )
