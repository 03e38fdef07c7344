"""The rows of an export on their way: batches of columns, from a place on.

What is decided at the start, the plan, is JSON and is kept with the files: a run that
goes on later takes the same items in the same order.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa

Plan = dict[str, Any]


@dataclass(frozen=True)
class Batch:
    """Some rows, in columns as the source's `schema` has them.

    The next batch begins at `place`; up to it `looked_at` items were looked at in all.
    `left_out` counts what stood between these rows and is not among them, by reason.
    """

    table: pa.Table
    place: int
    looked_at: int
    left_out: Mapping[str, int] = field(default_factory=dict)


# They can be closed before the last one: what they are read from is let go.
Batches = Generator[Batch, None, None]


class Source(Protocol):
    @property
    def schema(self) -> pa.Schema: ...

    @property
    def datasets(self) -> list[str]:
        """Their slugs."""

    def plan(self) -> Plan:
        """What is fixed at the start."""

    def holds(self, plan: Plan) -> bool:
        """Whether rows written by this plan may be followed by rows read now."""

    def to_look_at(self, plan: Plan) -> int:
        """How many items there are to look at."""

    def batches(self, plan: Plan, place: int, size: int) -> Batches:
        """From a place on, the first of which is 0; up to `size` rows each."""
