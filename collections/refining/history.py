"""The rounds of a refinement as steps, with how good the hits of each were."""

from typing import Any
from uuid import UUID

from django.urls import reverse

from ..models import Refinement, Round
from .rounds import Searched, address_of


def told(
    before: Searched, refinement: Refinement, current: Round | None, with_seen: bool
) -> dict[str, Any]:
    """What the bar shows: the steps, where one is, and the marks given so far."""
    rounds = list(refinement.rounds.order_by("number", "created_at"))
    current_id = current.pk if current else None
    on_way = _way_to(current, rounds)
    steps = [
        _step(each, name, before, refinement, rounds, on_way)
        for each, name in _named(rounds)
    ]
    ahead = [each for each in rounds if each.parent_id == current_id]
    told = {
        "steps": steps,
        "current": str(current_id or ""),
        "label": refinement.label,
        "good": current.good if current else [],
        "bad": current.bad if current else [],
        "strength": current.strength if current else None,
        "back": _address(current.parent, refinement, before) if current else "",
        "ahead": address_of(ahead[-1], before) if ahead else "",
    }
    if current:
        told["with_seen"] = with_seen
        told["other"] = address_of(current, before, not with_seen)
    return told


def _step(
    each: Round | None,
    name: str,
    before: Searched,
    refinement: Refinement,
    rounds: list[Round],
    on_way: set[Any],
) -> dict[str, Any]:
    key = each.pk if each else None
    after = [found for found in rounds if found.parent_id == key]
    # Where there are several ways on, the one that leads to where one is tells most.
    chosen = [found for found in after if found.pk in on_way] or after
    return {
        "id": str(key or ""),
        "name": name,
        "address": _address(each, refinement, before),
        "on_way": key is None or key in on_way,
        "marks": _marks(each, chosen[-1]) if chosen else None,
    }


def _marks(shown: Round | None, marked: Round) -> dict[str, int]:
    """Of the hits of one round, how many were marked, and how many as good."""
    before = {*shown.good, *shown.bad} if shown else set()
    good, bad = set(marked.good) - before, set(marked.bad) - before
    return {"good": len(good), "all": len(good) + len(bad)}


def _way_to(current: Round | None, rounds: list[Round]) -> set[Any]:
    by_id: dict[UUID | None, Round] = {each.pk: each for each in rounds}
    way = set()
    while current is not None:
        way.add(current.pk)
        current = by_id.get(current.parent_id)
    return way


def _named(rounds: list[Round]) -> list[tuple[Round | None, str]]:
    """Start, 1, 2, and where one went back and on in another way, 2b."""
    named: list[tuple[Round | None, str]] = [(None, "Start")]
    count = 0
    for place, each in enumerate(rounds):
        is_first = place == 0 or rounds[place - 1].number != each.number
        count = 0 if is_first else count + 1
        letter = chr(ord("a") + count) if 0 < count < 26 else ""
        named.append((each, f"{each.number}{letter}"))
    return named


def _address(each: Round | None, refinement: Refinement, before: Searched) -> str:
    if each is None:
        return f"{reverse('search')}?{refinement.address}"
    return address_of(each, before)
