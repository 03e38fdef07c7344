"""How similar the candidates of a search are, as a small histogram with a cutoff."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

BARS = 40
HEIGHT = 48  # of the highest, in the units of the drawing
WIDTH = 5  # of each
DECIMALS = 4  # of a cutoff in an address


class Bar(NamedTuple):
    """Where it stands in the drawing, and whether what it counts is cut off."""

    x: int
    y: float
    height: float
    is_below: bool


@dataclass(frozen=True)
class Histogram:
    """The similarities of `total` candidates; `above` of them reach the cutoff.

    `edges` are where a cutoff can be set, from the lowest on; as many as `reaching`,
    which says how many candidates there are from each edge on.
    """

    bars: tuple[Bar, ...]
    edges: tuple[float, ...]
    reaching: tuple[int, ...]
    total: int
    above: int
    cutoff: float | None
    place: int  # the edge that the cutoff is nearest to
    width: ClassVar[int] = BARS * WIDTH
    height: ClassVar[int] = HEIGHT
    bar_width: ClassVar[int] = WIDTH - 1  # a gap to the next


def similarity_histogram(
    similarities: ArrayLike, cutoff: float | None
) -> Histogram | None:
    """None where there is nothing to choose between."""
    found = np.asarray(similarities, np.float64)
    if len(found) < 2 or found.max() - found.min() < 10**-DECIMALS * BARS:
        return None
    edges = np.linspace(found.min(), found.max(), BARS + 1).round(DECIMALS)
    edges[0] -= 10**-DECIMALS  # rounded up, it would leave out the last of them
    counts, _ = np.histogram(found, np.append(edges[:-1], np.inf))
    reaching = [int(np.count_nonzero(found >= edge)) for edge in edges[:-1]]
    place = 0 if cutoff is None else int(np.abs(edges[:-1] - cutoff).argmin())
    above = len(found) if cutoff is None else int(np.count_nonzero(found >= cutoff))
    # By the root, few are still seen beside many.
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
