"""Exact answers to searches, computed with numpy over all rows of a crowd."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from search.clustering.vectors import round_to_bfloat16
from search.query.filters import Filters
from support.crowd import Crowd, unit

CLOSE = 1e-5  # two exact similarities that may change places
SAME_PICTURE = 0.94
LOOKED_FURTHER = 130  # candidates that the engine may fold beyond the last hit shown
VISIBLE, NSFW, REMOVED, BESIDE = range(4)


@dataclass(frozen=True)
class Answer:
    """`rows` are the true results; the rest belongs to them, one by one, or to all.

    `similar` holds the rows folded into each, as far as the engine may have looked.
    `left_out` are the rows that are not shown, by reason.
    """

    rows: list[int]
    similarities: np.ndarray
    similar: list[list[int]]
    left_out: dict[str, list[int]]
    all_similarities: np.ndarray
    ended: bool  # no other row is a result


def answer(
    crowd: Crowd,
    vectors: dict[str, np.ndarray],
    filters: Filters,
    limit: int,
    *,
    beside: Iterable[int] = (),
    metric: str = "cosineDistance",
) -> Answer:
    """The first `limit` results, folded greedily from the nearest candidate on."""
    similarities = all_similarities(crowd, vectors, metric)
    candidates = passing(crowd, filters)
    if filters.cutoff is not None:
        candidates = candidates & (similarities >= filters.cutoff)
    order = np.flatnonzero(candidates)
    order = order[np.argsort(-similarities[order], kind="stable")]
    reason = reasons(crowd, filters, beside)
    folding = Folding(crowd, filters.dedupe)
    left_out: dict[str, list[int]] = {"nsfw": [], "removed": [], "duplicates": []}
    further, ended = 0, True
    for row in order.tolist():
        if len(folding.kept) == limit:
            further += 1
            if further > LOOKED_FURTHER:
                ended = False
                break
        if reason[row] == VISIBLE:
            if folding.folds(row):
                left_out["duplicates"].append(row)
            elif len(folding.kept) < limit:
                folding.keep(row)
            else:
                ended = False
        elif reason[row] == NSFW:
            left_out["nsfw"].append(row)
        elif reason[row] == REMOVED:
            left_out["removed"].append(row)
    kept = folding.kept
    return Answer(
        kept, similarities[kept], folding.folded, left_out, similarities, ended
    )


class Folding:
    """Puts near-duplicates into the first of those kept that is like them."""

    def __init__(self, crowd: Crowd, dedupe: bool):
        self.dedupe = dedupe
        self.pictures = _unit_rows(crowd, "image")
        self.urls = crowd.column("url")
        self.kept: list[int] = []
        self.kept_pictures = np.empty_like(self.pictures)
        self.place_of_url: dict[str, int] = {}
        self.folded: list[list[int]] = []

    def folds(self, row: int) -> bool:
        if not self.dedupe or not self.kept:
            return False
        pictures = self.kept_pictures[: len(self.kept)]
        alike = np.flatnonzero(pictures @ self.pictures[row] >= SAME_PICTURE).tolist()
        if self.urls[row] in self.place_of_url:
            alike.append(self.place_of_url[self.urls[row]])
        if alike:
            self.folded[min(alike)].append(row)
        return bool(alike)

    def keep(self, row: int) -> None:
        if self.urls[row]:
            self.place_of_url.setdefault(self.urls[row], len(self.kept))
        self.kept_pictures[len(self.kept)] = self.pictures[row]
        self.kept.append(row)
        self.folded.append([])


def all_similarities(
    crowd: Crowd, vectors: dict[str, np.ndarray], metric: str = "cosineDistance"
) -> np.ndarray:
    """Return each row's similarity to the query; of several fields, the greatest.

    Of clusters it is that to a query which is rounded as the rows are.
    """
    parts = []
    for field, vector in vectors.items():
        mean = crowd.means.get(field, np.float32(0))
        if metric == "L2Distance":
            rows = getattr(crowd, field).astype(np.float64) - mean
            query = rounded(vector - mean) if crowd.means else vector
            parts.append(1 / (1 + np.linalg.norm(rows - query, axis=1)))
        elif crowd.means:
            query = unit(vector.astype(np.float64))
            rows = getattr(crowd, field).astype(np.float64) - mean
            parts.append(rows @ rounded(query) + mean @ query)
        else:
            parts.append(_unit_rows(crowd, field) @ unit(vector.astype(np.float64)))
    return np.max(parts, axis=0)


def rounded(query: np.ndarray) -> np.ndarray:
    return round_to_bfloat16(query.astype(np.float32)[None])[0].astype(np.float64)


@lru_cache(maxsize=4)
def _unit_rows(crowd: Crowd, field: str) -> np.ndarray:
    return unit(getattr(crowd, field).astype(np.float64))


@lru_cache(maxsize=4)
def passing(crowd: Crowd, filters: Filters) -> np.ndarray:
    """The rows that the filters of the engine let through."""
    found = np.ones(len(crowd), bool)
    for side in ("width", "height"):
        sizes = crowd.column(side)
        if (least := filters[f"min_{side}"]) is not None:
            found &= sizes >= least
        if (most := filters[f"max_{side}"]) is not None:
            found &= sizes <= most
    if filters["min_similarity"] is not None:
        found &= crowd.column("similarity") >= np.float32(filters["min_similarity"])
    if filters["license"]:
        found &= _each(
            crowd, "license", lambda name: name == filters["license"].lower()
        )
    if filters["caption"]:
        words = set(filters["caption"].lower().split())
        found &= _each(crowd, "caption", lambda text: words <= _words(text))
    if filters["site"]:
        found &= _each(crowd, "url", lambda url: _on_site(url, filters["site"].lower()))
    found.flags.writeable = False
    return found


def _each(crowd: Crowd, name: str, test) -> np.ndarray:
    values = crowd.column(name)
    return np.fromiter((test(value.lower()) for value in values), bool, len(values))


def _words(caption: str) -> set[str]:
    return set(caption.replace(",", " ").replace(".", " ").split())


def _on_site(url: str, site: str) -> bool:
    host = url.partition("//")[2].partition("/")[0].removeprefix("www.")
    site = site.removeprefix("www.")
    return host == site or host.endswith(f".{site}")


def reasons(crowd: Crowd, filters: Filters, beside: Iterable[int] = ()) -> np.ndarray:
    """Why each row is not shown."""
    found = np.full(len(crowd), VISIBLE)
    found[np.isin(crowd.ids, [*beside, *filters.exclude])] = BESIDE
    if filters.nsfw != "any":
        found[np.isin(crowd.column("nsfw"), ["NSFW", "UNSURE"])] = NSFW
    found[crowd.column("deleted") == 1] = REMOVED
    return found


def check_exact(crowd: Crowd, hits, hidden, true: Answer) -> None:
    """The hits of a first page are the true ones, with the true counts."""
    check_order(crowd, hits, true)
    check_hidden(hits, hidden, true)
    last = -np.inf if true.ended or not hits else hits[-1].similarity
    for hit, row, folded in zip(hits, true.rows, true.similar, strict=True):
        if crowd.row_of[hit.id] == row:
            nearer = true.all_similarities[folded] > last + CLOSE
            assert nearer.sum() <= hit.similar <= len(folded)


def check_order(crowd: Crowd, hits, true: Answer) -> None:
    rows = crowd.rows_of(hits)
    assert len(rows) == len(set(rows)) == len(true.rows)
    shown = np.array([hit.similarity for hit in hits])
    assert np.allclose(shown, true.all_similarities[rows], rtol=0, atol=CLOSE)
    # So each is the true one at its place, or as close as it to the query.
    assert np.allclose(shown, true.similarities, rtol=0, atol=CLOSE)


def check_hidden(hits, hidden, true: Answer) -> None:
    """Check the hidden items; those as distant as the last hit may count or not."""
    last = hits[-1].similarity if hits else np.inf
    for name, left_out in true.left_out.items():
        of_these = true.all_similarities[left_out]
        least = np.count_nonzero(of_these > last + CLOSE)
        most = np.count_nonzero(of_these >= last - CLOSE)
        if true.ended:
            most = len(left_out)
        assert least <= getattr(hidden, name) <= most, name
