"""How far an export is: told while it is written, and kept beside its files."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .sources import Plan

UNFINISHED = ".unfinished"  # behind the name of a file

Told = dict[str, Any]


@dataclass(frozen=True)
class Progress:
    """Items looked at, of how many (None if that is not known), and what is written."""

    looked_at: int
    to_look_at: int | None
    rows: int
    bytes: int


@dataclass
class FinishedPart:
    """The parts that are written and stay, and where the next one begins.

    `asked`, `plan` and `datasets` (as the manifest tells them) are of the start.
    """

    asked: Told
    plan: Plan
    datasets: list[Told]
    started_at: str  # ISO 8601
    place: int = 0
    looked_at: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    files: list[Told] = field(default_factory=list)  # name, rows, bytes, sha256

    @property
    def rows(self) -> int:
        return sum(file["rows"] for file in self.files)

    @property
    def bytes(self) -> int:
        return sum(file["bytes"] for file in self.files)


def read(path: Path) -> Told | None:
    """What `replace` wrote; None if there is nothing, or something else."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return told if isinstance(told, dict) and "asked" in told else None


def replace(path: Path, told: Told) -> None:
    """The file is the old one or the new one, whenever the process dies."""
    unfinished = path.with_name(path.name + UNFINISHED)
    text = json.dumps(told, ensure_ascii=False, indent=1)
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, path)
