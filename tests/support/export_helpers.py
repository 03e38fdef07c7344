"""Exports for tests: made here and now, checked by their manifest, and read back."""

import csv
import hashlib
import json
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq


def made(asked, folder: Path, user=None, tell=lambda progress: None) -> dict[str, Any]:
    """The manifest of an export, every file of which is what it says."""
    from search.models import SYSTEM
    from usercollections.export.writer import write

    manifest = write(asked, user or SYSTEM, folder, tell)
    check(manifest, folder)
    return manifest


def check(manifest: dict[str, Any], folder: Path) -> None:
    names = [file["name"] for file in manifest["files"]]
    assert {path.name for path in folder.iterdir()} == {*names, "manifest.json"}
    assert json.loads((folder / "manifest.json").read_text()) == manifest
    for file in manifest["files"]:
        data = (folder / file["name"]).read_bytes()
        assert len(data) == file["bytes"]
        assert hashlib.sha256(data).hexdigest() == file["sha256"]
        assert len(rows_of(folder / file["name"])) == file["rows"]
    assert manifest["counts"]["rows"] == sum(f["rows"] for f in manifest["files"])


def rows(manifest: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    """All rows, in their order; of CSV all values are texts."""
    return [row for f in manifest["files"] for row in rows_of(folder / f["name"])]


def rows_of(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist(maps_as_pydicts="strict")
    text = path.read_bytes().decode()
    if path.suffix == ".json":
        return json.loads(text)
    assert text.startswith("\ufeff")
    return list(csv.DictReader(StringIO(text.removeprefix("\ufeff"), newline="")))


def bytes_of(manifest: dict[str, Any]) -> list[tuple[str, str]]:
    return [(file["name"], file["sha256"]) for file in manifest["files"]]
