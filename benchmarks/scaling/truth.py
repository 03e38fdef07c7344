"""The exact answers of questions, kept up while rows come in."""

from dataclasses import dataclass

import numpy as np

COUNT = 10
KEPT = 32  # answers a question: more than COUNT, for those as near as the tenth
BLOCK = 20_000
SAME = 1e-6  # duplicates differ only by rounding, and any of them is right


@dataclass
class Truth:
    """The nearest rows of each question among all rows so far, best first."""

    questions: np.ndarray  # (questions, dimension), float32
    ids: np.ndarray  # (questions, KEPT), uint64
    similarities: np.ndarray  # the same shape, float32, -2 where there is no row yet

    @classmethod
    def without_rows(cls, questions: np.ndarray) -> "Truth":
        shape = len(questions), KEPT
        return cls(questions, np.zeros(shape, np.uint64), np.full(shape, -2, "f4"))

    def add(self, vectors: np.ndarray, ids: np.ndarray) -> None:
        """Compare rows (rows, dimension) of any float type with all questions."""
        for start in range(0, len(vectors), BLOCK):
            block = np.asarray(vectors[start : start + BLOCK], np.float32)
            similar = self.questions @ block.T
            best = np.argpartition(-similar, min(KEPT, len(block)) - 1)[:, :KEPT]
            found = np.hstack(
                [self.similarities, np.take_along_axis(similar, best, axis=1)]
            )
            known = np.hstack([self.ids, ids[start : start + BLOCK][best]])
            order = np.argsort(-found, axis=1, kind="stable")[:, :KEPT]
            self.similarities = np.take_along_axis(found, order, axis=1)
            self.ids = np.take_along_axis(known, order, axis=1)

    def recall(self, question: int, found: list[int]) -> float:
        """Return the share of the nearest COUNT that was found; ties count."""
        similar = self.similarities[question]
        there = min(COUNT, int((similar > -2).sum()))
        right = self.ids[question][similar >= similar[there - 1] - SAME]
        return min(int(np.isin(right, np.array(found, np.uint64)).sum()), there) / there
