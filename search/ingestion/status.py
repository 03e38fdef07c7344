"""The state of a dataset's import as a whole: in a sentence, with what can be done."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from search.encoder import catalogue
from search.errors import UnknownModel
from search.models import Dataset, Shard
from search.removals.takedowns import needs_removal_list

from .control import DROPPABLE, STARTED_FROM, STOPPABLE, UNPUBLISHED
from .progress import ImportProgress

State = Shard.State


class Phase(StrEnum):
    """The phase of an import."""

    NEW = "new"  # nothing was started
    RUNNING = "running"
    BLOCKED = "blocked"  # queued, but something is missing
    PAUSED = "paused"
    FAILED = "failed"  # some shards, and none is in progress
    PARTLY = "partly"  # some shards were never started
    DONE = "done"


class Remedy(StrEnum):
    """The remedy for an import that failed or is blocked."""

    RETRY = "retry"
    MODEL = "model"  # choose another one
    REMOVAL_LIST = "list"
    COLUMNS = "columns"
    WAIT = "wait"  # the cause is elsewhere, and it continues by itself


@dataclass(frozen=True)
class Status:
    """The phase of an import, the cause where it is stuck, and what mends it.

    `actions` are those of search.ingestion.control that would do something.
    """

    phase: Phase
    items: int
    rejected: int
    actions: tuple[str, ...]
    seconds: float | None = None  # that a complete import took
    cause: str = ""
    remedy: Remedy | None = None


def status_of(dataset: Dataset, progress: ImportProgress | None = None) -> Status:
    """Return the status of a dataset's import, from the ledger."""
    progress = progress or ImportProgress.of(dataset)
    phase = _phase(progress)
    cause, remedy = "", None
    if phase in (Phase.BLOCKED, Phase.FAILED):
        cause = progress.errors[0][0] if progress.errors else _publication(progress)
        remedy = _remedy(dataset, phase, cause)
    elif phase == Phase.NEW and needs_removal_list(dataset):
        remedy = Remedy.REMOVAL_LIST
    return Status(
        phase=phase,
        items=progress.rows_visible,
        rejected=progress.rows_rejected,
        actions=actions_for(progress),
        seconds=_seconds(progress) if phase == Phase.DONE else None,
        cause=cause,
        remedy=remedy,
    )


def actions_for(progress: ImportProgress) -> tuple[str, ...]:
    """Return the actions that apply to one of the shards at least."""
    states = {state for state, count in progress.counts.items() if count}
    possible = {
        "start": STARTED_FROM["start"],
        "pause": STOPPABLE,
        "resume": STARTED_FROM["resume"],
        "retry": STARTED_FROM["retry"],
        "cancel": UNPUBLISHED,
        "replace": STARTED_FROM["replace"],
    }
    found = [action for action, of in possible.items() if states.intersection(of)]
    if not progress.moving and "start" not in found:
        found.insert(0, "start")  # looks for shards that are new at the source
    if any(each.rows_visible and each.state in DROPPABLE for each in progress.shards):
        found.append("drop")
    return tuple(found)


def _phase(progress: ImportProgress) -> Phase:
    counts = progress.counts
    if progress.moving:
        waiting = [each for each in progress.shards if each.state == State.QUEUED]
        is_stuck = bool(waiting) and all(each.error for each in waiting)
        runs = counts[State.INGESTING] or counts[State.REMOVING]
        if is_stuck and not runs and not counts[State.ARRIVED]:
            return Phase.BLOCKED
        failing = any(each.error for each in progress.publications)
        only_arrived = counts[State.ARRIVED] and not (runs or waiting)
        return Phase.BLOCKED if failing and only_arrived else Phase.RUNNING
    if counts[State.FAILED]:
        return Phase.FAILED
    if counts[State.PAUSED]:
        return Phase.PAUSED
    if counts[State.INGESTED]:
        return Phase.PARTLY if counts[State.PENDING] else Phase.DONE
    return Phase.NEW


def _publication(progress: ImportProgress) -> str:
    return next((each.error for each in progress.publications if each.error), "")


def _remedy(dataset: Dataset, phase: Phase, cause: str) -> Remedy:
    if needs_removal_list(dataset):
        return Remedy.REMOVAL_LIST
    if _has_no_model(dataset) or (phase == Phase.BLOCKED and "model" in cause):
        return Remedy.MODEL
    if "columns" in cause or "column named" in cause:
        return Remedy.COLUMNS
    return Remedy.WAIT if phase == Phase.BLOCKED else Remedy.RETRY


def _has_no_model(dataset: Dataset) -> bool:
    """Return whether images cannot be embedded, since there is no such model."""
    if dataset.kind != Dataset.Kind.IMAGES or not catalogue.encodes_here():
        return False
    try:
        catalogue.dimension_of(dataset.model, dataset.weights)
    except UnknownModel:
        return True
    return False


def _seconds(progress: ImportProgress) -> float | None:
    """Return the time from the first start to the last publication, if both are known.

    It is that of the shards that were imported last, within a day of each other.
    """
    starts = [each.started_at for each in progress.shards if each.started_at]
    ends: list[datetime] = [
        max(filter(None, (each.finished_at, each.published_at)))
        for each in progress.shards
        if each.finished_at or each.published_at
    ]
    if not starts or not ends:
        return None
    return max(0.0, (max(ends) - min(starts)).total_seconds()) or None
