"""Equal recall: the least effort of each system that finds what is asked for."""

from collections.abc import Callable, Sequence
from statistics import mean

from .data import FILTERS, Questions
from .system import System

RECALL = 0.95
TUNING_QUESTIONS = 100


def tune(system: System, questions: Questions, recall: float = RECALL) -> None:
    """Set the efforts of a system by questions that are not measured later."""
    if not system.efforts:
        return
    system.effort = {where: system.efforts[-1] for where in FILTERS}
    for where in system.filters:

        def reached(effort: int, where: str = where) -> bool:
            system.effort[where] = effort
            return recall_of(system, questions, where) >= recall

        system.effort[where] = least(system.efforts, reached)


def recall_of(system: System, questions: Questions, where: str) -> float:
    found = []
    for number, vector in enumerate(questions.vectors):
        system.prepare(vector, where)
        ids = system.search(vector, where)
        found.append(questions.recall(number, where, ids))
    return mean(found)


def least(efforts: Sequence[int], reached: Callable[[int], bool]) -> int:
    """Return the first of ascending efforts that is enough, or else the last."""
    low, high = 0, len(efforts) - 1
    while low < high:
        middle = (low + high) // 2
        if reached(efforts[middle]):
            high = middle
        else:
            low = middle + 1
    return efforts[low]
