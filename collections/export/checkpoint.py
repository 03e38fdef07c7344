"""The progress of an export, and its checkpoint among its files."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .sources import Plan

UNFINISHED = ".unfinished"  # the suffix of files that are being written

JsonObject = dict[str, Any]


@dataclass(frozen=True)
class Progress:
    """Items scanned, of how many (None if unknown), and rows and bytes written."""

    looked_at: int
    to_look_at: int | None
    rows: int
    bytes: int


@dataclass
class Checkpoint:
    """The finished parts of an export, and where the next one begins.

    The fields are the keys of the file. `asked`, `plan` and `datasets` (in the form of
    the manifest) are those of the start.
    """

    asked: JsonObject
    plan: Plan
    datasets: list[JsonObject]
    started_at: str  # ISO 8601
    place: int = 0
    looked_at: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    files: list[JsonObject] = field(default_factory=list)  # name, rows, bytes, sha256

    @property
    def rows(self) -> int:
        return sum(file["rows"] for file in self.files)

    @property
    def bytes(self) -> int:
        return sum(file["bytes"] for file in self.files)


def read(path: Path) -> JsonObject | None:
    """Return a checkpoint or manifest; None if there is none, or an invalid one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return content if isinstance(content, dict) and "asked" in content else None


def replace(path: Path, content: JsonObject) -> None:
    """Replace a file atomically: a crash leaves the old one or the new one."""
    unfinished = path.with_name(path.name + UNFINISHED)
    text = json.dumps(content, ensure_ascii=False, indent=1)
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, path)
