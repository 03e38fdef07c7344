"""The version of laionweb, which only pyproject.toml defines."""

import platform
import tomllib
from pathlib import Path

import django

_PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"
VERSION: str = tomllib.loads(_PROJECT.read_text(encoding="utf-8"))["project"]["version"]


def describe() -> str:
    """Return the versions of laionweb, Django and Python in one line."""
    return (
        f"laionweb {VERSION} "
        f"(Django {django.get_version()}, Python {platform.python_version()})"
    )
